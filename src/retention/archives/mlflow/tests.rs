//! Every trap of the layout and every edge case, on items built from its keys, in the simulator's table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::aws::access::{OnePlace, StaticCredentials};
use crate::component::UnixNanos;
use crate::config::types::Secret;
use crate::retention::archive::{Archive, Day, Found, StoredCopy, TraceId, span_xor};
use crate::simulator::{Fault, FaultKind, Scenario, Served, Simulator};

const REGION: &str = "eu-central-1";
const TABLE: &str = "mlflow";
const HEX: &str = "5759e988bd862e3fe1be46a994272793";

struct World {
    simulator: Arc<Simulator>,
    served: Served,
}

impl World {
    async fn new() -> Self {
        let simulator = Simulator::frozen(Scenario::everything());
        let account = simulator.world().scenario.account.clone();
        simulator.tables().create_mlflow(&account, REGION, TABLE);
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        Self { simulator, served }
    }

    fn account(&self) -> String {
        self.simulator.world().scenario.account.clone()
    }

    fn now(&self) -> u64 {
        self.simulator.now_s() as u64
    }

    fn day(&self) -> Day {
        Day::of(UnixNanos::from_seconds(self.now()))
    }

    fn put(&self, pk: &str, sk: &str, attributes: Json) {
        let mut item = Map::from_iter([("PK".to_owned(), json!({"S": pk})), ("SK".to_owned(), json!({"S": sk}))]);
        item.extend(attributes.as_object().unwrap().clone());
        self.simulator
            .tables()
            .put(&self.account(), REGION, TABLE, item)
            .unwrap();
    }

    /// The item that names a trace.
    fn meta(&self, experiment: &str, form: &str, more: Json) {
        let mut attributes = json!({
            "trace_id": {"S": form}, "state": {"S": "OK"},
            "lsi1sk": {"S": keys::padded(self.now() * 1_000)},
            "gsi1pk": {"S": format!("TRACE#{form}")}, "gsi1sk": {"S": format!("EXP#{experiment}")},
        });
        attributes
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.put(&keys::experiment(experiment), &keys::meta(form), attributes);
    }

    fn spans(&self, experiment: &str, form: &str, data: &str, ttl: Option<u64>) {
        let mut attributes = json!({"data": {"S": data}});
        if let Some(ttl) = ttl {
            attributes["ttl"] = json!({"N": ttl.to_string()});
        }
        self.put(&keys::experiment(experiment), &keys::spans(form), attributes);
    }

    async fn table(&self, read_units_per_s: Option<f64>) -> table::Table {
        let place = table::TablePlace {
            name: TABLE.to_owned(),
            ttl_attribute: "ttl".to_owned(),
            endpoint: self.served.url(),
            place: OnePlace {
                region: REGION.to_owned(),
                credentials: Some(StaticCredentials {
                    access_key_id: "AKIASIM".to_owned(),
                    secret_access_key: Secret::new("simulated"),
                    session_token: Secret::default(),
                }),
                ..OnePlace::default()
            },
        };
        let clock = Arc::new(self.simulator.clock().clone());
        place.open(clock, read_units_per_s).await.unwrap()
    }

    async fn archive(&self, experiments: Experiments) -> MlflowArchive {
        MlflowArchive::new("test".to_owned(), self.table(None).await, experiments, None)
    }

    async fn probe(&self, archive: &MlflowArchive, hex: &str) -> Found {
        let ids = [TraceId::parse(hex).unwrap()];
        archive.probe(self.day(), &ids).await.remove(0)
    }
}

fn these(id: &str) -> Experiments {
    Experiments::These(vec![id.to_owned()])
}

/// Spans as the store makes them of X-Ray's segments.
fn data(ids: &[u8]) -> String {
    let spans = ids.iter().map(|id| {
        json!({"span_id": hex::encode([*id; 8]), "trace_id": format!("1-{}-{}", &HEX[..8], &HEX[8..]), "name": "s",
            "start_time_ns": 1, "end_time_ns": 2, "status": "OK", "attributes": {}})
    });
    Json::Array(spans.collect()).to_string()
}

fn copy(ids: &[u8]) -> StoredCopy {
    StoredCopy {
        spans: ids.len() as u32,
        span_xor: Some(span_xor(ids.iter().map(|id| [*id; 8]))),
        ..StoredCopy::default()
    }
}

