//! The same over S3's wire, in the simulator: addressing, paging, rules, and what goes wrong.

use std::net::SocketAddr;

use super::*;
use crate::aws::access::{OnePlace, StaticCredentials};
use crate::config::types::Secret;
use crate::retention::archives::objects::place::Bucket;
use crate::simulator::{Fault, FaultKind, Scenario, Served, Simulator};

struct World {
    simulator: Arc<Simulator>,
    served: Served,
}

impl World {
    async fn new() -> Self {
        let simulator = Simulator::frozen(Scenario::everything());
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        Self { simulator, served }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.simulator.clock().clone())
    }

    fn now(&self) -> u64 {
        self.simulator.now_s() as u64
    }

    fn day(&self) -> Day {
        Day::of(UnixNanos::from_seconds(self.now()))
    }

    fn place(&self) -> Place {
        let bucket = Bucket {
            name: "b".to_owned(),
            endpoint: self.served.url(),
            path_style: true,
            place: OnePlace {
                region: "eu-central-1".to_owned(),
                credentials: Some(StaticCredentials {
                    access_key_id: "AKIASIM".to_owned(),
                    secret_access_key: Secret::new("simulated"),
                    session_token: Secret::default(),
                }),
                ..OnePlace::default()
            },
        };
        Place {
            root: Root::Bucket(Box::new(bucket)),
            prefix: "a/traces".to_owned(),
        }
    }

    async fn store(&self, spans: Vec<Span>) -> Result<(), crate::component::Refused> {
        let layout = Layout {
            partition: "dt=%Y-%m-%d".to_owned(),
            file_prefix: "x-".to_owned(),
            marshaler: Marshaler::OtlpProto,
            compression: Compression::Zstd,
        };
        let objects = self.place().open(self.clock(), true).await.unwrap();
        let writing = Writer::new(layout, self.clock());
        writing.write(&objects, batch(spans)).await.map(|_| ())
    }

    async fn archive(&self) -> ObjectArchive {
        let settings = ReadSettings {
            name: "test".to_owned(),
            format: None,
            days_after: 1,
            lifetime: None,
        };
        let objects = self.place().open(self.clock(), false).await.unwrap();
        ObjectArchive::new(settings, objects, self.clock())
    }

    fn rules(&self, prefix: &str, days: u32) {
        let rules = format!(
            "<LifecycleConfiguration><Rule><Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status>\
             <Expiration><Days>{days}</Days></Expiration></Rule></LifecycleConfiguration>"
        );
        self.simulator.buckets().entry("b".to_owned()).or_default().lifecycle = Some(rules);
    }
}

#[tokio::test]
async fn what_was_stored_in_a_bucket_is_found_and_read_and_expires_by_its_rules() {
    let world = World::new().await;
    let at = world.now();
    world
        .store(vec![
            span(1, 1, at, false),
            span(1, 2, at, false),
            span(2, 3, at, false),
        ])
        .await
        .unwrap();
    let keys: Vec<String> = world.simulator.buckets()["b"].objects.keys().cloned().collect();
    assert_eq!(keys.len(), 2);
    assert!(
        keys[0].starts_with("a/traces/_manifest/day=") && keys[1].starts_with("a/traces/dt="),
        "{keys:?}"
    );
    assert!(
        keys[1].contains("/x-traces_") && keys[1].ends_with(".binpb.zst"),
        "{keys:?}"
    );
    let archive = world.archive().await;
    assert_eq!(
        probe(&archive, world.day(), &[1, 3]).await,
        [Found::Copy(copy(&[1, 2])), Found::Nothing]
    );
    assert_eq!(names(archive.read(id(1)).await.unwrap()), ["1/1", "1/2"]);
    assert_eq!(archive.lifetime().await.unwrap(), None);
    // An hour later the rules are asked for again.
    world.rules("a/traces/", 90);
    world.simulator.clock().step(Duration::from_secs(3_601));
    assert_eq!(
        archive.lifetime().await.unwrap(),
        Some(Duration::from_secs(90 * 86_400))
    );
    let expires = UnixNanos::from_seconds(at + 90 * 86_400);
    let found = probe(&archive, Day::of(UnixNanos::from_seconds(at)), &[1]).await;
    assert!(
        matches!(&found[0], Found::Copy(StoredCopy { expires_at: Some(kept), .. }) if *kept == expires),
        "{found:?}"
    );
    world.simulator.clock().step(Duration::from_secs(91 * 86_400));
    assert_eq!(
        probe(&archive, Day::of(UnixNanos::from_seconds(at)), &[1]).await,
        [Found::Nothing]
    );
}

#[tokio::test]
async fn a_day_of_many_manifests_is_listed_over_pages() {
    let world = World::new().await;
    let at = world.now();
    world.store(vec![span(1, 1, at, false)]).await.unwrap();
    let folder = format!("a/traces/_manifest/day={}", world.day());
    {
        let mut buckets = world.simulator.buckets();
        let bucket = buckets.get_mut("b").unwrap();
        let object = bucket.objects.values().next().unwrap().clone();
        // Before and behind the one that counts; none of them is a manifest.
        for n in 0..1_500 {
            bucket.objects.insert(format!("{folder}/0{n:05}.txt"), object.clone());
            bucket.objects.insert(format!("{folder}/z{n:05}.txt"), object.clone());
        }
    }
    let archive = world.archive().await;
    assert_eq!(probe(&archive, world.day(), &[1]).await, [Found::Copy(copy(&[1]))]);
}

#[tokio::test]
async fn what_a_bucket_does_not_answer_is_unknown() {
    for kind in [FaultKind::Denied, FaultKind::Throttle, FaultKind::Reset] {
        for api in [
            "ListObjectsV2",
            "GetObject",
            "HeadObject",
            "GetBucketLifecycleConfiguration",
        ] {
            let world = World::new().await;
            world.store(vec![span(1, 1, world.now(), false)]).await.unwrap();
            world
                .simulator
                .set_faults(vec![Fault::of(api, -100_000, 100_000, kind.clone())]);
            let archive = world.archive().await;
            let found = probe(&archive, world.day(), &[1]).await;
            assert!(matches!(&found[0], Found::Unknown(_)), "{api} {kind:?}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_take_an_object_or_its_manifest_refuses_for_now() {
    for kind in [FaultKind::Denied, FaultKind::Throttle] {
        let world = World::new().await;
        world
            .simulator
            .set_faults(vec![Fault::of("PutObject", -100_000, 100_000, kind.clone())]);
        let refused = world.store(vec![span(1, 1, world.now(), false)]).await.unwrap_err();
        assert!(!refused.permanent, "{kind:?}: {refused}");
        // Only the manifest fails: not acknowledged either, and the second try leaves nothing double.
        world.simulator.set_faults(vec![
            Fault::of(
                "PutObject",
                -100_000,
                100_000,
                FaultKind::Error {
                    status: 403,
                    code: "AccessDenied".to_owned(),
                },
            )
            .every(2),
        ]);
        assert!(world.store(vec![span(1, 1, world.now(), false)]).await.is_err());
        world.simulator.set_faults(Vec::new());
        world.store(vec![span(1, 1, world.now(), false)]).await.unwrap();
        assert_eq!(world.simulator.buckets()["b"].objects.len(), 2);
    }
}
