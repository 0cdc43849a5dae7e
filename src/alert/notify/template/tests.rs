use super::*;

fn render(text: &str) -> Result<String, TemplateError> {
    let templates = Templates::builtin();
    let text = templates.parse(text)?;
    templates.render(&text, &value::example(), Escape::Plain)
}

#[test]
fn templates_of_alertmanager_are_understood() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ .Status }}", "firing"),
        ("{{ .CommonLabels.alertname | toUpper }}", "EXAMPLE"),
        ("{{ .CommonLabels.none }}|", "|"),
        ("{{ len .Alerts.Firing }}/{{ .Alerts.Resolved | len }}", "1/0"),
        (
            "{{ range .Alerts }}{{ .Labels.severity }} {{ $.Receiver }}{{ end }}",
            "critical example",
        ),
        (
            "{{ range $i, $a := .Alerts }}{{ $i }}:{{ $a.Status }}{{ end }}",
            "0:firing",
        ),
        (
            "{{ if eq .Status \"resolved\" }}a{{ else if gt (len .Alerts) 0 }}b{{ else }}c{{ end }}",
            "b",
        ),
        ("{{ with .CommonAnnotations.none }}x{{ else }}none{{ end }}", "none"),
        (
            "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
            "alertname=Example;severity=critical;summary=an example;",
        ),
        (
            "{{ .GroupLabels.SortedPairs.Values | join \" \" }}",
            "Example critical an example",
        ),
        ("{{ define \"x\" }}[{{ .Status }}]{{ end }}a", "a"),
        ("a {{- \" b \" -}} c", "a b c"),
        ("{{/* a comment */}}x", "x"),
        ("{{ printf \"%s %.2f %d%%\" .Status 1.5 3 }}", "firing 1.50 3%"),
        ("{{ reReplaceAll \"(fir).*\" \"$1\" .Status }}", "fir"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ (index .Alerts 0).Labels.severity }}", "critical"),
        ("{{ index .CommonLabels \"alertname\" }}", "Example"),
        ("{{ if and .Status (not .CommonLabels.none) }}y{{ end }}", "y"),
        ("{{ \"a b\" | title }} {{ `raw\\n` }}", "A B raw\\n"),
        ("{{ if match \"^fir\" .Status }}m{{ end }}", "m"),
    ] {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    for (text, offset, part) in [
        ("ab {{ .Status", 3, "without"),
        ("{{ .Statu }}", 3, "did you mean \"Status\""),
        ("x {{ toUper .Status }}", 5, "did you mean \"toUpper\""),
        ("{{ if .Status }}x", 17, "end"),
        ("{{ end }}", 3, "without a beginning"),
        ("{{ template \"nothing\" . }}", 12, "no template"),
        ("{{ .Status.Format }}", 3, "no field"),
        ("{{ $nothing }}", 3, "no variable"),
        ("{{ range .Status }}{{ end }}", 9, "lists and maps"),
        ("{{ .Status .Status }}", 3, "only a function"),
        ("{{ match \"(\" .Status }}", 3, "no regular expression"),
        ("{{ # }}", 3, "not known"),
    ] {
        let error = render(text).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(error.offset, offset, "{text}: {error}");
    }
}

#[test]
fn limits_hold() {
    let bomb = "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}";
    let mut templates = Templates::builtin();
    templates.define(bomb).unwrap();
    assert!(templates.parse(bomb).unwrap_err().message.contains("32 deep"));

    let long = format!("{{{{ range .Alerts }}}}{}{{{{ end }}}}", "x".repeat(LONGEST - 30));
    assert!(render(&long).is_ok());
    assert!(
        render(&format!("{long}{}", "y".repeat(100)))
            .unwrap_err()
            .message
            .contains("64 KiB")
    );
    let doubling = format!(
        "{{{{ $x := \"xxxxxxxx\" }}}}{}",
        "{{ $x = printf \"%s%s\" $x $x }}".repeat(40)
    );
    assert!(render(&doubling).unwrap_err().message.contains("64 KiB"));

    let deep = "(".repeat(10_000);
    assert!(
        render(&format!("{{{{ {deep} }}}}"))
            .unwrap_err()
            .message
            .contains("64 deep")
    );
    let nested = "{{ if true }}".repeat(5_000);
    assert!(render(&nested).unwrap_err().message.contains("64 deep"));

    // Loops inside loops: 40^6 steps would take minutes.
    let list = format!("{{{{ $l := stringSlice {} }}}}", "\"a\" ".repeat(40));
    let slow = format!("{list}{}{}", "{{ range $l }}".repeat(6), "{{ end }}".repeat(6));
    // Not `range` over a dollar-less variable: the inner ones see it too.
    assert!(render(&slow).unwrap_err().message.contains("100 ms"));
}

#[test]
fn telemetry_is_escaped_and_what_the_template_says_is_not() {
    let templates = Templates::builtin();
    let data = Value::record([("Evil", Value::text("<!channel> \u{1b}[31m&\u{202e}"))]);
    let text = Text(Arc::new(
        parse::parse("<b>{{ .Evil }}{{ \"<c>\" }}{{ .Evil | safeHtml }}")
            .unwrap()
            .body,
    ));
    let shown = templates.render(&text, &data, Escape::Slack).unwrap();
    assert_eq!(shown, "<b>&lt;!channel&gt; [31m&amp;<c><!channel> \u{1b}[31m&\u{202e}");
    let shown = templates.render(&text, &data, Escape::Plain).unwrap();
    assert!(shown.starts_with("<b><!channel> [31m&<c>"), "{shown}");
}

#[test]
fn our_own_texts_are_sound() {
    let text = render("{{ template \"radiosonde.title\" . }}\n{{ template \"radiosonde.text\" . }}").unwrap();
    assert!(
        text.starts_with("[FIRING] Example (critical): an example\nFIRING Example (critical)\nan example\n"),
        "{text}"
    );
    assert!(text.contains("what to do:\n- one step\ncontact: nobody\n"), "{text}");
}

#[test]
fn definitions_come_from_files_and_are_refused_with_line_and_column() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("a.tmpl"), "{{ define \"mine\" }}mine{{ end }}").unwrap();
    std::fs::write(place.path().join("b.tmpl"), "\n {{ nothing }}").unwrap();
    let read = |name: &str| {
        let section = Section::from_yaml(&format!("templates: ['{}/{name}']", place.path().display()));
        (Templates::read(&section), section.problems())
    };
    let (templates, problems) = read("a*.tmpl");
    assert_eq!(problems, Vec::<String>::new());
    assert!(templates.parse("{{ template \"mine\" }}").is_ok());
    let (_, problems) = read("*.tmpl");
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("b.tmpl: 2:5: there is no function")),
        "{problems:?}"
    );
    let (_, problems) = read("nothing.tmpl");
    assert!(!problems.is_empty());
}