#[tokio::test]
async fn that_an_item_is_there_proves_nothing() {
    for wrong in [
        "[]",
        "",
        "null",
        "{}",
        "[1, 2]",
        "not json",
        "[{\"name\": \"without an id\"}]",
    ] {
        let world = World::new().await;
        world.meta("0", HEX, json!({}));
        world.spans("0", HEX, wrong, None);
        let found = world.probe(&world.archive(these("0")).await, HEX).await;
        let Found::Copy(copy) = found else {
            panic!("{wrong}: {found:?}")
        };
        assert_eq!((copy.spans, copy.in_progress), (0, false), "{wrong}");
    }
    let world = World::new().await;
    world.put("EXP#0", &keys::spans(HEX), json!({"cached": {"BOOL": true}}));
    let found = world.probe(&world.archive(these("0")).await, HEX).await;
    assert!(matches!(found, Found::Copy(StoredCopy { spans: 0, .. })), "{found:?}");
}

#[tokio::test]
async fn ids_are_found_under_every_form_and_by_both_ways() {
    let id = TraceId::parse(HEX).unwrap();
    for form in keys::forms(id) {
        let world = World::new().await;
        world.meta("7", &form, json!({}));
        world.spans("7", &form, &data(&[1, 2]), None);
        for experiments in [these("7"), Experiments::Auto] {
            let archive = world.archive(experiments).await;
            assert_eq!(world.probe(&archive, HEX).await, Found::Copy(copy(&[1, 2])), "{form}");
        }
        // Many ids of a day are found through its index; the others are not there.
        let mut ids = vec![id];
        ids.extend((1..40).map(|n| TraceId([n; 16])));
        let archive = world.archive(these("7")).await;
        let found = archive.probe(world.day(), &ids).await;
        assert_eq!(found[0], Found::Copy(copy(&[1, 2])));
        assert!(found[1..].iter().all(|found| *found == Found::Nothing));
        assert_eq!(archive.list(world.day(), None).await.unwrap().0, [id]);
    }
}

#[tokio::test]
async fn what_is_not_whole_says_so() {
    // Still open, by the item that names it; by a span; by the number of spans that the trace had by its own word.
    let world = World::new().await;
    world.meta("0", HEX, json!({"state": {"S": "IN_PROGRESS"}}));
    world.spans("0", HEX, &data(&[1]), None);
    let archive = world.archive(these("0")).await;
    assert!(matches!(
        world.probe(&archive, HEX).await,
        Found::Copy(StoredCopy { in_progress: true, .. })
    ));

    let world = World::new().await;
    let open = json!([{"span_id": hex::encode([1_u8; 8]), "start_time_ns": 1, "end_time_ns": 0}]).to_string();
    world.spans("0", HEX, &open, None);
    let archive = world.archive(these("0")).await;
    assert!(matches!(
        world.probe(&archive, HEX).await,
        Found::Copy(StoredCopy { in_progress: true, .. })
    ));

    let world = World::new().await;
    world.meta("0", HEX, json!({}));
    world.spans("0", HEX, &data(&[1, 2]), None);
    world.put(
        "EXP#0",
        &keys::size_stats(HEX),
        json!({"value": {"S": "{\"num_spans\": 3}"}}),
    );
    let archive = world.archive(these("0")).await;
    assert!(matches!(
        world.probe(&archive, HEX).await,
        Found::Copy(StoredCopy {
            in_progress: true,
            spans: 2,
            ..
        })
    ));

    // Spans of another trace in the item are none of this one.
    let world = World::new().await;
    world.spans("0", HEX, &data(&[1]).replace(&HEX[..8], "00000001"), None);
    let archive = world.archive(these("0")).await;
    assert!(matches!(
        world.probe(&archive, HEX).await,
        Found::Copy(StoredCopy { spans: 0, .. })
    ));
}

#[tokio::test]
async fn time_to_live_counts_from_its_moment_although_deleting_is_late() {
    let world = World::new().await;
    let now = world.now();
    let archive = world.archive(these("0")).await;
    // Endless: 0, and none.
    for (ttl, expires_at) in [(Some(0), None), (None, None), (Some(now + 60), Some(now + 60))] {
        world.spans("0", HEX, &data(&[1]), ttl);
        let expected = StoredCopy {
            expires_at: expires_at.map(UnixNanos::from_seconds),
            ..copy(&[1])
        };
        assert_eq!(world.probe(&archive, HEX).await, Found::Copy(expected), "{ttl:?}");
    }
    // Past its time, and readable for two more days.
    world.simulator.clock().step(Duration::from_secs(61));
    let is_there = || {
        world
            .simulator
            .tables()
            .items(&world.account(), REGION, TABLE, world.now() as f64)
            .len()
    };
    assert_eq!((world.probe(&archive, HEX).await, is_there()), (Found::Nothing, 1));
    world.simulator.clock().step(Duration::from_secs(48 * 3_600));
    assert_eq!((world.probe(&archive, HEX).await, is_there()), (Found::Nothing, 0));
    // What names it may go first.
    world.meta("0", HEX, json!({"ttl": {"N": "1"}}));
    world.spans("0", HEX, &data(&[1]), None);
    assert_eq!(world.probe(&archive, HEX).await, Found::Copy(copy(&[1])));
}

