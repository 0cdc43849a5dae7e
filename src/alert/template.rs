//! The text of an alert: `{{ $labels.TableName }}` and `{{ $value }}`, as in Prometheus rule files, the value also
//! through `humanize`, `humanizePercentage` or `humanizeDuration`. Nothing else is understood, and what is not understood
//! is refused when the rule is read.

mod humanize;

use self::humanize::Form;
use super::Labels;

/// A parsed text.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Label(String),
    Value(Form),
}

/// What is wrong, and where in the text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Bytes from the start.
    pub offset: usize,
    pub message: String,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// For an expression that is not closed or not known.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{") {
            let open = at + open;
            let Some(length) = text[open..].find("}}") else {
                return Err(TemplateError {
                    offset: open,
                    message: "`{{` without `}}`".to_owned(),
                });
            };
            if open > at {
                pieces.push(Piece::Text(text[at..open].to_owned()));
            }
            let expression = text[open + 2..open + length].trim();
            pieces.push(match expression.strip_prefix("$labels.") {
                Some(label) if is_name(label) => Piece::Label(label.to_owned()),
                _ => match form_of_value(expression) {
                    Some(form) => Piece::Value(form),
                    None => {
                        return Err(TemplateError {
                            offset: open,
                            message: format!(
                                "{expression:?} is not known here; use $labels.NAME, $value or $value | humanize"
                            ),
                        });
                    }
                },
            });
            at = open + length + 2;
        }
        if at < text.len() {
            pieces.push(Piece::Text(text[at..].to_owned()));
        }
        Ok(Self {
            source: text.to_owned(),
            pieces,
        })
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text for one alert. A label that it does not have is left empty, as in Prometheus.
    pub fn render(&self, labels: &Labels, value: f64) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Value(form) => text.push_str(&form.write(value)),
                Piece::Label(name) => {
                    let found = labels.iter().find(|(have, _)| have == name);
                    text.push_str(found.map_or("", |(_, value)| value));
                }
            }
        }
        text
    }
}

/// How `$value` or `$value | FUNCTION` wants it written.
fn form_of_value(expression: &str) -> Option<Form> {
    let (value, form) = match expression.split_once('|') {
        Some((value, function)) => (value, Form::of_function(function.trim())?),
        None => (expression, Form::Plain),
    };
    (value.trim() == "$value").then_some(form)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_value_are_filled_in() {
        let template = Template::parse("{{ $labels.TableName }}: {{$value}} throttled{{ $labels.none }}").unwrap();
        let labels = vec![("TableName".to_owned(), "orders".to_owned())];
        assert_eq!(template.render(&labels, 12.0), "orders: 12 throttled");
        let share = Template::parse("{{ $value | humanizePercentage }} of {{$value}}").unwrap();
        assert_eq!(share.render(&labels, 0.5), "50% of 0.5");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        assert_eq!(Template::parse("ab {{ $value").unwrap_err().offset, 3);
        assert_eq!(Template::parse("a {{ humanize $value }}").unwrap_err().offset, 2);
        assert!(Template::parse("{{}}").is_err());
    }
}
