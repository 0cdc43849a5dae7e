//! The functions of templates: Go's own and Alertmanager's.

use std::cmp::Ordering;
use std::sync::Arc;

use super::LONGEST;
use super::value::Value;

/// Bytes that a compiled expression may take.
const REGEX_BYTES: usize = 256 << 10;

macro_rules! functions {
    ($($name:literal $variant:ident),* $(,)?) => {
        /// A function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Function { $($variant),* }

        impl Function {
            /// By its name in a template.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Function::$variant),)*
                    _ => None,
                }
            }

            /// All names.
            pub fn names() -> Vec<&'static str> {
                vec![$($name),*]
            }
        }
    };
}

functions! {
    "and" And, "eq" Eq, "ge" Ge, "gt" Gt, "html" Html, "index" Index, "join" Join, "le" Le, "len" Len, "lt" Lt,
    "match" Match, "ne" Ne, "not" Not, "or" Or, "print" Print, "printf" Printf, "println" Println,
    "reReplaceAll" ReReplaceAll, "safeHtml" SafeHtml, "safeUrl" SafeUrl, "stringSlice" StringSlice, "title" Title,
    "toLower" ToLower, "toUpper" ToUpper, "trimSpace" TrimSpace, "urlquery" UrlQuery,
}

impl Function {
    /// Calls it.
    pub fn call(self, arguments: &[Value]) -> Result<Value, String> {
        let of_text = |change: &dyn Fn(&str) -> String| match arguments {
            [Value::Safe(text)] => Ok(Value::Safe(change(text).into())),
            [value] => Ok(Value::text(change(&value.shown()))),
            _ => Err("takes one text".to_owned()),
        };
        match self {
            Function::And | Function::Or => Ok(arguments.last().cloned().unwrap_or(Value::Nil)),
            Function::Not => one(arguments).map(|value| Value::Bool(!value.is_true())),
            Function::Eq => equal_to_any(arguments).map(Value::Bool),
            Function::Ne => equal_to_any(arguments).map(|equal| Value::Bool(!equal)),
            Function::Lt => ordered(arguments, |order| order.is_lt()),
            Function::Le => ordered(arguments, |order| order.is_le()),
            Function::Gt => ordered(arguments, |order| order.is_gt()),
            Function::Ge => ordered(arguments, |order| order.is_ge()),
            Function::Len => length(one(arguments)?).map(|length| Value::Number(length as f64)),
            Function::Index => index(arguments),
            Function::Print => Ok(joined(arguments, " ").0),
            Function::Println => Ok(Value::text(format!("{}\n", joined(arguments, " ").1))),
            Function::Printf => printf(arguments),
            Function::Html => of_text(&|text| {
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                text.replace('"', "&#34;").replace('\'', "&#39;")
            }),
            Function::UrlQuery => of_text(&|text| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            }),
            Function::SafeHtml | Function::SafeUrl => one(arguments).map(|value| Value::Safe(value.shown().into())),
            Function::ToLower => of_text(&str::to_lowercase),
            Function::ToUpper => of_text(&str::to_uppercase),
            Function::TrimSpace => of_text(&|text| text.trim().to_owned()),
            Function::Title => of_text(&title),
            Function::StringSlice => Ok(Value::list(arguments.iter().cloned())),
            Function::Join => match arguments {
                [separator, Value::List(values)] => Ok(joined(values, &separator.shown()).0),
                _ => Err("join takes a separator and a list".to_owned()),
            },
            Function::Match => match arguments {
                [pattern, text] => Ok(Value::Bool(regex(&pattern.shown())?.is_match(&text.shown()))),
                _ => Err("match takes an expression and a text".to_owned()),
            },
            Function::ReReplaceAll => match arguments {
                [pattern, with, text] => replaced(&pattern.shown(), &with.shown(), &text.shown()),
                _ => Err("reReplaceAll takes an expression, a replacement and a text".to_owned()),
            },
        }
    }
}

fn one(arguments: &[Value]) -> Result<&Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err("takes one value".to_owned()),
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Text(a) | Value::Safe(a), Value::Text(b) | Value::Safe(b)) => a == b,
        _ => a == b,
    }
}

fn equal_to_any(arguments: &[Value]) -> Result<bool, String> {
    match arguments {
        [first, others @ ..] if !others.is_empty() => Ok(others.iter().any(|other| is_same(first, other))),
        _ => Err("a comparison takes two values".to_owned()),
    }
}

fn ordered(arguments: &[Value], is_wanted: fn(Ordering) -> bool) -> Result<Value, String> {
    let order = match arguments {
        [Value::Number(a), Value::Number(b)] => a.partial_cmp(b),
        [Value::Text(a) | Value::Safe(a), Value::Text(b) | Value::Safe(b)] => Some(a.cmp(b)),
        _ => return Err("a comparison takes two numbers or two texts".to_owned()),
    };
    Ok(Value::Bool(order.is_some_and(is_wanted)))
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::Text(text) | Value::Safe(text) => Ok(text.len()),
        Value::List(values) => Ok(values.len()),
        Value::Pairs(pairs) => Ok(pairs.len()),
        _ => Err("len takes a text, a list or a map".to_owned()),
    }
}

