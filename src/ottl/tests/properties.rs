use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use proptest::prelude::*;

use super::*;

/// Pieces of the language, so that arbitrary texts get past the lexer often enough.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "and",
        "or",
        "not",
        "where",
        "true",
        "nil",
        "name",
        "attributes",
        "resource",
        ".",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "\"s\"",
        "\"",
        "\\",
        "1",
        "-",
        "+",
        "*",
        "/",
        "==",
        "!=",
        "<=",
        "=",
        "0x0a",
        "1.5",
        "IsMatch",
        "Concat",
        "Len",
        "SPAN_KIND_SERVER",
        "set",
        "pattern",
        "é",
        " ",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![any::<String>(), pieces()]) {
        for context in Context::ALL {
            let offset = match Condition::new(&text, context) {
                Ok(condition) => {
                    let request = request(context);
                    let _ = with_target(context, "sum", &request, |target| condition.holds(target));
                    0
                }
                Err(error) => error.offset,
            };
            prop_assert!(offset <= text.len() && text.is_char_boundary(offset), "offset {offset} of {text:?}");
        }
        let _ = Condition::inferred(&text);
        prop_assert!(check_statement(&text, Context::Log).offset <= text.len());
    }

    #[test]
    fn the_views_give_what_prost_decodes(
        left in any_value(),
        right in any_value(),
        op in prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]),
    ) {
        let span = Span {
            attributes: vec![
                attribute("other", text("x")),
                KeyValue { key: "left".to_owned(), value: left.clone(), ..KeyValue::default() },
                KeyValue { key: "right".to_owned(), value: right.clone(), ..KeyValue::default() },
            ],
            ..Span::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        }
        .encode_to_vec();
        let condition = format!(r#"attributes["left"] {op} attributes["right"]"#);
        let condition = Condition::new(&condition, Context::Span).unwrap();
        let found = with_target(Context::Span, "", &request, |target| condition.holds(target));
        prop_assert_eq!(found, Ok(expected(op, &left, &right)));
    }
}

fn any_value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        Just(None),
        Just(Some(AnyValue { value: None })),
        "[ab]{0,2}".prop_map(|value| Some(text(&value))),
        any::<bool>().prop_map(|value| Some(any_of(Any::BoolValue(value)))),
        (-2i64..3).prop_map(|value| Some(any_of(Any::IntValue(value)))),
        prop::sample::select(vec![-1.0, 0.0, 0.5, 1.0, f64::NAN])
            .prop_map(|value| Some(any_of(Any::DoubleValue(value)))),
        prop::collection::vec(0u8..2, 0..3).prop_map(|value| Some(any_of(Any::BytesValue(value)))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|values| Some(list(values.into_iter().map(Option::unwrap_or_default).collect()))),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| KeyValue {
                    key,
                    value,
                    ..KeyValue::default()
                });
                Some(map(entries.collect()))
            }),
        ]
    })
}

/// The comparison written a second time, over decoded structs.
fn expected(op: &str, left: &Option<AnyValue>, right: &Option<AnyValue>) -> bool {
    let inner = |value: &Option<AnyValue>| value.clone().and_then(|value| value.value);
    let (left, right) = (inner(left), inner(right));
    let order = match (&left, &right) {
        (Some(Any::IntValue(l)), Some(Any::DoubleValue(r))) => (*l as f64).partial_cmp(r),
        (Some(Any::DoubleValue(l)), Some(Any::IntValue(r))) => l.partial_cmp(&(*r as f64)),
        (Some(Any::IntValue(l)), Some(Any::IntValue(r))) => l.partial_cmp(r),
        (Some(Any::DoubleValue(l)), Some(Any::DoubleValue(r))) => l.partial_cmp(r),
        (Some(Any::StringValue(l)), Some(Any::StringValue(r))) => l.partial_cmp(r),
        (Some(Any::BytesValue(l)), Some(Any::BytesValue(r))) => l.partial_cmp(r),
        (Some(Any::BoolValue(l)), Some(Any::BoolValue(r))) => l.partial_cmp(r),
        _ => None,
    };
    let equal = match (&left, &right) {
        (Some(Any::ArrayValue(_) | Any::KvlistValue(_)) | None, _) => canonical(&left) == canonical(&right),
        _ => order == Some(std::cmp::Ordering::Equal),
    };
    match op {
        "==" => equal,
        "!=" => !equal,
        "<" => order.is_some_and(|order| order.is_lt()),
        "<=" => order.is_some_and(|order| order.is_le()),
        ">" => order.is_some_and(|order| order.is_gt()),
        _ => order.is_some_and(|order| order.is_ge()),
    }
}

/// A text that is the same for values that are deeply equal; NaN is made different from itself.
fn canonical(value: &Option<Any>) -> String {
    static NANS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    match value {
        None => "nil".to_owned(),
        Some(Any::DoubleValue(value)) if value.is_nan() => {
            format!("nan{}", NANS.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        }
        Some(Any::DoubleValue(value)) => format!("{:?}", value + 0.0),
        Some(Any::ArrayValue(list)) => {
            format!(
                "[{}]",
                list.values
                    .iter()
                    .map(|value| canonical(&value.value))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        }
        Some(Any::KvlistValue(map)) => {
            let entry = |entry: &KeyValue| {
                format!(
                    "{}:{}",
                    entry.key,
                    canonical(&entry.value.clone().and_then(|value| value.value))
                )
            };
            let mut entries: Vec<String> = map.values.iter().map(entry).collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        Some(other) => format!("{other:?}"),
    }
}
