use super::*;

#[test]
fn functions_on_strings() {
    assert_all(
        Context::Span,
        &[
            r#"IsMatch(name, "^GET /h") and not IsMatch(name, "^POST")"#,
            r#"IsMatch(target=name, pattern="health$") and IsMatch(name, pattern=".*ea.*")"#,
            r#"not IsMatch(attributes["missing"], ".*") and IsMatch(attributes["i"], "^7$")"#,
            r#"IsMatch(attributes["t"], "true") and IsMatch(attributes["d"], "^1\\.5$") and IsMatch(attributes["b"], "AQI=")"#,
            r#"IsMatch(attributes["list"], "two")"#,
            r#"IsMatch(name, Concat(["GET", " "], ""))"#,
            r#"ExtractPatterns(name, "^(?P<verb>\\w+) (?P<path>.*)$") == {"verb": "GET", "path": "/health"}"#,
            r#"ExtractPatterns(name, "^(?P<verb>\\w+) ")["verb"] == "GET" and ExtractPatterns(name, "(?P<x>xyz)") == {}"#,
            r#"Concat(["a", 1, true, 1.5, nil], "-") == "a-1-true-1.5-<nil>" and Concat([], "x") == """#,
            r#"Split("A|B|C", "|") == ["A", "B", "C"] and Split(name, " ")[1] == "/health" and Split("ab", "") == ["a", "b"]"#,
            r#"Substring("123456789", 0, 3) == "123" and Substring(name, 4, 7) == "/health""#,
            r#"ToUpperCase("aé") == "AÉ" and ToLowerCase(name) == "get /health""#,
            r#"HasPrefix(name, "GET") and HasSuffix(name, "health") and not HasPrefix(name, "health")"#,
            r#"Trim("  a ") == "a" and Trim("xxaxx", "x") == "a" and Trim("xx", "x") == "" and Trim("a", "x") == "a""#,
            r#"TrimPrefix("abc", "ab") == "c" and TrimPrefix("abc", "x") == "abc" and TrimSuffix("abc", "bc") == "a""#,
        ],
    );
    let errors = [
        (
            r#"Substring("abc", 1, 5) == "x""#,
            "Substring: start and length lie outside the string",
        ),
        (
            r#"Substring("é", 1, 1) == "x""#,
            "Substring: start or end lies inside a character",
        ),
        (r#"Substring("abc", -1, 1) == "x""#, "Substring: start is negative"),
        (
            r#"Substring("abc", 9223372036854775807, 9223372036854775807) == "x""#,
            "Substring: start and length lie outside the string",
        ),
        (
            r#"IsMatch("a", attributes["i"])"#,
            "IsMatch: expected string, found int",
        ),
        (r#"IsMatch("a", Concat(["("], ""))"#, "IsMatch: bad regular expression"),
        (r#"Concat("a", "b") == "x""#, "Concat: expected list, found string"),
    ];
    for (condition, message) in errors {
        assert_eq!(holds(Context::Span, condition), Err(message.to_owned()), "{condition}");
    }
}

#[test]
fn functions_on_types() {
    assert_all(
        Context::Span,
        &[
            r#"IsString(attributes["s"]) and IsInt(attributes["i"]) and IsDouble(attributes["d"]) and IsBool(attributes["t"])"#,
            r#"IsMap(attributes["map"]) and IsList(attributes["list"]) and not IsString(attributes["missing"])"#,
            r#"not IsInt(attributes["d"]) and not IsDouble(attributes["i"]) and not IsMap(attributes["list"])"#,
            r#"Int(attributes["digits"]) == 42 and Int("2.0") == nil and Int(2.9) == 2 and Int(-2.9) == -2 and Int(true) == 1"#,
            r#"Int(attributes["list"]) == nil and Int(nil) == nil and Int("99999999999999999999") == nil"#,
            r#"Double("1.5") == 1.5 and Double(2) == 2.0 and Double(false) == 0.0 and Double("x") == nil"#,
            r#"Bool("true") and Bool(1) and not Bool(0.0) and Bool(nil) == nil"#,
            r#"String(1) == "1" and String(1.0) == "1" and String(true) == "true" and String(nil) == nil"#,
            r#"String(1e21) == "1e+21" and String(0.0000001) == "1e-7" and String(1e20) == "100000000000000000000""#,
            r#"String([1, "a\"b", nil, {"z": 1, "a": 0x01}]) == "[1,\"a\\\"b\",null,{\"a\":\"AQ==\",\"z\":1}]""#,
            r#"Len("abc") == 3 and Len(attributes["list"]) == 3 and Len(attributes["map"]) == 2 and Len([1]) == 1"#,
        ],
    );
    assert_eq!(
        holds(Context::Span, r#"Bool("maybe")"#),
        Err("Bool: the string is neither true nor false".to_owned())
    );
}

#[test]
fn functions_on_times() {
    assert_all(
        Context::Span,
        &[
            r#"FormatTime(Now(), "%Y-%m-%dT%H:%M:%SZ") == "2026-01-02T03:04:05Z""#,
            r#"Time("02/04/2023", "%m/%d/%Y") == Unix(1675468800)"#,
            r#"Time("2023-05-26 12:34:56.789", "%Y-%m-%d %H:%M:%S.%L") == Unix(1685104496, 789000000)"#,
            r#"Time("2023-05-26T12:34:56 -0800", "%Y-%m-%dT%H:%M:%S %z") == Unix(1685133296)"#,
            r#"Time("2023-05-26", "%Y-%m-%d", "UTC") < Now()"#,
            r#"UnixSeconds(Unix(5)) == 5 and UnixMilli(Unix(5)) == 5000 and UnixMicro(Unix(5)) == 5000000 and UnixNano(Unix(5)) == 5000000000"#,
            r#"Duration("1h30m") == Duration("90m") and Duration("-1.5s") < Duration("0") and Duration("100ms") > Duration("99µs")"#,
            r#"Hours(Duration("90m")) == 1.5 and Minutes(Duration("90s")) == 1.5 and Seconds(Duration("1500ms")) == 1.5"#,
            r#"Milliseconds(Duration("1.5s")) == 1500 and Microseconds(Duration("1ms")) == 1000 and Nanoseconds(Duration("1us")) == 1000"#,
            r#"Year(Now()) == 2026 and Month(Now()) == 1 and Day(Now()) == 2 and Weekday(Now()) == 5"#,
            r#"Hour(Now()) == 3 and Minute(Now()) == 4 and Second(Now()) == 5 and Nanosecond(Unix(0, 7)) == 7"#,
            r#"String(Duration("1h30m")) == "1h30m0s" and String(Duration("1.5s")) == "1.5s" and String(Duration("-20ms")) == "-20ms""#,
            r#"String(Unix(0)) == "1970-01-01T00:00:00Z""#,
        ],
    );
    let errors = [
        (
            r#"Duration("1 day") == nil"#,
            "Duration: no duration, e.g. \"1h30m\" or \"200ms\"",
        ),
        (
            r#"Duration("") == nil"#,
            "Duration: no duration, e.g. \"1h30m\" or \"200ms\"",
        ),
        (
            r#"Time("x", "%Y") == nil"#,
            "Time: the string is not written in this format",
        ),
        (r#"Year(1) == nil"#, "Year: expected time, found int"),
        (r#"Hours(1) == nil"#, "Hours: expected duration, found int"),
        (r#"Unix(9223372036854775807) == nil"#, "Unix: the time does not fit"),
    ];
    for (condition, message) in errors {
        assert_eq!(holds(Context::Span, condition), Err(message.to_owned()), "{condition}");
    }
}

#[test]
fn hashes_encodings_and_json() {
    assert_all(
        Context::Span,
        &[
            r#"SHA256("name") == "82a3537ff0dbce7eec35d69edc3a189ee6f17d82f353a553f9aa96cb0be3ce89""#,
            r#"Hex("ab") == "6162" and Hex(0x0a) == "0a" and Hex(1) == "0000000000000001" and Hex(true) == "01""#,
            r#"ParseJSON("{\"a\":[1,true,null,\"x\"]}") == {"a": [1.0, true, nil, "x"]}"#,
            r#"ParseJSON(attributes["json"])["a"]["b"][1] == 2"#,
            r#"ContainsValue(attributes["list"], "two") and not ContainsValue(attributes["list"], 9)"#,
        ],
    );
    let deep = format!(r#"ParseJSON("{}") == nil"#, "[".repeat(20_000));
    assert_eq!(
        holds(Context::Span, &deep),
        Err("ParseJSON: the string is no JSON".to_owned())
    );
    assert_eq!(
        holds(Context::Span, "TraceID(0x01) == trace_id"),
        Err("TraceID: an id of the wrong length".to_owned())
    );
}
