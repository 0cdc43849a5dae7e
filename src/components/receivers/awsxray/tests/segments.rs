use super::*;

const OFFLINE: &str = "proxy_server: {local_mode: true, region: eu-central-1}";

#[tokio::test(flavor = "multi_thread")]
async fn segments_become_spans_and_what_is_none_is_counted_with_its_reason() {
    let running = run(OFFLINE, Sink::default()).await;
    running.send(&segment(
        "a",
        1,
        r#""end_time":2,"subsegments":[{"name":"b","id":"00000000000000b0","start_time":1,"end_time":2}]"#,
    ));
    running.send(&format!(
        "[{},{}]",
        segment("c", 3, r#""end_time":2"#),
        segment("d", 4, r#""end_time":2"#)
    ));
    running.send("{");
    running.send("{}");
    running.sender.send(b"").unwrap();
    running.sender.send(b"{\"format\":\"json\",\"version\":2}\n{}").unwrap();
    running
        .wait_until(|running| running.count("xray_udp_datagrams_total", "") == 6)
        .await;
    running
        .wait_until(|running| running.names() == ["a", "b", "c", "d"])
        .await;
    assert_eq!(running.count("xray_udp_datagrams_total", "ok"), 2);
    assert_eq!(running.count("xray_udp_datagrams_total", "rejected"), 4);
    for reason in ["not_json", "trace_id", "empty", "unknown_version"] {
        assert_eq!(running.count("xray_udp_rejected_total", reason), 1, "{reason}");
    }
    assert_eq!(running.count("xray_udp_segments_total", "segment"), 3);
    assert_eq!(running.count("otelcol_receiver_accepted_spans", ""), 4);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_in_progress_leaves_once_it_is_complete_or_at_the_stop() {
    let running = run(OFFLINE, Sink::default()).await;
    running.send(&segment("open", 1, r#""in_progress":true"#));
    running.send(&segment("left", 2, r#""in_progress":true"#));
    running
        .wait_until(|running| running.count("xray_in_progress_held", "") == 2)
        .await;
    running.send(&segment("done", 1, r#""end_time":2"#));
    running.wait_until(|running| running.names() == ["done"]).await;
    running.stop().await;
    assert_eq!(running.names(), ["done", "left"]);
    assert_eq!(running.count("xray_in_progress_total", "completed"), 1);
    assert_eq!(running.count("xray_in_progress_total", "timeout"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_delivers_everything_that_was_received() {
    let running = run(OFFLINE, Sink::default()).await;
    for id in 1..=200 {
        running.send(&segment("s", id, r#""end_time":2"#));
    }
    running.stop().await;
    let lost = running.count("xray_udp_kernel_drops_total", "");
    assert_eq!(running.names().len() as u64 + lost, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_offered_until_it_is_taken() {
    let sink = Sink {
        refuse: Mutex::new(3),
        ..Sink::default()
    };
    let running = run(OFFLINE, sink).await;
    running.send(&segment("a", 1, r#""end_time":2"#));
    running.wait_until(|running| running.names() == ["a"]).await;
    running.stop().await;
    assert_eq!(running.count("otelcol_receiver_refused_spans", ""), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_one_clear_error() {
    let running = run(OFFLINE, Sink::default()).await;
    let section = Section::from_yaml(&format!("endpoint: {}\n{OFFLINE}", running.udp));
    let config = Arc::new(Config::check(&section).unwrap());
    let context = BuildContext::standalone(ComponentKind::Receiver, "awsxray/2");
    let Err(error) = start(&config, &context, Outlets::default()).await else {
        panic!("bound twice")
    };
    let text = error.to_string();
    assert!(
        text.contains(&running.udp.to_string()) && text.contains("UDP"),
        "{text}"
    );
    running.stop().await;
}
