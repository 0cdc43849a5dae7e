//! What senders really send, and what they must not get away with.

use super::*;
use crate::pdata::{Decoded, Utf8};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;

const TRACE: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174""#;

fn enter(signal: Signal, text: &str) -> Result<Admitted, DoorError> {
    Batch::from_json(signal, text.as_bytes(), &DoorLimits::default(), Origin::internal())
}

fn around(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

/// The spans of a request with one span that has these fields besides its ids.
fn span_with(fields: &str) -> Result<Span, String> {
    let text = around(&format!("{TRACE},{fields}"));
    let mut admitted = enter(Signal::Traces, &text).map_err(|error| error.to_string())?;
    match admitted.batch.decode().unwrap() {
        Decoded::Traces(request) => Ok(request.resource_spans[0].scope_spans[0].spans[0].clone()),
        other => panic!("no traces: {other:?}"),
    }
}

fn attribute_value(json: &str) -> Result<Option<Any>, String> {
    let span = span_with(&format!(r#""attributes":[{{"key":"k","value":{json}}}]"#))?;
    Ok(span.attributes[0].value.clone().and_then(|value| value.value))
}

#[test]
fn takes_an_empty_request_but_not_an_empty_body() {
    for text in [
        "{}",
        " {} ",
        "null",
        r#"{"resourceSpans":[]}"#,
        r#"{"resourceSpans":null}"#,
        "\u{feff}{}",
    ] {
        assert_eq!(enter(Signal::Traces, text).unwrap().batch.items(), 0, "{text}");
    }
    let error = enter(Signal::Traces, "").unwrap_err();
    assert_eq!(error.to_string(), "the JSON text ends too early at byte 0");
}

#[test]
fn takes_an_empty_value_wherever_node_sends_one() {
    assert_eq!(attribute_value("{}"), Ok(None));
    assert_eq!(attribute_value("null"), Ok(None));
    assert_eq!(attribute_value(r#"{"stringValue":null}"#), Ok(None));
    let array = attribute_value(r#"{"arrayValue":{"values":[{},null,{"intValue":1}]}}"#).unwrap();
    let Some(Any::ArrayValue(array)) = array else {
        panic!("no array");
    };
    assert_eq!(array.values.len(), 3);
}

#[test]
fn takes_null_for_any_message_list_and_scalar() {
    let span = span_with(r#""name":null,"attributes":null,"events":[null],"status":null,"kind":null"#).unwrap();
    assert_eq!(span.name, "");
    assert!(span.events.is_empty());
    let group = r#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"scope":null,"spans":null}]},null]}"#;
    assert!(enter(Signal::Traces, group).is_ok());
}

#[test]
fn passes_over_unknown_fields_at_every_depth() {
    let span = span_with(r#""neverHeardOf":{"a":[1,{"b":null}],"c":"\ud83e\udd80"},"name":"n""#).unwrap();
    assert_eq!(span.name, "n");
    assert_eq!(
        attribute_value(r#"{"future":[[]],"intValue":3}"#),
        Ok(Some(Any::IntValue(3)))
    );
}

#[test]
fn takes_both_casings_and_enums_by_name_number_and_numeric_string() {
    for kind in [r#""SPAN_KIND_SERVER""#, "2", r#""2""#] {
        assert_eq!(span_with(&format!(r#""kind":{kind}"#)).unwrap().kind, 2);
    }
    let span = span_with(r#""start_time_unix_nano":"5","dropped_events_count":7"#).unwrap();
    assert_eq!((span.start_time_unix_nano, span.dropped_events_count), (5, 7));
    let error = span_with(r#""kind":"SPAN_KIND_MAGIC""#).unwrap_err();
    assert_eq!(
        error,
        "resourceSpans[0].scopeSpans[0].spans[0].kind: no number and no name such as SPAN_KIND_UNSPECIFIED"
    );
}

#[test]
fn reads_64_bit_integers_exactly_from_string_or_number() {
    for (json, value) in [
        ("9223372036854775807", i64::MAX),
        (r#""9223372036854775807""#, i64::MAX),
        (r#""-9223372036854775808""#, i64::MIN),
        ("1e3", 1_000),
        ("1.7e18", 1_700_000_000_000_000_000),
        ("12.0", 12),
        ("-0", 0),
        ("0e99", 0),
        ("1200e-2", 12),
    ] {
        let found = attribute_value(&format!(r#"{{"intValue":{json}}}"#));
        assert_eq!(found, Ok(Some(Any::IntValue(value))), "{json}");
    }
    for json in [
        "9223372036854775808",
        "1.5",
        r#""""#,
        r#""0x10""#,
        "1e400",
        "1e-400",
        "true",
        "[]",
        r#""1 ""#,
    ] {
        assert!(attribute_value(&format!(r#"{{"intValue":{json}}}"#)).is_err(), "{json}");
    }
    let late = span_with(r#""endTimeUnixNano":18446744073709551615"#).unwrap();
    assert_eq!(late.end_time_unix_nano, u64::MAX);
}

#[test]
fn reads_doubles_from_numbers_strings_and_words() {
    for (json, value) in [
        ("1", 1.0),
        ("-2.5e-3", -0.0025),
        (r#""0.5""#, 0.5),
        (r#""Infinity""#, f64::INFINITY),
        (r#""-Infinity""#, f64::NEG_INFINITY),
    ] {
        let found = attribute_value(&format!(r#"{{"doubleValue":{json}}}"#));
        assert_eq!(found, Ok(Some(Any::DoubleValue(value))), "{json}");
    }
    let Ok(Some(Any::DoubleValue(nan))) = attribute_value(r#"{"doubleValue":"NaN"}"#) else {
        panic!("no double");
    };
    assert!(nan.is_nan());
    assert!(attribute_value(r#"{"doubleValue":"inf"}"#).is_err());
    assert!(attribute_value(r#"{"doubleValue":NaN}"#).is_err());
}

#[test]
fn reads_bytes_in_any_base64() {
    for json in ["+/8=", "+/8", "-_8=", "-_8"] {
        let found = attribute_value(&format!(r#"{{"bytesValue":"{json}"}}"#));
        assert_eq!(found, Ok(Some(Any::BytesValue(vec![0xfb, 0xff]))), "{json}");
    }
    let error = attribute_value(r#"{"bytesValue":"*"}"#).unwrap_err();
    assert!(error.ends_with("attributes[0].value.bytesValue: no base64"), "{error}");
}

#[test]
fn says_what_is_wrong_with_base64_ids() {
    let text = around(r#""traceId":"W47/95gDgQPSabYzgT/GDA==","spanId":"7uGbfsPBsXQ=""#);
    let error = enter(Signal::Traces, &text).unwrap_err().to_string();
    let words = "traceId looks like base64; OTLP/JSON needs 32 hex digits (a known SDK fault: update it or use \
                 http/protobuf)";
    assert!(error.contains(words), "{error}");
    assert!(matches!(enter(Signal::Traces, &text), Err(DoorError::NothingUsable(_))));
}

#[test]
fn leaves_a_record_with_a_bad_id_out_and_keeps_the_rest() {
    let spans = format!(
        r#"{{"traceId":"5b8e","spanId":"eee19b7ec3c1b174","name":"x"}},{{{TRACE},"parentSpanId":""}},{{{TRACE},"links":[{{"traceId":"zz"}}]}},{{"name":"no ids"}}"#
    );
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let mut admitted = enter(Signal::Traces, &text).unwrap();
    assert_eq!(admitted.batch.items(), 1);
    assert_eq!(admitted.rejected.wrong_length_ids, 3);
    assert_eq!(admitted.batch.decode().unwrap().count_items(), 1);
    let example = admitted.rejected.example.unwrap();
    assert!(
        example.ends_with("traceId has 4 hex digits; OTLP/JSON needs 32"),
        "{example}"
    );
}

#[test]
fn leaves_a_data_point_with_a_bad_exemplar_out_and_keeps_its_siblings() {
    let points = r#"{"asInt":"1"},{"asInt":2,"exemplars":[{"spanId":"x"}]},{"asDouble":3}"#;
    let text = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
    );
    let mut admitted = enter(Signal::Metrics, &text).unwrap();
    assert_eq!((admitted.batch.items(), admitted.rejected.wrong_length_ids), (2, 1));
    assert_eq!(admitted.batch.decode().unwrap().count_items(), 2);
}

#[test]
fn reads_histograms_with_counts_as_strings() {
    let point = r#"{"count":"3","sum":0,"bucketCounts":["1","2"],"explicitBounds":[1.5],"min":0}"#;
    let text = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","dataPoints":[{point},{{"bucketCounts":[]}}]}}}}]}}]}}]}}"#
    );
    let mut admitted = enter(Signal::Metrics, &text).unwrap();
    let Decoded::Metrics(request) = admitted.batch.decode().unwrap() else {
        panic!("no metrics");
    };
    let Some(Data::Histogram(data)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else {
        panic!("no histogram");
    };
    assert_eq!(data.aggregation_temporality, 1);
    let point = &data.data_points[0];
    assert_eq!((point.count, point.bucket_counts.as_slice()), (3, [1, 2].as_slice()));
    assert_eq!((point.sum, point.min, point.max), (Some(0.0), Some(0.0), None));
}

#[test]
fn points_at_what_it_cannot_read() {
    for (fields, words) in [
        (r#""name":5"#, "spans[0].name: expected a string at byte"),
        (r#""events":{}"#, "spans[0].events: expected a list at byte"),
        (r#""status":[]"#, "spans[0].status: expected an object at byte"),
        (
            r#""attributes":[{},{"value":{"boolValue":1}}]"#,
            "attributes[1].value.boolValue: expected true or false",
        ),
        (r#""flags":-1"#, "spans[0].flags: the number is out of range"),
        (
            r#""name":"a" "b""#,
            "spans[0]: expected a comma or the closing bracket at byte",
        ),
    ] {
        let error = span_with(fields).unwrap_err();
        assert!(error.starts_with("resourceSpans[0].scopeSpans[0]."), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn refuses_what_is_no_json() {
    for text in [
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "[]",
        "{}{}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":tru}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"",
        "{\"a\":[1,]}",
        "nul",
        "{\"a\":\"\\u00",
        "{\"a\":\"\\",
        "{\"a\":-}",
        "{\"a\":1e}",
    ] {
        let answer = enter(Signal::Logs, text);
        assert!(matches!(answer, Err(DoorError::Json(_))), "{text}: {answer:?}");
    }
}

#[test]
fn stops_at_the_limits_of_depth() {
    let deep = |levels: usize| format!(r#"{{"unknown":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(enter(Signal::Logs, &deep(255)).is_ok());
    let error = enter(Signal::Logs, &deep(256)).unwrap_err().to_string();
    assert!(error.starts_with("JSON is nested more than 256 deep"), "{error}");
    assert!(enter(Signal::Logs, &"[".repeat(1_000_000)).is_err());
    let limits = DoorLimits {
        max_nesting: 3,
        ..DoorLimits::default()
    };
    let value = |levels: usize| {
        let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
        let body = format!("{}{{}}{}", open.repeat(levels), close.repeat(levels));
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{body}}}]}}]}}]}}"#)
    };
    let enter = |levels| Batch::from_json(Signal::Logs, value(levels).as_bytes(), &limits, Origin::internal());
    assert!(enter(3).is_ok());
    let error = enter(4).unwrap_err().to_string();
    assert!(error.ends_with("...: values are nested more than 3 deep"), "{error}");
}

#[test]
fn rejects_records_over_the_limits_and_repairs_half_surrogates() {
    let long = format!(r#"{TRACE},"attributes":[{{"key":"{}"}}]"#, "k".repeat(1_025));
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{long}}},{{{TRACE}}}]}}]}}]}}"#);
    let admitted = enter(Signal::Traces, &text).unwrap();
    assert_eq!((admitted.batch.items(), admitted.rejected.over_limit), (1, 1));

    let text = around(&format!(r#"{TRACE},"name":"a\ud800b""#));
    let admitted = enter(Signal::Traces, &text).unwrap();
    assert_eq!((admitted.rejected.count(), admitted.rejected.repaired_strings), (0, 1));
    let reject = DoorLimits {
        utf8: Utf8::Reject,
        ..DoorLimits::default()
    };
    let answer = Batch::from_json(Signal::Traces, text.as_bytes(), &reject, Origin::internal());
    assert!(matches!(answer, Err(DoorError::NothingUsable(rejected)) if rejected.invalid_utf8 == 1));
}

#[test]
fn writes_as_the_specification_says() {
    let text = around(&format!(
        r#"{TRACE},"name":"a\"\\\u0001","kind":"SPAN_KIND_CLIENT","startTimeUnixNano":1700000000000000000,"attributes":[{{"key":"i","value":{{"intValue":7}}}},{{"key":"d","value":{{"doubleValue":1}}}},{{"key":"n","value":{{"doubleValue":"NaN"}}}},{{"key":"b","value":{{"bytesValue":"-_8"}}}},{{"key":"e","value":{{}}}}],"status":{{"code":"STATUS_CODE_ERROR"}}"#
    ));
    let batch = enter(Signal::Traces, &text).unwrap().batch;
    let written = String::from_utf8(batch.to_json().unwrap()).unwrap();
    let expected = concat!(
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","#,
        r#""name":"a\"\\\u0001","kind":3,"startTimeUnixNano":"1700000000000000000","attributes":["#,
        r#"{"key":"i","value":{"intValue":"7"}},{"key":"d","value":{"doubleValue":1.0}},{"key":"n","value":{"doubleValue":"NaN"}},"#,
        r#"{"key":"b","value":{"bytesValue":"+/8="}},{"key":"e","value":{}}],"status":{"code":2}}]}]}]}"#
    );
    assert_eq!(written, expected);
}

#[test]
fn writes_joined_parts_as_one_request() {
    let one = enter(Signal::Traces, &around(TRACE)).unwrap().batch;
    let joined = Batch::join(Signal::Traces, [one.clone(), one], Origin::internal());
    let text = String::from_utf8(joined.to_json().unwrap()).unwrap();
    assert_eq!(enter(Signal::Traces, &text).unwrap().batch.items(), 2);
    let nothing = Batch::join(Signal::Logs, [], Origin::internal());
    assert_eq!(nothing.to_json().unwrap(), b"{}");
}
