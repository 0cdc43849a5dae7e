//! Writing and reading over a directory, with a clock that stands still; over S3 in `s3`.

#[cfg(feature = "simulator")]
mod s3;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::body::{Compression, Marshaler};
use super::place::{Place, Root};
use super::write::{Layout, Writer};
use super::{ObjectArchive, ReadSettings};
use crate::component::{BoxFuture, Clock, UnixNanos};
use crate::pdata::{Batch, Decoded, Origin};
use crate::retention::archive::{Archive, Day, Found, StoredCopy, TraceId, span_xor};

const NOON: u64 = 1_795_176_000; // 2026-11-20T12:00:00Z
const DAY: Day = Day(20_777);

struct Still(u64);

impl Clock for Still {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_seconds(self.0)
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// One span: trace, id, start in seconds (end a second later, or none).
fn span(trace: u8, id: u8, start: u64, is_open: bool) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        name: format!("{trace}/{id}"),
        start_time_unix_nano: start * 1_000_000_000,
        end_time_unix_nano: if is_open { 0 } else { (start + 1) * 1_000_000_000 },
        ..Span::default()
    }
}

fn batch(spans: Vec<Span>) -> Batch {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource::default()),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Batch::from_decoded(Decoded::Traces(request), Origin::internal())
}

fn names(batch: Option<Batch>) -> Vec<String> {
    let mut names = Vec::new();
    let Some(mut batch) = batch else { return names };
    if let Decoded::Traces(request) = batch.decode().unwrap() {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        names.extend(scopes.flat_map(|scope| &scope.spans).map(|span| span.name.clone()));
    }
    names.sort();
    names
}

struct Fixture {
    folder: tempfile::TempDir,
    place: Place,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            root: Root::Directory(folder.path().to_owned()),
            prefix: String::new(),
        };
        Self { folder, place }
    }

    async fn store_as(&self, marshaler: Marshaler, compression: Compression, at: u64, batch: Batch) {
        let clock: Arc<dyn Clock> = Arc::new(Still(at));
        let layout = Layout {
            partition: "dt=%Y-%m-%d/%H".to_owned(),
            file_prefix: String::new(),
            marshaler,
            compression,
        };
        let objects = self.place.open(Arc::clone(&clock), true).await.unwrap();
        Writer::new(layout, clock).write(&objects, batch).await.unwrap();
    }

    async fn store(&self, at: u64, spans: Vec<Span>) {
        self.store_as(Marshaler::OtlpProto, Compression::Zstd, at, batch(spans))
            .await;
    }

    async fn archive(&self, lifetime: Option<Duration>, now: u64) -> ObjectArchive {
        let clock: Arc<dyn Clock> = Arc::new(Still(now));
        let settings = ReadSettings {
            name: "test".to_owned(),
            format: None,
            days_after: 1,
            lifetime: lifetime.map(Some),
        };
        let objects = self.place.open(Arc::clone(&clock), false).await.unwrap();
        ObjectArchive::new(settings, objects, clock)
    }

    /// Every file that ends so.
    fn files(&self, ending: &str) -> Vec<std::path::PathBuf> {
        fn below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    below(&path, found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        below(self.folder.path(), &mut found);
        found.retain(|path| path.to_string_lossy().ends_with(ending));
        found.sort();
        found
    }
}

fn id(trace: u8) -> TraceId {
    TraceId([trace; 16])
}

async fn probe(archive: &ObjectArchive, day: Day, traces: &[u8]) -> Vec<Found> {
    let ids: Vec<TraceId> = traces.iter().map(|trace| id(*trace)).collect();
    archive.probe(day, &ids).await
}

fn copy(ids: &[u8]) -> StoredCopy {
    StoredCopy {
        spans: ids.len() as u32,
        span_xor: Some(span_xor(ids.iter().map(|id| [*id; 8]))),
        ..StoredCopy::default()
    }
}

