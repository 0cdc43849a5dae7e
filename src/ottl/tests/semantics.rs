use super::*;

#[test]
fn values_compare_as_the_tables_of_the_language_say() {
    assert_all(
        Context::Span,
        &[
            r#"attributes["s"] == "hello""#,
            r#""hello" == attributes["s"]"#,
            r#"attributes["s"] != "world""#,
            r#"attributes["s"] < "help" and attributes["s"] >= "hello""#,
            r#"attributes["i"] == 7 and attributes["i"] == 7.0 and attributes["i"] < 7.5"#,
            r#"attributes["d"] > 1 and attributes["d"] <= 1.5"#,
            r#"attributes["t"] == true and attributes["t"] > attributes["f"]"#,
            r#"attributes["b"] == 0x0102 and attributes["b"] < 0x0103"#,
            // Unlike types are unequal.
            r#"attributes["s"] != 7 and attributes["i"] != "7" and attributes["t"] != 1 and attributes["t"] != "true""#,
            // Nil: what is not there, and what has no value.
            r#"attributes["missing"] == nil and attributes["empty"] == nil and nil == nil"#,
            r#"attributes["missing"] != "x" and attributes["s"] != nil"#,
            // Lists and maps.
            r#"attributes["list"] == [1, "two", []] and attributes["list"] != [1, "two"]"#,
            r#"attributes["map"] == {"n": 3, "k": {"l": "deep"}} and attributes["map"] != {"n": 3}"#,
            r#"attributes["map"] != {"n": 3.0, "k": {"l": "deep"}}"#,
            r#"[1, attributes["s"]] == [1, "hello"] and {"a": attributes["i"]} == {"a": 7}"#,
            r#"attributes["map"]["k"]["l"] == "deep" and attributes["list"][1] == "two""#,
            r#"attributes["map"]["missing"]["l"] == nil"#,
            r#"attributes[attributes["key"]] == "hello""#,
            r#"attributes[Concat(["", "s"], "")] == "hello""#,
        ],
    );
    assert_none(
        Context::Span,
        &[
            r#"attributes["s"] == 7"#,
            r#"attributes["s"] < 7"#,
            r#"attributes["s"] > 7"#,
            r#"attributes["s"] <= 7 or attributes["s"] >= 7"#,
            r#"attributes["missing"] < 1 or attributes["missing"] >= 1"#,
            r#"nil <= nil or nil < nil or nil != nil"#,
            r#"attributes["missing"] == "" or attributes["empty"] == """#,
            r#"attributes["list"] < attributes["list"]"#,
            r#"attributes["s"] == "hell""#,
        ],
    );
}

#[test]
fn not_binds_tighter_than_and_and_and_tighter_than_or() {
    assert_all(
        Context::Span,
        &[
            "true or false and false",
            "not false and true",
            "not (true and false)",
            r#"not name == "x""#,
            "not not true",
            "(false or true) and (true or false)",
            "1 + 2 * 3 == 7",
            "(1 + 2) * 3 == 9",
            "10 - 2 - 3 == 5",
            "7 / 2 == 3 and 7.0 / 2 == 3.5 and -7 / 2 == -3",
            "1 -1 == 0 and 1-1 == 0 and - 1 == -1 and +.5 == 0.5",
            "-9223372036854775808 < -9223372036854775807",
            "9223372036854775807 + 1 == -9223372036854775808",
            "1e3 == 1000 and 2.5e-1 == 0.25",
            r#""a\"b\\c\n\u00e9\x41" == "a\"b\\c
éA""#,
            "end_time_unix_nano - start_time_unix_nano > 2000000000",
            r#"end_time - start_time == Duration("2.5s") and start_time + Duration("1s") < end_time"#,
            r#"(span.end_time - span.start_time) > Duration("1s")"#,
        ],
    );
    assert_none(
        Context::Span,
        &["not true or false", "false and true or false", "not (false or true)"],
    );
}

