use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::component::Stage;
use crate::pdata::{Batch, Decoded, Origin};
use crate::retention::archive::{Archive, Day, Found, StoredCopy, TraceId};
use crate::retention::archives::ArchivePlan;
use crate::simulator::{Fault, FaultKind, Scenario, Served, Simulator};

const REGION: &str = "eu-central-1";

struct World {
    simulator: Arc<Simulator>,
    served: Served,
}

impl World {
    async fn new() -> Self {
        let simulator = Simulator::frozen(Scenario::everything());
        let account = simulator.world().scenario.account.clone();
        simulator.tables().create_mlflow(&account, REGION, "mlflow");
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        Self { simulator, served }
    }

    fn access(&self) -> String {
        format!(
            "table: mlflow\nregion: {REGION}\nendpoint: {}\ncredentials: {{access_key_id: AKIASIM, secret_access_key: s}}\n",
            self.served.url()
        )
    }

    fn exporter(&self, keys: &str) -> Arc<dyn Stage> {
        let section = Section::from_yaml(&format!("{}{keys}", self.access()));
        let Some(Plan::Exporter(plan)) = MlflowDynamoDbFactory.check(&section) else {
            panic!("{:?}", section.problems());
        };
        let context = BuildContext {
            clock: Arc::new(self.simulator.clock().clone()),
            ..BuildContext::standalone(ComponentKind::Exporter, "mlflow_dynamodb")
        };
        plan.build(context).unwrap().far_end
    }

    async fn archive(&self) -> Arc<dyn Archive> {
        let access = self.access().replace('\n', "\n  ");
        let section = Section::from_yaml(&format!("dynamodb:\n  {access}"));
        let plan = ArchivePlan::check(&section).unwrap_or_else(|| panic!("{:?}", section.problems()));
        plan.open(Arc::new(self.simulator.clock().clone()), None).await.unwrap()
    }

    fn items(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let account = self.simulator.world().scenario.account.clone();
        let now = self.simulator.now_s();
        self.simulator.tables().items(&account, REGION, "mlflow", now)
    }

    fn now_nanos(&self) -> u64 {
        self.simulator.now_s() as u64 * 1_000_000_000
    }

    fn span(&self, trace: u8, id: u8, filler: usize) -> Span {
        Span {
            trace_id: vec![trace; 16],
            span_id: vec![id; 8],
            name: format!("{trace}/{id}"),
            start_time_unix_nano: self.now_nanos(),
            end_time_unix_nano: self.now_nanos() + 5_000_000,
            attributes: vec![text("filler", &"x".repeat(filler))],
            ..Span::default()
        }
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "checkout")],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn batch(spans: Vec<Span>) -> Batch {
    Batch::from_decoded(Decoded::Traces(request(spans)), Origin::internal())
}

#[tokio::test]
async fn what_is_stored_is_found_and_read_back_equal() {
    let world = World::new().await;
    let far_end = world.exporter("retention_days: 90");
    let (first, second) = (world.span(1, 1, 10), world.span(1, 2, 10));
    far_end
        .consume(batch(vec![first.clone(), world.span(2, 9, 0)]))
        .await
        .unwrap();
    // The first comes again, longer; the second is new.
    let mut again = first.clone();
    again.end_time_unix_nano += 1;
    far_end.consume(batch(vec![again.clone()])).await.unwrap();
    far_end.consume(batch(vec![second.clone()])).await.unwrap();
    let archive = world.archive().await;
    let day = Day::of(crate::component::UnixNanos(world.now_nanos()));
    let ids = [TraceId([1; 16]), TraceId([2; 16]), TraceId([3; 16])];
    let found = archive.probe(day, &ids).await;
    let expires = crate::component::UnixNanos::from_seconds(world.simulator.now_s() as u64 + 90 * 86_400);
    assert!(
        matches!(&found[0], Found::Copy(StoredCopy { spans: 2, in_progress: false, expires_at: Some(at), .. }) if *at == expires),
        "{found:?}"
    );
    assert!(matches!(&found[1], Found::Copy(StoredCopy { spans: 1, .. })));
    assert_eq!(found[2], Found::Nothing);
    let mut read = archive.read(ids[0]).await.unwrap().unwrap();
    let Ok(Decoded::Traces(read)) = read.decode() else {
        panic!()
    };
    let spans = |request: &ExportTraceServiceRequest| -> Vec<(Resource, Span)> {
        let mut spans = Vec::new();
        for resource in &request.resource_spans {
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                spans.push((resource.resource.clone().unwrap(), span.clone()));
            }
        }
        spans.sort_by(|a, b| a.1.span_id.cmp(&b.1.span_id));
        spans
    };
    assert_eq!(spans(read), spans(&request(vec![again, second])));
    // Two items a trace: the spans, and what names them.
    assert_eq!(world.items().len(), 4);
}

