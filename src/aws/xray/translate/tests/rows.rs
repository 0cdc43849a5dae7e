use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::*;

#[test]
fn a_chain_of_subsegments_needs_no_stack_and_what_is_too_deep_hangs_at_the_deepest() {
    let mut document = segment("").trim_end_matches('}').to_owned();
    let nodes = 2_400;
    for index in 1..=nodes {
        document.push_str(&format!(
            r#","subsegments":[{{"name":"n","id":"{index:016x}","start_time":10,"end_time":11"#
        ));
    }
    document.push_str(&"}]".repeat(nodes));
    document.push('}');
    let (out, salvaged) = read_with(Options::default(), &document);
    assert_eq!(out.count(), nodes + 1);
    let found = out.documents[0].spans();
    let parent_of = |index: usize| u64::from_be_bytes(found[index].parent_span_id.clone().try_into().unwrap());
    assert_eq!(parent_of(2000), 1999);
    assert_eq!(parent_of(2001), 2000);
    assert_eq!(parent_of(2400), 2000);
    let reasons: Vec<_> = salvaged.reasons().collect();
    assert_eq!(reasons, [(Reason::Depth, 400)]);
}

#[test]
fn documents_without_a_trace_id_or_any_id_are_rejected() {
    for (document, rejected) in [
        ("", Rejected::NotJson),
        ("{", Rejected::NotJson),
        ("7", Rejected::NotADocument),
        ("[7]", Rejected::NotADocument),
        ("{}", Rejected::TraceId),
        (r#"{"trace_id":"1-581cf771-a006649127e371903a2de979"}"#, Rejected::Id),
    ] {
        let (out, salvaged) = read_with(Options::default(), document);
        assert_eq!(out.count(), 0);
        assert_eq!(salvaged.rejected, [rejected], "{document}");
    }
    let (out, salvaged) = read_with(Options::default(), "[]");
    assert!(out.count() == 0 && salvaged.is_clean());
}

#[test]
fn of_two_documents_the_first_is_taken() {
    let (out, salvaged) = read_with(Options::default(), &format!("{0}\n{0}", segment("")));
    assert_eq!(out.count(), 1);
    assert_eq!(salvaged.reasons().collect::<Vec<_>>(), [(Reason::TrailingData, 1)]);
    assert!(
        read_with(Options::default(), &format!("{}\r\n\n", segment("")))
            .1
            .is_clean()
    );
}

#[test]
fn kinds_follow_type_and_namespace() {
    for (fields, kind) in [
        ("", SpanKind::Server),
        (r#""namespace":"local""#, SpanKind::Server),
        (r#""namespace":"remote""#, SpanKind::Client),
        (r#""type":"subsegment""#, SpanKind::Internal),
        (r#""type":"subsegment","namespace":"aws""#, SpanKind::Client),
        (
            r#""origin":"AWS::Lambda::Function","aws":{"queue_url":"q"}"#,
            SpanKind::Consumer,
        ),
    ] {
        assert_eq!(spans(&segment(fields))[0].kind(), kind, "{fields}");
    }
    let sns = segment(r#""namespace":"aws","aws":{"operation":"Publish"}"#).replace("shop", "SNS");
    assert_eq!(spans(&sns)[0].kind(), SpanKind::Producer);
}

#[test]
fn flags_say_whether_the_parent_is_in_another_process() {
    assert_eq!(spans(&segment(""))[0].flags, 0x01);
    assert_eq!(spans(&segment(r#""parent_id":"70de5b6f19ff9a01""#))[0].flags, 0x301);
    let subsegment = segment(r#""parent_id":"70de5b6f19ff9a01","type":"subsegment""#);
    assert_eq!(spans(&subsegment)[0].flags, 0x101);
}

#[test]
fn a_clients_fault_is_no_error_of_the_server_unless_asked_for() {
    let status = |fields: &str, options: Options| {
        let (out, _) = read_with(options, &segment(fields));
        out.documents[0].spans()[0].status.clone().unwrap().code
    };
    for (fields, code) in [
        ("", 0),
        (r#""cause":{}"#, 0),
        (r#""error":true"#, 0),
        (r#""throttle":true"#, 0),
        (r#""http":{"response":{"status":404}}"#, 0),
        (r#""http":{"response":{"status":500}}"#, 2),
        (r#""fault":true"#, 2),
        (r#""fault":false"#, 0),
        (r#""namespace":"remote","http":{"response":{"status":404}}"#, 2),
        (r#""type":"subsegment","error":true"#, 2),
        (r#""cause":{"exceptions":[{}]}"#, 2),
    ] {
        assert_eq!(status(fields, Options::default()), code, "{fields}");
    }
    let asked = Options {
        treat_client_errors: true,
        ..Options::default()
    };
    assert_eq!(status(r#""throttle":true"#, asked), 2);
    let collector = Options {
        compat: Compat::Collector,
        semconv: Semconv::Old,
        ..Options::default()
    };
    for (fields, code) in [
        (r#""cause":{}"#, 2),
        (r#""fault":true"#, 0),
        (r#""http":{"response":{"status":404}}"#, 2),
        (r#""http":{"response":{"status":200}}"#, 0),
    ] {
        assert_eq!(status(fields, collector.clone()), code, "collector {fields}");
    }
}

#[test]
fn a_subsegment_alone_gets_the_service_of_its_parent_when_that_was_seen() {
    let reader = Reader::new(Options::default());
    let mut out = Spans::default();
    let alone = segment(r#""type":"subsegment","parent_id":"70de5b6f19ff9a0a","namespace":"remote""#)
        .replace("70de5b6f19ff9a0a\",\"trace", "70de5b6f19ff9a0b\",\"trace")
        .replace("shop", "pay.example.com");
    for document in [&alone, &segment(""), &alone] {
        assert!(reader.segments(document.as_bytes(), RECEIVED, &mut out).is_clean());
    }
    let service = |index: usize| {
        shown(
            &out.documents[index]
                .resource_spans
                .resource
                .as_ref()
                .unwrap()
                .attributes,
        )[0]
        .clone()
    };
    assert_eq!(service(0), "service.name=\"unknown_service\"");
    assert_eq!(service(1), "service.name=\"shop\"");
    assert_eq!(service(2), "service.name=\"shop\"");
    let span = &out.documents[2].spans()[0];
    assert!(has(&span.attributes, "peer.service=\"pay.example.com\""));
    assert!(has(&span.attributes, "server.address=\"pay.example.com\""));
}

#[test]
fn an_inferred_segment_tells_its_service_to_the_span_that_called_it() {
    let (mut out, _) = read_with(Options::default(), include_str!("../corpus/alone.json"));
    assert_eq!(out.drop_inferred(), 1);
    assert_eq!(out.documents.len(), 3);
    let caller = &out.documents[1].spans()[0];
    assert!(has(&caller.attributes, "aws.xray.origin=\"AWS::DynamoDB::Table\""));
    assert_eq!(out.drop_inferred(), 0);
}

#[test]
fn metadata_is_bounded_and_expands_when_asked() {
    let document = segment(r#""metadata":{"a":{"b":{"c":1},"d":[1]},"e":"0123456789"}"#);
    let bounded = Options {
        metadata_max_bytes: 26,
        ..Options::default()
    };
    let (out, salvaged) = read_with(bounded, &document);
    assert_eq!(salvaged.reasons().collect::<Vec<_>>(), [(Reason::Metadata, 1)]);
    let attributes = &out.documents[0].spans()[0].attributes;
    assert!(
        has(attributes, r#"aws.xray.metadata.a="{\"b\":{\"c\":1},\"d\":[1]}""#),
        "{:?}",
        shown(attributes)
    );
    let expand = Options {
        metadata: MetadataMode::Expand,
        ..Options::default()
    };
    let (out, _) = read_with(expand, &document);
    let attributes = &out.documents[0].spans()[0].attributes;
    for wanted in [
        "aws.xray.metadata.a.b.c=1",
        "aws.xray.metadata.a.d=[1]",
        "aws.xray.metadata.e=\"0123456789\"",
    ] {
        assert!(has(attributes, wanted), "{wanted}: {:?}", shown(attributes));
    }
}

#[test]
fn a_route_in_the_annotations_names_the_span() {
    let fields = r#""http":{"request":{"method":"GET"}},"annotations":{"http.route":"/users/{id}"}"#;
    let span = &spans(&segment(fields))[0];
    assert_eq!(span.name, "GET /users/{id}");
    assert!(has(&span.attributes, "aws.xray.segment.name=\"shop\""));
}

#[test]
fn broken_utf8_costs_only_its_characters() {
    let mut document = segment(r#""user":"a?b""#).into_bytes();
    let at = document.iter().position(|byte| *byte == b'?').unwrap();
    document[at] = 0xff;
    let mut out = Spans::default();
    let salvaged = Reader::new(Options::default()).segments(&document, RECEIVED, &mut out);
    assert_eq!(salvaged.reasons().collect::<Vec<_>>(), [(Reason::Text, 1)]);
    assert!(has(
        &out.documents[0].spans()[0].attributes,
        "enduser.id=\"a\u{fffd}b\""
    ));
}
