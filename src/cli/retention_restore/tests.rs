use super::*;

#[test]
fn since_is_a_day_a_time_or_a_duration() {
    let now = UnixNanos::from_seconds(1_795_176_000); // 2026-11-20T12:00:00Z
    for (text, day) in [
        ("2026-11-18", "2026-11-18"),
        ("2026-11-18T23:30:00-02:00", "2026-11-19"),
        ("72h", "2026-11-17"),
        ("13h", "2026-11-19"),
    ] {
        assert_eq!(
            since(text, now).map(|day| day.to_string()),
            Some(day.to_owned()),
            "{text}"
        );
    }
    assert_eq!(since("yesterday", now), None);
}

#[test]
fn of_a_configuration_only_what_stands_behind_the_pipeline_runs() {
    let text = "receivers: {otlp: {protocols: {grpc: }}}\nexporters: {nop: , nop/b: , nop/c: }\nconnectors: {forward: }\n\
                service: {pipelines: {traces/a: {receivers: [otlp], exporters: [nop, forward]}, \
                traces/b: {receivers: [forward, otlp], exporters: [nop/b]}, traces/c: {receivers: [otlp], exporters: [nop/c]}}}";
    let document = Document::from_text("test", text, &|_: &str| None).unwrap();
    let checked = only(checked_of(&document).unwrap(), "traces/a").unwrap();
    let pipelines: Vec<_> = checked
        .pipelines
        .iter()
        .map(|pipeline| {
            (
                pipeline.name.as_str(),
                pipeline.receivers.iter().map(ComponentId::as_str).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(pipelines, [("traces/a", vec![SOURCE]), ("traces/b", vec!["forward"])]);
    let document = Document::from_text("test", text, &|_: &str| None).unwrap();
    assert!(
        only(checked_of(&document).unwrap(), "traces/x")
            .err()
            .unwrap()
            .contains("traces/x")
    );
}

#[test]
fn another_backend_is_a_configuration_of_one_exporter() {
    for text in [
        "otlp=localhost:4317",
        "otlp=https://host:4317",
        "otlphttp=http://localhost:4318",
    ] {
        let document = Document::from_text("test", &exporting(text).unwrap(), &|_: &str| None).unwrap();
        let checked = checked_of(&document).unwrap();
        assert!(only(checked, "traces").is_ok(), "{text}");
    }
    for text in ["localhost:4317", "kafka=x", "otlp="] {
        assert!(exporting(text).is_err(), "{text}");
    }
}

/// A trace of two spans in a directory, and what a file gets of it.
#[tokio::test]
async fn what_is_played_is_what_was_archived_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (folder.path().join("archive"), folder.path().join("out.json"));
    let archiving = format!(
        "receivers: {{nop: }}\nexporters: {{awss3: {{url: \"file://{}\", sending_queue: {{enabled: false}}}}}}\n\
         service: {{pipelines: {{traces: {{receivers: [nop], exporters: [awss3]}}}}}}",
        place.display()
    );
    let document = Document::from_text("test", &archiving, &|_: &str| None).unwrap();
    let mut checked = only(checked_of(&document).unwrap(), "traces").unwrap();
    let source = Source::default();
    checked.components.push(component(&source));
    let graph = Graph::start(Host::default(), &checked).await.unwrap();
    let outlet = source.0.lock().unwrap().clone().unwrap();
    let now = SystemClock.now().0;
    let spans: Vec<String> = (1..=2)
        .map(|n| {
            format!(
                "{{\"traceId\": \"{}\", \"spanId\": \"000000000000000{n}\", \"name\": \"s{n}\", \
                 \"startTimeUnixNano\": \"{now}\", \"endTimeUnixNano\": \"{now}\"}}",
                "1".repeat(32)
            )
        })
        .collect();
    let text = format!(
        "{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": [{}]}}]}}]}}",
        spans.join(",")
    );
    let origin = crate::pdata::Origin::internal();
    let limits = crate::pdata::DoorLimits::default();
    let batch = Batch::from_json(Signal::Traces, text.as_bytes(), &limits, origin)
        .unwrap()
        .batch;
    outlet.consume(batch).await.unwrap();
    graph.stop(Duration::ZERO, DRAIN).await;

    let restoring = format!(
        "receivers: {{nop: }}\nexporters: {{file: {{path: \"{}\", append: true}}}}\n\
         service: {{pipelines: {{traces/again: {{receivers: [nop], exporters: [file]}}}}}}",
        out.display()
    );
    let run = async |wanted| {
        let document = Document::from_text("test", &restoring, &|_: &str| None).unwrap();
        let checked = only(checked_of(&document).unwrap(), "traces/again").unwrap();
        let plans = vec![ArchivePlan::of_url(&format!("file://{}", place.display())).unwrap()];
        play(wanted, plans, checked).await
    };
    let id = TraceId::parse(&"1".repeat(32)).unwrap();
    let played = run(Wanted::Trace(id)).await.unwrap();
    assert_eq!((played.traces, played.spans), (1, 2));
    let today = Day::of(SystemClock.now());
    assert_eq!(run(Wanted::Days(Day(today.0 - 1), today)).await.unwrap().spans, 2);
    let none = run(Wanted::Trace(TraceId([7; 16]))).await;
    assert!(none.unwrap_err().contains("none of the archives"));
    let lines = std::fs::read_to_string(&out).unwrap();
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let resource = &line["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["key"], RESTORED);
        assert_eq!(resource["resource"]["attributes"][0]["value"]["boolValue"], true);
        let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
        let ids: Vec<_> = spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
        assert_eq!(ids, ["0000000000000001", "0000000000000002"]);
    }
}
