use super::*;

fn error(text: &str) -> (usize, String) {
    let error = Condition::new(text, Context::Span).expect_err(text);
    (error.offset, error.message)
}

#[test]
fn an_error_says_where_and_what_would_be_right() {
    let cases = [
        ("", 0, "the condition is empty"),
        (
            r#"atributes["a"] == 1"#,
            0,
            "unknown path `atributes`; did you mean `attributes`?",
        ),
        (
            r#"1 == atributes["a"]"#,
            5,
            "unknown path `atributes`; did you mean `attributes`?",
        ),
        (
            r#"resource.atributes["a"] == 1"#,
            9,
            "unknown path `atributes` in the resource context; did you mean `attributes`?",
        ),
        (
            "status.cod == 1",
            0,
            "unknown path `status.cod` in the span context; did you mean `status.code`?",
        ),
        ("name = \"x\"", 5, "unexpected `=`; equality is written `==`"),
        ("name == 'x'", 8, "strings stand in double quotes"),
        ("name == \"x", 8, "the string has no closing quote"),
        (
            r#"name == "\d""#,
            9,
            "unknown escape `\\d`; a backslash is written `\\\\`",
        ),
        ("name == \"x\" && true", 12, "`&&` is no operator; write `and`"),
        ("!true", 0, "`!` is no operator; write `not`"),
        (
            "name == \"x\" andd true",
            12,
            "unexpected `andd` behind the condition; did you mean `and`?",
        ),
        (
            "kind == SPAN_KIND_SERVR",
            8,
            "unknown enum symbol `SPAN_KIND_SERVR`; did you mean `SPAN_KIND_SERVER`?",
        ),
        (
            "isMatch(name, \"x\")",
            0,
            "unknown function `isMatch`; did you mean `IsMatch`?",
        ),
        (
            "IsMatsch(name, \"x\")",
            0,
            "unknown function `IsMatsch`; did you mean `IsMatch`?",
        ),
        ("IsMatch(name, \"(\")", 14, "bad regular expression: unclosed group"),
        (
            "IsMatch(name)",
            0,
            "`IsMatch` needs `pattern`; it takes (target, pattern)",
        ),
        (
            "IsMatch(name, \"a\", \"b\")",
            19,
            "too many arguments for `IsMatch`; it takes (target, pattern)",
        ),
        (
            "IsMatch(name, patern=\"a\")",
            21,
            "`IsMatch` has no argument `patern`; it takes (target, pattern)",
        ),
        ("IsMatch(name, target=\"a\")", 21, "`IsMatch` is given `target` twice"),
        (
            "IsMatch(target=name, \"a\")",
            21,
            "arguments without a name stand before those with one",
        ),
        ("URL(name) == nil", 0, "function `URL` is not built yet"),
        ("set(name, \"x\")", 0, "`set` is an editor; a condition changes nothing"),
        (
            "true where false",
            5,
            "`where` belongs to statements; here stands only the condition",
        ),
        (
            "name",
            0,
            "a path is no condition; compare it with something, e.g. `... == true` or `... != nil`",
        ),
        (
            "1 == 1 == true",
            0,
            "comparisons cannot be chained; join them with `and`",
        ),
        ("Len(1 == 1) == 1", 4, "expected a value, found a comparison"),
        ("name[0] == 1", 5, "`name` cannot be indexed"),
        ("attributes[nil] == 1", 11, "a key is a string or an int, not nil"),
        ("attributes[-1] == 1", 11, "an index is not negative"),
        ("log.body == 1", 0, "`log` is not reachable from the span context"),
        ("events == nil", 0, "path `events` of the span context is not built yet"),
        (
            "resource == nil",
            0,
            "`resource` alone has no value; name one of its fields, e.g. `resource.attributes`",
        ),
        ("(true", 5, "expected `)`, found the end"),
        ("true)", 4, "unexpected `)` behind the condition"),
        ("name == ", 8, "expected a value, found the end"),
        (
            "kind == 9223372036854775808",
            8,
            "9223372036854775808 does not fit into a 64-bit int",
        ),
        (
            "kind == 0x123",
            8,
            "bytes are written as 0x and an even number of hexadecimal digits",
        ),
        ("kind == 12abc", 10, "unexpected character behind the number 12"),
        ("kind == #", 8, "unexpected character `#`"),
        (
            "HasAttrKeyOnDatapoint(\"a\")",
            0,
            "`HasAttrKeyOnDatapoint` belongs to the metric context, this is the span context",
        ),
        ("Time(\"x\", \"%Y %\") == nil", 10, "bad time format"),
        (
            "Time(\"x\", \"%Y\", \"Europe/Vienna\") == nil",
            16,
            "`location` other than \"UTC\" is not built yet",
        ),
        (
            "ExtractPatterns(name, \"a\") == nil",
            22,
            "the pattern needs at least one named group, e.g. `(?P<name>...)`",
        ),
        ("-name == 1", 0, "a sign stands only before a number"),
        ("SHA256 == 1", 0, "`SHA256` is a function; call it: `SHA256(...)`"),
        ("name. == 1", 6, "expected a lower-case field name behind `.`"),
        ("{1: 2} == nil", 1, "the keys of a map are strings"),
    ];
    for (text, offset, message) in cases {
        let (found_offset, found) = error(text);
        assert!(
            found.starts_with(message),
            "{text}\n  expected {message}\n  found    {found}"
        );
        assert_eq!(found_offset, offset, "{text}: {found}");
    }
}