#[test]
fn a_condition_without_a_value_is_an_error_not_false() {
    let cases = [
        ("1 / 0 == 1", "division by zero"),
        ("1.0 / 0 == 1", "division by zero"),
        (r#"attributes["s"] + 1 == 1"#, "no arithmetic between string and int"),
        (r#"attributes["missing"] * 2 == 1"#, "no arithmetic between nil and int"),
        (r#"start_time + end_time == 1"#, "no arithmetic between time and time"),
        (r#"attributes["s"]["x"] == 1"#, "a string cannot be indexed by a string"),
        (
            r#"attributes["list"]["x"] == 1"#,
            "a list cannot be indexed by a string",
        ),
        (r#"attributes["list"][3] == 1"#, "index out of range"),
        (r#"attributes["map"][0] == 1"#, "a map cannot be indexed by a int"),
        (
            r#"Split(attributes["i"], ",") == nil"#,
            "Split: expected string, found int",
        ),
        (
            r#"Len(attributes["missing"]) == 0"#,
            "Len: expected string, list or map, found nil",
        ),
        (
            r#"Int(attributes["i"])"#,
            "a condition must be true or false, found int",
        ),
        (
            r#"ParseJSON(attributes["s"]) == nil"#,
            "ParseJSON: the string is no JSON",
        ),
    ];
    for (condition, message) in cases {
        assert_eq!(holds(Context::Span, condition), Err(message.to_owned()), "{condition}");
    }
    // `or` and `and` stop where the outcome is known.
    assert_all(Context::Span, &["true or 1 / 0 == 1", "not (false and 1 / 0 == 1)"]);
}

#[test]
fn every_span_path_reads_its_field() {
    assert_all(
        Context::Span,
        &[
            r#"name == "GET /health" and span.name == name"#,
            r#"kind == SPAN_KIND_SERVER and kind == 2 and kind.string == "Server" and kind.deprecated_string == "SPAN_KIND_SERVER""#,
            r#"status.code == STATUS_CODE_ERROR and status.message == "broken""#,
            r#"trace_id == TraceID(0x0102030405060708090a0b0c0d0e0f10)"#,
            r#"trace_id.string == "0102030405060708090a0b0c0d0e0f10" and span_id.string == "0102030405060708""#,
            r#"span_id == SpanID("0102030405060708") and span_id == 0x0102030405060708"#,
            r#"parent_span_id == SpanID(0x0000000000000000) and parent_span_id.string == "" and IsRootSpan()"#,
            r#"trace_state == "a=1,b=two" and trace_state["b"] == "two" and trace_state["c"] == nil"#,
            r#"flags == 1 and start_time_unix_nano == 1000000000 and end_time_unix_nano == 3500000000"#,
            r#"UnixNano(start_time) == start_time_unix_nano"#,
            r#"dropped_attributes_count == 0 and dropped_events_count == 0 and dropped_links_count == 0"#,
            r#"resource.attributes["service.name"] == "checkout" and resource.attributes["host.cpus"] > 3"#,
            r#"resource.dropped_attributes_count == 2 and resource.schema_url == "resource-schema""#,
            r#"instrumentation_scope.name == "lib" and scope.version == "1.2" and scope.attributes["scope.a"] == "x""#,
            r#"scope.schema_url == "scope-schema" and Len(attributes) == 12"#,
            r#"context.client.addr == "10.0.0.1:4711" and otelcol.client.metadata["x-tenant"] == ["blue", "red"]"#,
            r#"context.client.metadata["x-tenant"][1] == "red" and context.client.metadata["y"] == nil"#,
            r#"context.client.auth.attributes["subject"] == "me""#,
        ],
    );
    assert_all(
        Context::Resource,
        &[
            r#"attributes["service.name"] == "checkout""#,
            r#"schema_url == "resource-schema""#,
        ],
    );
    assert_all(
        Context::Scope,
        &[r#"name == "lib" and resource.attributes["service.name"] == "checkout""#],
    );
    assert_all(
        Context::SpanEvent,
        &[
            r#"name == "exception" and spanevent.attributes["exception.type"] == "Oops" and event_index == 0"#,
            r#"span.name == "GET /health" and time_unix_nano == 2000000000 and time < span.end_time and IsRootSpan()"#,
            "dropped_attributes_count == 0",
        ],
    );
}

#[test]
fn every_log_path_reads_its_field() {
    assert_all(
        Context::Log,
        &[
            r#"body["k"]["l"][0] == "first" and log.body["k"]["l"] == ["first"] and IsMap(body)"#,
            r#"body.string == "{\"k\":{\"l\":[\"first\"]}}" and IsMatch(body, "first")"#,
            r#"severity_number == SEVERITY_NUMBER_ERROR and severity_number >= SEVERITY_NUMBER_WARN"#,
            r#"severity_text == "ERROR" and flags == 1 and event_name == "login" and dropped_attributes_count == 0"#,
            r#"time_unix_nano == 10 and observed_time_unix_nano == 20 and time < observed_time"#,
            r#"trace_id == TraceID(0x00000000000000000000000000000000) and trace_id.string == """#,
            r#"span_id == SpanID(0x0000000000000000) and span_id.string == """#,
            r#"attributes["s"] == "hello" and resource.attributes["service.name"] != nil and scope.name == "lib""#,
        ],
    );
    assert_eq!(
        holds(Context::Log, r#"body[0] == 1"#),
        Err("a map cannot be indexed by a int".to_owned())
    );
}

#[test]
fn every_metric_path_reads_its_field() {
    let cases = [
        (
            "sum",
            r#"name == "sum" and unit == "By" and description == "what" and type == METRIC_DATA_TYPE_SUM"#,
        ),
        (
            "sum",
            "aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE and is_monotonic == true",
        ),
        (
            "sum",
            r#"HasAttrKeyOnDatapoint("s") and not HasAttrKeyOnDatapoint("x")"#,
        ),
        (
            "sum",
            r#"HasAttrOnDatapoint("s", "hello") and not HasAttrOnDatapoint("s", "x") and metadata["a"] == nil"#,
        ),
        (
            "gauge",
            "metric.type == METRIC_DATA_TYPE_GAUGE and aggregation_temporality == nil and is_monotonic == nil",
        ),
        (
            "histogram",
            "type == METRIC_DATA_TYPE_HISTOGRAM and aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA",
        ),
        (
            "exponential",
            r#"type == METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM and HasAttrKeyOnDatapoint("s")"#,
        ),
        (
            "summary",
            r#"type == METRIC_DATA_TYPE_SUMMARY and HasAttrOnDatapoint("s", "hello")"#,
        ),
    ];
    for (metric, condition) in cases {
        assert_eq!(holds_on(Context::Metric, metric, condition), Ok(true), "{condition}");
    }
    let cases = [
        (
            "sum",
            r#"value_int == 9 and value_double == 0.0 and metric.name == "sum" and attributes["s"] == "hello""#,
        ),
        (
            "sum",
            "time_unix_nano == 5 and start_time_unix_nano == 0 and start_time < time and flags == FLAG_NONE",
        ),
        ("sum", "count == nil and sum == nil and scale == nil"),
        ("gauge", "value_double == 2.5 and value_int == 0"),
        (
            "histogram",
            "count == 3 and sum == 6.5 and min == 0.5 and max == nil and value_int == nil",
        ),
        (
            "histogram",
            r#"bucket_counts == [1, 2] and explicit_bounds[0] == 1.0 and attributes["i"] == 7"#,
        ),
        (
            "exponential",
            "count == 4 and scale == -1 and zero_count == 2 and positive.offset == -3",
        ),
        (
            "exponential",
            r#"positive.bucket_counts[1] == 5 and negative.offset == 0 and Len(negative.bucket_counts) == 0"#,
        ),
        (
            "summary",
            r#"count == 8 and sum == 2.0 and datapoint.attributes["map"]["n"] == 3"#,
        ),
    ];
    for (metric, condition) in cases {
        assert_eq!(holds_on(Context::DataPoint, metric, condition), Ok(true), "{condition}");
    }
}

#[test]
fn malformed_telemetry_is_an_error_and_deep_values_cost_no_stack() {
    let condition = Condition::new(r#"attributes["x"] == {}"#, Context::Span).unwrap();
    // A list inside a list inside a list ..., 4,000 deep.
    let mut value: Vec<u8> = Vec::new();
    for _ in 0..4000 {
        for tag in [0x0a, 0x2a] {
            let mut wrapped = vec![tag];
            wire::put_varint(&mut wrapped, value.len() as u64);
            wrapped.extend_from_slice(&value);
            value = wrapped;
        }
    }
    let mut attribute = vec![0x0a, 1, b'x', 0x12];
    wire::put_varint(&mut attribute, value.len() as u64);
    attribute.extend_from_slice(&value);
    let mut request = Vec::new();
    let mut span = vec![0x4a];
    wire::put_varint(&mut span, attribute.len() as u64);
    span.extend_from_slice(&attribute);
    for tag in [0x12, 0x12, 0x0a] {
        request = vec![tag];
        wire::put_varint(&mut request, span.len() as u64);
        request.extend_from_slice(&span);
        span = request.clone();
    }
    for text in [
        r#"attributes["x"] == attributes["x"]"#,
        r#"IsMatch(attributes["x"], "a")"#,
        r#"String(attributes["x"]) == "a""#,
    ] {
        let deep = Condition::new(text, Context::Span).unwrap();
        let result = with_target(Context::Span, "", &request, |target| deep.holds(target));
        assert_eq!(result, Err(EvalError::TooDeep), "{text}");
    }
    assert_eq!(
        with_target(Context::Span, "", &request, |target| condition.holds(target)),
        Ok(false)
    );

    // The span's payload: an attribute that claims more bytes than there are.
    let broken = [0x0a, 6, 0x12, 4, 0x12, 2, 0x4a, 9];
    let result = with_target(Context::Span, "", &broken, |target| condition.holds(target));
    assert!(matches!(result, Err(EvalError::Malformed(_))), "{result:?}");
}