#[tokio::test]
async fn what_was_stored_is_found_by_its_manifest_and_read_from_its_object() {
    for how in Marshaler::ALL {
        for compression in Compression::ALL {
            let fixture = Fixture::new();
            let spans = vec![
                span(1, 1, NOON, false),
                span(2, 2, NOON, false),
                span(1, 3, NOON, false),
            ];
            fixture.store_as(*how, compression, NOON + 60, batch(spans)).await;
            let archive = fixture.archive(None, NOON + 60).await;
            let found = probe(&archive, DAY, &[1, 2, 3]).await;
            assert_eq!(
                found,
                [Found::Copy(copy(&[1, 3])), Found::Copy(copy(&[2])), Found::Nothing]
            );
            assert_eq!(
                names(archive.read(id(1)).await.unwrap()),
                ["1/1", "1/3"],
                "{how:?} {compression:?}"
            );
            assert!(archive.read(id(3)).await.unwrap().is_none());
            assert_eq!(archive.list(DAY, None).await.unwrap(), (vec![id(1), id(2)], None));
            let (batches, next) = archive.batches(DAY, None).await.unwrap();
            assert_eq!((batches.len(), batches[0].items(), next), (1, 3, None));
            assert_eq!(archive.lifetime().await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_tried_again_counts_once() {
    let fixture = Fixture::new();
    let spans = || vec![span(1, 1, NOON, false), span(1, 2, NOON, false)];
    fixture.store(NOON, spans()).await;
    fixture.store(NOON, spans()).await;
    // An hour later it lies in another folder, and its manifest is still one.
    fixture.store(NOON + 3_600, spans()).await;
    assert_eq!((fixture.files(".zst").len(), fixture.files(".rsm").len()), (2, 1));
    let archive = fixture.archive(None, NOON).await;
    assert_eq!(probe(&archive, DAY, &[1]).await, [Found::Copy(copy(&[1, 2]))]);
    assert_eq!(names(archive.read(id(1)).await.unwrap()), ["1/1", "1/2"]);
}

#[tokio::test]
async fn parts_of_a_trace_are_added_over_objects_and_over_midnight() {
    let fixture = Fixture::new();
    let late = NOON + 13 * 3_600;
    fixture
        .store(NOON, vec![span(1, 1, NOON, false), span(1, 2, NOON, true)])
        .await;
    fixture
        .store(NOON + 5, vec![span(1, 2, NOON, false), span(2, 9, NOON, true)])
        .await;
    fixture
        .store(late, vec![span(1, 3, late, false), span(3, 4, late, false)])
        .await;
    let archive = fixture.archive(None, late).await;
    let found = probe(&archive, DAY, &[1, 2, 3]).await;
    let open = StoredCopy {
        in_progress: true,
        ..copy(&[9])
    };
    // The third began on the day after, and is found there as well.
    assert_eq!(
        found,
        [
            Found::Copy(copy(&[1, 2, 3])),
            Found::Copy(open),
            Found::Copy(copy(&[4]))
        ]
    );
    let next_day = Day(DAY.0 + 1);
    assert_eq!(probe(&archive, next_day, &[3]).await, [Found::Copy(copy(&[4]))]);
    assert_eq!(names(archive.read(id(1)).await.unwrap()), ["1/1", "1/2", "1/3"]);
    assert_eq!(archive.list(next_day, None).await.unwrap().0, [id(1), id(3)]);
    // X-Ray's start may lie a moment after midnight.
    assert!(matches!(probe(&archive, next_day, &[2]).await[..], [Found::Copy(_)]));
}

#[tokio::test]
async fn a_manifest_without_its_object_proves_nothing() {
    let fixture = Fixture::new();
    fixture.store(NOON, vec![span(1, 1, NOON, false)]).await;
    for object in fixture.files(".zst") {
        std::fs::remove_file(object).unwrap();
    }
    let archive = fixture.archive(None, NOON).await;
    assert_eq!(probe(&archive, DAY, &[1]).await, [Found::Nothing]);
    assert!(archive.read(id(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_damaged_manifest_leaves_every_trace_unknown_that_is_not_found_elsewhere() {
    let fixture = Fixture::new();
    fixture.store(NOON, vec![span(1, 1, NOON, false)]).await;
    let damaged = fixture.files(".rsm").remove(0);
    fixture.store(NOON, vec![span(2, 2, NOON, false)]).await;
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let archive = fixture.archive(None, NOON).await;
    let found = probe(&archive, DAY, &[1, 2, 3]).await;
    assert!(
        matches!(&found[0], Found::Unknown(why) if why.contains("checksum")),
        "{found:?}"
    );
    assert_eq!(found[1], Found::Copy(copy(&[2])));
    assert!(matches!(&found[2], Found::Unknown(_)));
    let first = archive.list(DAY, None).await;
    let second = match &first {
        Ok((_, page)) => archive.list(DAY, page.clone()).await,
        Err(_) => Ok((Vec::new(), None)),
    };
    assert!(
        first.is_err() || second.is_err(),
        "one of both pages is the damaged one"
    );
}

#[tokio::test]
async fn what_should_be_deleted_by_now_is_no_copy() {
    let fixture = Fixture::new();
    fixture.store(NOON, vec![span(1, 1, NOON, false)]).await;
    let lifetime = Duration::from_secs(86_400 * 90);
    let archive = fixture.archive(Some(lifetime), NOON).await;
    assert_eq!(archive.lifetime().await.unwrap(), Some(lifetime));
    let found = probe(&archive, DAY, &[1]).await;
    assert!(
        matches!(
            &found[..],
            [Found::Copy(StoredCopy {
                expires_at: Some(_),
                ..
            })]
        ),
        "{found:?}"
    );
    // The file's own time is the machine's: a moment far ahead is behind any of them.
    let archive = fixture.archive(Some(lifetime), 4_000_000_000).await;
    assert_eq!(probe(&archive, DAY, &[1]).await, [Found::Nothing]);
}

#[tokio::test]
async fn an_empty_place_holds_nothing() {
    let fixture = Fixture::new();
    let archive = fixture.archive(None, NOON).await;
    assert_eq!(probe(&archive, DAY, &[1]).await, [Found::Nothing]);
    assert_eq!(archive.list(DAY, None).await.unwrap(), (vec![], None));
    assert!(archive.read(id(1)).await.unwrap().is_none());
}