#[tokio::test]
async fn what_no_item_can_hold_goes_aside_or_is_refused_with_the_reason() {
    let world = World::new().await;
    let spans = || vec![world.span(1, 1, 450_000), world.span(2, 2, 10)];
    let refused = world.exporter("").consume(batch(spans())).await.unwrap_err();
    assert!(refused.permanent && refused.message.contains("400 KB"), "{refused}");
    // The other is stored all the same.
    let stored = |world: &World| world.items().iter().filter(|item| item.contains_key("data")).count();
    assert_eq!(stored(&world), 1);
    let folder = tempfile::tempdir().unwrap();
    let keys = format!("oversize: {{url: \"file://{}\"}}", folder.path().display());
    world.exporter(&keys).consume(batch(spans())).await.unwrap();
    assert_eq!(stored(&world), 1);
    let aside = ArchivePlan::of_url(&format!("file://{}", folder.path().display())).unwrap();
    let aside = aside
        .open(Arc::new(world.simulator.clock().clone()), None)
        .await
        .unwrap();
    let read = aside.read(TraceId([1; 16])).await.unwrap().unwrap();
    assert_eq!(read.items(), 1);
    assert!(aside.read(TraceId([2; 16])).await.unwrap().is_none());
}

#[tokio::test]
async fn a_copy_keeps_its_form_and_its_time_is_never_shortened() {
    let world = World::new().await;
    let account = world.simulator.world().scenario.account.clone();
    let form = TraceId([1; 16]).to_string();
    let late = world.simulator.now_s() as u64 + 400 * 86_400;
    let put = |sk: String, more: serde_json::Value| {
        let mut item = more.as_object().unwrap().clone();
        item.insert("PK".to_owned(), serde_json::json!({"S": "EXP#0"}));
        item.insert("SK".to_owned(), serde_json::json!({"S": sk}));
        world.simulator.tables().put(&account, REGION, "mlflow", item).unwrap();
    };
    put(
        format!("T#{form}"),
        serde_json::json!({"ttl": {"N": late.to_string()}, "state": {"S": "OK"}, "gsi1pk": {"S": format!("TRACE#{form}")}, "gsi1sk": {"S": "EXP#0"}}),
    );
    let old = serde_json::json!([{"span_id": "0909090909090909", "name": "old", "start_time_ns": 1, "end_time_ns": 2, "status": "OK"}]);
    put(
        format!("T#{form}#SPANS"),
        serde_json::json!({"data": {"S": old.to_string()}, "version": {"N": "4"}}),
    );
    let far_end = world.exporter("retention_days: 90");
    far_end.consume(batch(vec![world.span(1, 1, 0)])).await.unwrap();
    let items = world.items();
    assert_eq!(items.len(), 2, "{items:?}");
    let spans = items.iter().find(|item| item.contains_key("data")).unwrap();
    assert_eq!(
        (&spans["ttl"]["N"], &spans["version"]["N"]),
        (&late.to_string().into(), &"5".into())
    );
    assert_eq!(spans["SK"]["S"], format!("T#{form}#SPANS"));
    let read = world.archive().await.read(TraceId([1; 16])).await.unwrap().unwrap();
    // The one that was there is kept, in both forms.
    assert_eq!(read.items(), 2);
}

#[tokio::test]
async fn what_is_in_the_way_for_now_is_tried_again_by_the_queue() {
    for kind in [FaultKind::Denied, FaultKind::Throttle, FaultKind::Reset] {
        let world = World::new().await;
        world
            .simulator
            .set_faults(vec![Fault::of("PutItem", -100_000, 100_000, kind.clone())]);
        let refused = world
            .exporter("")
            .consume(batch(vec![world.span(1, 1, 0)]))
            .await
            .unwrap_err();
        assert!(!refused.permanent, "{kind:?}: {refused}");
        world.simulator.set_faults(Vec::new());
        world
            .exporter("")
            .consume(batch(vec![world.span(1, 1, 0)]))
            .await
            .unwrap();
        assert_eq!(world.items().len(), 2);
    }
}

#[test]
fn what_cannot_work_is_refused_where_it_stands() {
    for (yaml, words) in [
        ("{}", "table"),
        ("table: t\nexperiment: ''", "must be set"),
        ("table: t\nexperiment: 'a#b'", "without `#`"),
        ("table: t\nnum_workers: 0", "at least 1"),
        ("table: t\nrole_arn: me", "ARN of a role"),
        ("table: t\nexternal_id: x", "needs `role_arn`"),
        ("table: t\noversize: {}", "s3://bucket/prefix"),
        ("table: t\noversize: {url: \"gs://x\"}", "`gs` is not built yet"),
    ] {
        let section = Section::from_yaml(yaml);
        MlflowDynamoDbFactory.check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(words)),
            "{yaml}: {problems:?}"
        );
    }
    let section = Section::from_yaml("table: t\noversize: {url: \"s3://b/o\"}");
    let (_, permissions) = permissions(&section).unwrap();
    let actions: Vec<&str> = permissions.iter().map(|permission| permission.action).collect();
    assert!(
        actions.contains(&"dynamodb:PutItem") && actions.contains(&"s3:PutObject"),
        "{actions:?}"
    );
}
