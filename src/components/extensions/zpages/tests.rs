use super::*;
use crate::component::{ComponentId, ComponentState, PipelineInfo, StatusBoard, UnixNanos};

fn pages() -> Pages {
    let board = StatusBoard::default();
    board.set_pipelines(vec![PipelineInfo {
        name: "traces/<b>".to_owned(),
        signal: Signal::Traces,
        receivers: vec![ComponentId::new("otlp")],
        processors: vec![ComponentId::new("batch")],
        exporters: vec![ComponentId::new("debug")],
    }]);
    let trouble = ComponentState::Degraded("<script>alert(1)</script>".to_owned());
    board.report(ComponentKind::Extension, &ComponentId::new("health_check"), trouble);
    Pages {
        board,
        started: Instant::now(),
        started_at: UnixNanos::from_seconds(1_700_000_000),
    }
}

#[tokio::test]
async fn the_four_pages_are_there_and_nothing_else() {
    let pages = pages();
    for path in ["servicez", "pipelinez", "extensionz", "featurez"] {
        assert!(pages.page(&format!("/debug/{path}")).is_some(), "{path}");
    }
    assert!(pages.page("/debug/tracez").is_none());
    assert!(pages.page("/").is_none());
}

#[tokio::test]
async fn what_comes_from_outside_is_escaped() {
    let pages = pages();
    let extensions = pages.page("/debug/extensionz").unwrap();
    assert!(extensions.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!extensions.contains("<script>"));
    let pipelines = pages.page("/debug/pipelinez").unwrap();
    assert!(pipelines.contains("traces/&lt;b&gt;"));
    assert!(pipelines.contains("<td>batch</td>"));
}

#[tokio::test]
async fn only_reading_is_answered() {
    let pages = pages();
    let post = Request::post("/debug/servicez").body(()).unwrap();
    assert_eq!(answer(&pages, &post).status(), StatusCode::METHOD_NOT_ALLOWED);
    let get = Request::get("/debug/servicez/").body(()).unwrap();
    let response = answer(&pages, &get);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-security-policy"], "default-src 'none'");
}