#[tokio::test]
async fn of_several_experiments_the_fullest_and_then_the_longest_kept_counts() {
    let world = World::new().await;
    let later = world.now() + 1_000;
    for (experiment, ids, ttl) in [
        ("a", &[1_u8][..], None),
        ("b", &[1, 2], Some(later)),
        ("c", &[], None),
        ("d", &[1, 2], None),
    ] {
        world.meta(experiment, HEX, json!({}));
        world.spans(experiment, HEX, &data(ids), ttl);
    }
    let archive = world.archive(Experiments::Auto).await;
    assert_eq!(world.probe(&archive, HEX).await, Found::Copy(copy(&[1, 2])));
    let read = archive.read(TraceId::parse(HEX).unwrap()).await.unwrap().unwrap();
    assert_eq!(read.items(), 2);
}

#[tokio::test]
async fn what_could_not_be_read_is_unknown_and_never_nothing() {
    for kind in [
        FaultKind::Denied,
        FaultKind::Throttle,
        FaultKind::Reset,
        FaultKind::Error {
            status: 500,
            code: "InternalServerError".to_owned(),
        },
    ] {
        for api in ["BatchGetItem", "Query"] {
            let world = World::new().await;
            world.meta("0", HEX, json!({}));
            world.spans("0", HEX, &data(&[1]), None);
            world
                .simulator
                .set_faults(vec![Fault::of(api, -100_000, 100_000, kind.clone())]);
            let found = world.probe(&world.archive(Experiments::Auto).await, HEX).await;
            assert!(matches!(found, Found::Unknown(_)), "{api} {kind:?}: {found:?}");
        }
    }
}

#[tokio::test]
async fn the_policy_is_the_lifetime_and_thirty_days_where_there_is_none() {
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let world = World::new().await;
    let archive = world.archive(Experiments::Auto).await;
    assert_eq!(archive.lifetime().await.unwrap(), days(30));
    for (policy, lifetime) in [("90", days(90)), ("0", None)] {
        world.put("CONFIG", "TTL_POLICY", json!({"trace_retention_days": {"N": policy}}));
        assert_eq!(archive.lifetime().await.unwrap(), lifetime);
    }
    world
        .simulator
        .set_faults(vec![Fault::of("GetItem", -100_000, 100_000, FaultKind::Denied)]);
    assert!(archive.lifetime().await.is_err());
}

#[tokio::test]
async fn what_is_counted_is_what_is_billed_and_the_pace_is_kept() {
    let world = World::new().await;
    for n in 1..=50_u8 {
        let form = TraceId([n; 16]).to_string();
        world.meta("0", &form, json!({"request": {"S": "x".repeat(1_500)}}));
        world.spans("0", &form, &format!("{}{}", data(&[1]), " ".repeat(18_000)), None);
    }
    let ids: Vec<TraceId> = (1..=50).map(|n| TraceId([n; 16])).collect();
    let table = world.table(Some(50.0)).await;
    let archive = MlflowArchive::new("test".to_owned(), table, these("0"), None);
    let begin = world.now();
    let probing = archive.probe(world.day(), &ids);
    let passing = async {
        loop {
            let wake = world.simulator.clock().next_wake().await;
            world.simulator.clock().advance_to(wake);
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::select! {
        found = probing => found,
        () = passing => unreachable!(),
    };
    assert_eq!(found.len(), 50);
    let bill = world.simulator.bill();
    let billed = (bill.of("Query").units + bill.of("BatchGetItem").units) as f64 / 2.0;
    let spent = archive.spent();
    assert!(
        billed > 150.0 && (spent.read_units - billed).abs() < 0.01 * billed,
        "{billed} {spent:?}"
    );
    // 50 units a second, less what one call may overdraw.
    assert!(
        world.now() - begin >= (billed / 50.0) as u64 - 2,
        "{} {billed}",
        world.now() - begin
    );
    let calls: u64 = spent.calls.values().sum();
    assert_eq!(calls, bill.of("Query").requests + bill.of("BatchGetItem").requests);
}

#[tokio::test]
async fn nothing_of_it_writes() {
    let world = World::new().await;
    world.meta("0", HEX, json!({}));
    let archive = world.archive(Experiments::Auto).await;
    world.probe(&archive, HEX).await;
    archive.read(TraceId::parse(HEX).unwrap()).await.unwrap();
    archive.list(world.day(), None).await.unwrap();
    let calls = world.simulator.calls();
    let reads = ["BatchGetItem", "GetItem", "Query", "Scan"];
    assert!(
        !calls.is_empty() && calls.iter().all(|call| reads.contains(&call.api.as_str())),
        "{calls:?}"
    );
}
