use std::fmt::Write;

use super::*;

fn text_of(options: &Options, document: &str) -> String {
    let (out, salvaged) = read_with(options.clone(), document);
    let mut text = String::new();
    for rejected in &salvaged.rejected {
        writeln!(text, "rejected: {}", rejected.name()).unwrap();
    }
    for (reason, count) in salvaged.reasons() {
        writeln!(text, "salvaged: {} {count}", reason.name()).unwrap();
    }
    for document in &out.documents {
        writeln!(text, "{:?} in_progress={}", document.kind, document.in_progress).unwrap();
        let resource = document.resource_spans.resource.as_ref().unwrap();
        for attribute in shown(&resource.attributes) {
            writeln!(text, "  @{attribute}").unwrap();
        }
        for span in document.spans() {
            span_text(&mut text, span);
        }
    }
    text
}

fn span_text(text: &mut String, span: &Span) {
    let status = span.status.as_ref().unwrap();
    writeln!(
        text,
        "  span {} <- {} {:?} {:?} flags {:#x} {}..{} status {} {:?}",
        hex::encode(&span.span_id),
        hex::encode(&span.parent_span_id),
        span.name,
        span.kind(),
        span.flags,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        status.code,
        status.message
    )
    .unwrap();
    for attribute in shown(&span.attributes) {
        writeln!(text, "    {attribute}").unwrap();
    }
    for event in &span.events {
        writeln!(
            text,
            "    event {} {} {:?}",
            event.name,
            event.time_unix_nano,
            shown(&event.attributes)
        )
        .unwrap();
    }
    for link in &span.links {
        let ids = (hex::encode(&link.trace_id), hex::encode(&link.span_id));
        writeln!(text, "    link {} {} {:?}", ids.0, ids.1, shown(&link.attributes)).unwrap();
    }
}

#[test]
fn every_odd_document_gives_what_was_agreed() {
    let all = [
        ("stable", Semconv::Stable, Compat::None),
        ("old", Semconv::Old, Compat::None),
        ("both", Semconv::Both, Compat::None),
        ("collector", Semconv::Old, Compat::Collector),
    ];
    let documents = [
        ("api_request", include_str!("../corpus/api_request.json")),
        ("bad_times", include_str!("../corpus/bad_times.json")),
        ("bad_nodes", include_str!("../corpus/bad_nodes.json")),
        ("in_progress", include_str!("../corpus/in_progress.json")),
        ("alone", include_str!("../corpus/alone.json")),
    ];
    for (name, document) in documents {
        for (variant, semconv, compat) in all {
            let options = Options {
                semconv,
                compat,
                keep_unknown: true,
                ..Options::default()
            };
            let text = text_of(&options, document);
            insta::assert_snapshot!(format!("{name}_{variant}"), text);
        }
    }
}

#[test]
fn the_same_document_gives_the_same_twice() {
    let document = include_str!("../corpus/api_request.json");
    let options = Options::default();
    assert_eq!(text_of(&options, document), text_of(&options, document));
}