fn index(arguments: &[Value]) -> Result<Value, String> {
    let [value, keys @ ..] = arguments else {
        return Err("index takes a list or a map, and keys".to_owned());
    };
    let mut value = value.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::List(values), Value::Number(at)) if *at >= 0.0 => {
                let found = values.get(*at as usize).cloned();
                found.ok_or_else(|| format!("a list of {} has no index {at}", values.len()))?
            }
            (Value::Pairs(pairs), Value::Text(name) | Value::Safe(name)) => {
                pairs.get(&**name).cloned().unwrap_or_else(|| Value::text(""))
            }
            _ => return Err("index takes a list or a map, and keys".to_owned()),
        };
    }
    Ok(value)
}

/// Safe where all parts are.
fn joined(values: &[Value], separator: &str) -> (Value, String) {
    let shown: Vec<String> = values.iter().map(Value::shown).collect();
    let text = shown.join(separator);
    let is_safe = values.iter().all(|value| matches!(value, Value::Safe(_)));
    let value = if is_safe {
        Value::Safe(text.as_str().into())
    } else {
        Value::text(text.as_str())
    };
    (value, text)
}

fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut at_start = true;
    for next in text.chars() {
        if at_start {
            titled.extend(next.to_uppercase());
        } else {
            titled.push(next);
        }
        at_start = !next.is_alphanumeric() && next != '_' && next != '\'';
    }
    titled
}

fn regex(pattern: &str) -> Result<regex::Regex, String> {
    let built = regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES).build();
    built.map_err(|_| format!("{pattern:?} is no regular expression"))
}

fn replaced(pattern: &str, with: &str, text: &str) -> Result<Value, String> {
    let regex = regex(pattern)?;
    let mut result = String::new();
    let mut at = 0;
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        result.push_str(&text[at..whole.start()]);
        found.expand(with, &mut result);
        at = whole.end();
        if result.len() > LONGEST {
            return Err("the text becomes longer than 64 KiB".to_owned());
        }
    }
    result.push_str(&text[at..]);
    Ok(Value::text(result))
}

/// `%s %v %d %q %f %g %x %t %%`, with a width and a precision.
fn printf(arguments: &[Value]) -> Result<Value, String> {
    let [format, values @ ..] = arguments else {
        return Err("printf takes a format".to_owned());
    };
    let format = format.shown();
    let mut values = values.iter();
    let mut text = String::new();
    let mut rest = format.as_str();
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let flags = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'))
            .count();
        let (flags, behind) = rest.split_at(flags);
        let Some(verb) = behind.chars().next() else {
            return Err("the format ends in `%`".to_owned());
        };
        rest = &behind[verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            return Err("printf has fewer values than its format wants".to_owned());
        };
        let (width, precision) = flags.split_once('.').unwrap_or((flags, ""));
        let precision: Option<usize> = precision.parse().ok().map(|digits: usize| digits.min(100));
        let shown = match (verb, value) {
            ('f', Value::Number(number)) => format!("{number:.*}", precision.unwrap_or(6)),
            ('g' | 'e', Value::Number(number)) => match precision {
                Some(digits) => significant(*number, digits),
                None => number.to_string(),
            },
            ('d', Value::Number(number)) => format!("{number:.0}"),
            ('x', Value::Number(number)) => format!("{:x}", *number as i64),
            ('q', value) => format!("{:?}", value.shown()),
            ('s' | 'v' | 't' | 'd' | 'f' | 'g', value) => match precision {
                Some(most) if verb == 's' => value.shown().chars().take(most).collect(),
                _ => value.shown(),
            },
            _ => return Err(format!("printf does not know %{verb}")),
        };
        let columns: usize = width
            .trim_start_matches(['-', '+', '0'])
            .parse()
            .unwrap_or(0)
            .min(1_000);
        let padding = " ".repeat(columns.saturating_sub(shown.chars().count()));
        if width.starts_with('-') {
            text.push_str(&shown);
            text.push_str(&padding);
        } else {
            text.push_str(&padding);
            text.push_str(&shown);
        }
        if text.len() > LONGEST {
            return Err("the text becomes longer than 64 KiB".to_owned());
        }
    }
    text.push_str(rest);
    let text: Arc<str> = text.into();
    let is_safe = arguments
        .iter()
        .all(|value| matches!(value, Value::Safe(_) | Value::Number(_)));
    Ok(if is_safe { Value::Safe(text) } else { Value::Text(text) })
}

fn significant(number: f64, digits: usize) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let before = number.abs().log10().floor() as i32 + 1;
    let places = (digits.max(1) as i32 - before).clamp(0, 100) as usize;
    let text = format!("{number:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