#[test]
fn nesting_is_bounded_and_a_long_chain_is_not_nesting() {
    let deep = format!("{}true{}", "(".repeat(100), ")".repeat(100));
    assert!(error(&deep).1.contains("nested deeper than 64"));
    let deep = format!("{}true", "not ".repeat(100));
    assert!(error(&deep).1.contains("nested deeper than 64"));
    let deep = format!("{}{}", "Len(".repeat(10_000), ")".repeat(10_000));
    assert!(error(&deep).1.contains("nested deeper than 64"));
    let long = format!("true{}", " and true".repeat(5000));
    assert_eq!(holds(Context::Span, &long), Ok(true));
    let long = format!("5001 == 1{}", " + 1".repeat(5000));
    assert_eq!(holds(Context::Span, &long), Ok(true));
    let too_long = format!("\"{}\" == nil", "x".repeat(70_000));
    assert!(error(&too_long).1.contains("longer than 65536 bytes"));
}

#[test]
fn statements_are_parsed_and_refused_by_the_name_of_their_editor() {
    let refused = |text| {
        let error = check_statement(text, Context::Span);
        (error.offset, error.message)
    };
    let cases = [
        (
            r#"set(attributes["a"], 1) where name == "x""#,
            0,
            "editor `set` is not built yet",
        ),
        (
            r#"replace_all_patterns(attributes, "value", "a", "b")"#,
            0,
            "editor `replace_all_patterns` is not built yet",
        ),
        (r#"sett(name, 1)"#, 0, "unknown editor `sett`; did you mean `set`?"),
        (
            r#"set(name, 1) where nam == 1"#,
            19,
            "unknown path `nam`; did you mean `name`?",
        ),
        (r#"IsMatch(name, "a")"#, 0, "a statement begins with an editor"),
        (r#"set name"#, 4, "expected `(` behind the editor"),
        (r#"set(name, 1) if true"#, 13, "unexpected `if`"),
    ];
    for (text, offset, message) in cases {
        let (found_offset, found) = refused(text);
        assert!(found.starts_with(message), "{text}: {found}");
        assert_eq!(found_offset, offset, "{text}");
    }
}

#[test]
fn the_context_is_the_lowest_that_the_paths_name() {
    let cases = [
        (r#"resource.attributes["a"] == 1"#, Context::Resource),
        (r#"resource.attributes["a"] == 1 and scope.name == "x""#, Context::Scope),
        (r#"instrumentation_scope.name == "x""#, Context::Scope),
        (r#"IsMatch(span.name, "a") or scope.name == "x""#, Context::Span),
        (r#"span.name == "a" and spanevent.name == "b""#, Context::SpanEvent),
        (r#"spanevent.name == "b" and span.name == "a""#, Context::SpanEvent),
        (r#"metric.name == "a" and datapoint.value_int == 0"#, Context::DataPoint),
        (r#"HasAttrKeyOnDatapoint("a")"#, Context::Metric),
        (r#"IsRootSpan()"#, Context::Span),
        (r#"log.body == "x""#, Context::Log),
    ];
    for (text, context) in cases {
        assert_eq!(Condition::inferred(text).expect(text).context(), context, "{text}");
    }
    let error = Condition::inferred("name == 1").unwrap_err();
    assert!(
        error.message.starts_with("cannot tell which context is meant"),
        "{error}"
    );
    let error = Condition::inferred(r#"span.kind == 1 and name == "x""#).unwrap_err();
    assert_eq!(error.message, "the path needs its context in front here: `span.name`");
    assert_eq!(error.offset, 19);
    let error = Condition::inferred(r#"span.kind == 1 and log.body == "x""#).unwrap_err();
    assert_eq!(error.offset, 19);
}
