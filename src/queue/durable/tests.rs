//! The durable queue as the pipeline and the far end see it, on a disk that loses what was not synced.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Deadline, Delivery, Durability, Overflow, QueueBatch, QueueSettings,
    Refused, RetrySettings, Running, Sizer, Stage,
};
use crate::pdata::{Batch, BatchId, DoorLimits, Origin, Pieces, Signal};
use crate::queue::deliver_with;
use crate::queue::sim_fs::{Fault, SimFs};
use crate::queue::testing::{Act, FarEnd, Step, down, metric, run_paused, spans, step};
use crate::queue::tests::assert_books_close;

fn context() -> BuildContext {
    let mut context = BuildContext::standalone(ComponentKind::Exporter, "otlp");
    context.state_dir = Some(PathBuf::from("/state"));
    context
}

fn delivery() -> Delivery {
    Delivery {
        queue: Some(QueueSettings::default()),
        retry: Some(RetrySettings::default()),
        timeout: Some(Duration::from_secs(5)),
    }
}

fn with(change: impl FnOnce(&mut QueueSettings)) -> Delivery {
    let mut delivery = delivery();
    delivery.queue.iter_mut().next().map(change).unwrap();
    delivery
}

struct Started {
    context: BuildContext,
    stage: Arc<dyn Stage>,
    running: Arc<dyn Running>,
}

fn start(fs: &SimFs, delivery: &Delivery, far_end: &Arc<FarEnd>) -> Started {
    let context = context();
    let (stage, running) = deliver_with(
        &context,
        Signal::Traces,
        delivery,
        far_end.clone(),
        Arc::new(fs.process()),
    );
    Started {
        context,
        stage,
        running,
    }
}

impl Started {
    async fn stop(&self) {
        self.running.stop(Deadline::after(Duration::from_secs(25))).await;
        assert_books_close(&self.context);
    }

    fn metric(&self, name: &str) -> f64 {
        metric(self.context.instruments.registry(), name, &[])
    }

    fn dropped(&self, reason: &str) -> f64 {
        metric(
            self.context.instruments.registry(),
            "otelcol_dropped_items",
            &[("reason", reason)],
        )
    }
}

async fn some_time() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_a_power_cut_and_is_delivered_after_it() {
    let fs = SimFs::default();
    let first = start(&fs, &delivery(), &FarEnd::new(down()));
    for id in 0..30 {
        first.stage.consume(spans([id])).await.unwrap();
        assert_books_close(&first.context);
    }
    fs.crash(1);
    let far_end = FarEnd::new(Act::Take);
    let second = start(&fs, &delivery(), &far_end);
    some_time().await;
    assert_eq!(far_end.all_ids(), (0..30).collect::<Vec<_>>());
    assert_eq!(second.metric("radiosonde_recovered_items"), 30.0);
    second.stop().await;
    assert_eq!(second.metric("radiosonde_queue_disk_bytes"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_the_rest_in_the_log_and_nothing_is_delivered_twice() {
    let fs = SimFs::default();
    for batch in [None, Some(QueueBatch::default())] {
        let delivery = with(|queue| queue.batch = batch);
        let first = start(&fs, &delivery, &FarEnd::new(down()));
        for id in 0..30 {
            first.stage.consume(spans([id])).await.unwrap();
        }
        let before = tokio::time::Instant::now();
        first.stop().await;
        assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
        assert_eq!(first.metric("radiosonde_spilled_items"), 30.0);
        let far_end = FarEnd::new(Act::Take);
        let second = start(&fs, &delivery, &far_end);
        some_time().await;
        second.stop().await;
        assert_eq!(far_end.all_ids(), (0..30).collect::<Vec<_>>());
        let third = FarEnd::new(Act::Take);
        let last = start(&fs, &delivery, &third);
        some_time().await;
        last.stop().await;
        assert_eq!(third.all_ids(), [] as [u64; 0]);
    }
}

fn known_as(id: u128, span: u64) -> Batch {
    let origin = Origin {
        batch_id: Some(BatchId(id)),
        ..Origin::default()
    };
    spans([span]).with_origin(Arc::new(origin))
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_again_under_its_id_is_not_taken_twice_over_power_cuts_and_stops() {
    let fs = SimFs::default();
    let first = start(&fs, &delivery(), &FarEnd::new(down()));
    for _ in 0..3 {
        first.stage.consume(known_as(7, 1)).await.unwrap();
        assert_books_close(&first.context);
    }
    first.stage.consume(known_as(8, 2)).await.unwrap();
    assert_eq!(first.metric("radiosonde_duplicates_suppressed_items"), 2.0);
    fs.crash(1);
    // Known from the log itself.
    let far_end = FarEnd::new(Act::Take);
    let second = start(&fs, &delivery(), &far_end);
    second.stage.consume(known_as(7, 1)).await.unwrap();
    some_time().await;
    second.stage.consume(known_as(8, 2)).await.unwrap();
    some_time().await;
    second.stop().await;
    assert_eq!(far_end.all_ids(), [1, 2]);
    // Known from what the stop wrote down: the segments are gone.
    let third = start(&fs, &delivery(), &far_end);
    third.stage.consume(known_as(7, 1)).await.unwrap();
    third.stage.consume(known_as(9, 3)).await.unwrap();
    some_time().await;
    third.stop().await;
    assert_eq!(far_end.all_ids(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_refused_may_come_again_under_its_id() {
    let fs = SimFs::default();
    let queue = start(
        &fs,
        &with(|queue| queue.max_bytes = Some(1 << 20)),
        &FarEnd::new(down()),
    );
    queue.stage.consume(known_as(1, 1)).await.unwrap();
    fs.fails_from(0, Fault::Full);
    queue.stage.consume(known_as(2, 2)).await.unwrap_err();
    fs.heal();
    queue.stage.consume(known_as(2, 2)).await.unwrap();
    assert_eq!(queue.metric("radiosonde_duplicates_suppressed_items"), 0.0);
    assert_eq!(
        queue.metric("radiosonde_queue_items") + queue.metric("radiosonde_in_flight_items"),
        2.0
    );
    queue.stop().await;
}

/// The receiver of a next hop of ours, whose answers are lost where it is told so.
struct Hop {
    behind: Mutex<Arc<dyn Stage>>,
    loses_answers: AtomicBool,
}

impl Stage for Hop {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let pieces = batch.origin().pieces.clone().expect("a durable queue tells the parts");
        let header = pieces.to_header().expect("a few parts");
        let pieces = Pieces::of_header(&header).expect("its own form");
        let joined = batch.clone().into_parts().concat();
        let whole = Batch::from_wire(batch.signal(), joined.into(), batch.items() as u32, Origin::internal());
        let parts = whole.in_pieces(&pieces, &DoorLimits::default()).expect("they add up");
        let behind = Arc::clone(&self.behind.lock().unwrap());
        Box::pin(async move {
            for part in parts {
                behind.consume(part).await?;
            }
            match self.loses_answers.load(Ordering::Relaxed) {
                true => Err(Refused::retryable("nobody heard the answer")),
                false => Ok(()),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn between_two_agents_nothing_is_delivered_twice_whoever_ends_and_whatever_answer_is_lost() {
    let (here, there) = (SimFs::default(), SimFs::default());
    let far_end = FarEnd::new(Act::Take);
    let delivery = with(|queue| queue.batch = Some(QueueBatch::default()));
    let mut behind = start(&there, &delivery, &far_end);
    let hop = Arc::new(Hop {
        behind: Mutex::new(Arc::clone(&behind.stage)),
        loses_answers: AtomicBool::new(true),
    });
    for round in 0..4u64 {
        let (context, fs) = (context(), Arc::new(here.process()));
        let (stage, _running) = deliver_with(&context, Signal::Traces, &delivery, hop.clone(), fs);
        for id in round * 10 + 1..round * 10 + 11 {
            stage.consume(spans([id])).await.unwrap();
        }
        some_time().await;
        match round {
            0 | 2 => here.crash(round),
            _ => {
                there.crash(round);
                here.crash(round);
                behind = start(&there, &delivery, &far_end);
                *hop.behind.lock().unwrap() = Arc::clone(&behind.stage);
            }
        }
    }
    hop.loses_answers.store(false, Ordering::Relaxed);
    let (context, fs) = (context(), Arc::new(here.process()));
    let (_stage, running) = deliver_with(&context, Signal::Traces, &delivery, hop.clone(), fs);
    tokio::time::sleep(Duration::from_secs(60)).await;
    running.stop(Deadline::after(Duration::from_secs(25))).await;
    behind.stop().await;
    let mut delivered = far_end.all_ids();
    delivered.sort_unstable();
    assert!(behind.metric("radiosonde_duplicates_suppressed_items") > 0.0);
    assert_eq!(delivered, (1..41).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_moment_share_a_sync() {
    let fs = SimFs::default();
    let queue = start(&fs, &delivery(), &FarEnd::new(Act::Take));
    queue.stage.consume(spans([0])).await.unwrap();
    let before = queue.metric("radiosonde_queue_fsyncs");
    let all = futures(&queue, 1..200).await;
    assert!(all.iter().all(Result::is_ok));
    let syncs = queue.metric("radiosonde_queue_fsyncs") - before;
    assert!(syncs <= 3.0, "{syncs}");
    queue.stop().await;
}

async fn futures(queue: &Started, ids: std::ops::Range<u64>) -> Vec<Result<(), Refused>> {
    let mut set = tokio::task::JoinSet::new();
    for id in ids {
        let stage = Arc::clone(&queue.stage);
        set.spawn(async move { stage.consume(spans([id])).await });
    }
    set.join_all().await
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_and_delivers_and_recovers_by_itself() {
    let fs = SimFs::default();
    let far_end = FarEnd::new(down());
    let queue = start(&fs, &delivery(), &far_end);
    for id in 0..5 {
        queue.stage.consume(spans([id])).await.unwrap();
    }
    fs.fails_from(0, Fault::Full);
    let refused = queue.stage.consume(spans([100])).await.unwrap_err();
    assert!(
        !refused.permanent && refused.message.contains("cannot be written"),
        "{refused}"
    );
    assert_books_close(&queue.context);
    far_end.act(Act::Take);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        far_end.all_ids(),
        (0..5).collect::<Vec<_>>(),
        "reading fails too here, and is tried again"
    );
    fs.heal();
    queue.stage.consume(spans([5])).await.unwrap();
    some_time().await;
    assert_eq!(far_end.all_ids(), (0..6).collect::<Vec<_>>());
    queue.stop().await;
}

#[tokio::test(start_paused = true)]
async fn overflow_refuses_or_drops_the_oldest_or_waits() {
    for overflow in [Overflow::Refuse, Overflow::DropOldest, Overflow::Block] {
        let fs = SimFs::default();
        let far_end = FarEnd::new(down());
        let delivery = with(|queue| {
            queue.size_is_default = false;
            queue.sizer = Sizer::Items;
            queue.queue_size = 40;
            queue.num_consumers = 1;
            queue.max_concurrency = Some(1);
            queue.overflow = overflow;
        });
        let queue = start(&fs, &delivery, &far_end);
        for id in 0..40 {
            queue.stage.consume(spans([id])).await.unwrap();
        }
        let next = tokio::time::timeout(Duration::from_millis(900), queue.stage.consume(spans([40]))).await;
        match (overflow, next) {
            (Overflow::Refuse, Ok(Err(refused))) => assert_eq!(refused.message, "sending queue is full"),
            (Overflow::DropOldest, Ok(Ok(()))) => assert_eq!(queue.dropped("overflow_drop_oldest"), 1.0),
            (Overflow::Block, Err(_still_waiting)) => {}
            (overflow, next) => panic!("{overflow:?}: {next:?}"),
        }
        assert_books_close(&queue.context);
        far_end.act(Act::Take);
        tokio::time::sleep(Duration::from_secs(60)).await;
        queue.stage.consume(spans([50])).await.unwrap();
        some_time().await;
        queue.stop().await;
        // One was dropped, refused or given up by its sender, and one came later.
        assert_eq!(far_end.all_ids().len(), 41);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_result_hears_it_through_batches_too() {
    let fs = SimFs::default();
    let far_end = FarEnd::new(Act::TakeAfter(Duration::from_millis(300)));
    far_end.refuse_spans([7]);
    let delivery = with(|queue| {
        queue.wait_for_result = true;
        queue.batch = Some(QueueBatch {
            min_size: 5,
            ..QueueBatch::default()
        });
    });
    let queue = start(&fs, &delivery, &far_end);
    let answers = futures(&queue, 0..10).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.is_err()).count(),
        1,
        "only the bad one: {answers:?}"
    );
    assert_eq!(far_end.all_ids(), [0, 1, 2, 3, 4, 5, 6, 8, 9]);
    queue.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_kept_in_the_dead_letter_and_only_that() {
    use crate::queue::log::look;
    for durability in [Durability::Fsync, Durability::Memory] {
        let fs = SimFs::default();
        let far_end = FarEnd::new(Act::Take);
        far_end.refuse_spans([7, 12]);
        let delivery = with(|queue| {
            queue.durability = Some(durability);
            queue.dead_letter = Some(PathBuf::from("refused"));
            queue.batch = Some(QueueBatch {
                min_size: 5,
                ..QueueBatch::default()
            });
        });
        let queue = start(&fs, &delivery, &far_end);
        for id in 0..20 {
            queue.stage.consume(spans([id])).await.unwrap();
        }
        some_time().await;
        queue.stop().await;
        assert_eq!(far_end.all_ids().len(), 18);
        assert_eq!(queue.dropped("permanent_error"), 2.0);
        assert_eq!(queue.metric("radiosonde_dead_letter_items"), 2.0);
        drop(queue);
        let is_dead = |path: &&std::path::Path| path.starts_with("/state/refused");
        let files = fs.files();
        let dir = files
            .iter()
            .filter_map(|(path, _)| path.parent())
            .find(is_dead)
            .unwrap();
        let mut kept = Vec::new();
        let report = look(Arc::new(fs.clone()), dir, |_, batch| {
            kept.extend(crate::queue::testing::ids(batch))
        })
        .unwrap();
        kept.sort_unstable();
        assert_eq!((kept, report.is_sound()), (vec![7, 12], true));
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_records_are_counted_and_the_others_delivered() {
    let fs = SimFs::default();
    let first = start(&fs, &delivery(), &FarEnd::new(down()));
    for id in 0..20 {
        first.stage.consume(spans([id, 1000 + id])).await.unwrap();
    }
    first.stop().await;
    let (path, _) = fs
        .files()
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|e| e == "wal"))
        .unwrap();
    fs.damage(&path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
    });
    let far_end = FarEnd::new(Act::Take);
    let second = start(&fs, &delivery(), &far_end);
    some_time().await;
    assert_eq!(far_end.all_ids().len(), 38);
    assert_eq!(second.dropped("corrupt_record"), 2.0);
    assert_eq!(second.metric("radiosonde_queue_corrupt_records"), 1.0);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn tries_for_ever_unless_a_limit_was_configured() {
    for (limit, dropped) in [(None, 0.0), (Some(Duration::from_secs(60)), 1.0)] {
        let fs = SimFs::default();
        let mut delivery = delivery();
        if let (Some(retry), Some(limit)) = (&mut delivery.retry, limit) {
            retry.max_elapsed_time = limit;
            retry.limit_is_configured = true;
        }
        let queue = start(&fs, &delivery, &FarEnd::new(down()));
        queue.stage.consume(spans([1])).await.unwrap();
        tokio::time::sleep(Duration::from_secs(8 * 3600)).await;
        assert_eq!(queue.dropped("retry_limit"), dropped);
        queue.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_in_use_is_refused_until_it_is_free() {
    let fs = SimFs::default();
    let far_end = FarEnd::new(Act::Take);
    let first = start(&fs, &delivery(), &far_end);
    first.stage.consume(spans([1])).await.unwrap();
    let second = start(&fs, &delivery(), &far_end);
    let refused = second.stage.consume(spans([2])).await.unwrap_err();
    assert!(refused.message.contains("in use"), "{refused}");
    first.stop().await;
    some_time().await;
    second.stage.consume(spans([3])).await.unwrap();
    some_time().await;
    second.stop().await;
    assert_eq!(far_end.all_ids(), [1, 3]);
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    (1usize..4, proptest::option::of((1u64..12, 0u64..3))).prop_map(|(num_consumers, batch)| QueueSettings {
        num_consumers,
        max_bytes: Some(16 << 20),
        batch: batch.map(|(min_size, factor)| QueueBatch {
            min_size,
            max_size: min_size * factor,
            ..QueueBatch::default()
        }),
        durability: Some(Durability::Fsync),
        ..QueueSettings::default()
    })
}

/// Gives what was acknowledged and not delivered, and what was dropped because the far end did not want it.
async fn run(settings: QueueSettings, steps: Vec<Step>) -> (usize, f64) {
    run_on(&SimFs::default(), settings, steps).await
}

async fn run_on(fs: &SimFs, settings: QueueSettings, steps: Vec<Step>) -> (usize, f64) {
    let far_end = FarEnd::new(Act::TakeAfter(Duration::from_millis(300)));
    let delivery = with(|queue| *queue = settings);
    let mut queue = start(fs, &delivery, &far_end);
    let (mut taken, mut dropped, mut next_id) = (std::collections::BTreeSet::new(), 0.0, 0);
    let ending = [Step::Up, Step::Restart, Step::Wait(120_000)];
    for step in steps.into_iter().chain(ending) {
        match step {
            Step::Offer(items) => {
                let offered = next_id..next_id + items;
                next_id += items;
                if queue.stage.consume(spans(offered.clone())).await.is_ok() {
                    taken.extend(offered);
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Down => far_end.act(down()),
            Step::Up => far_end.act(Act::TakeAfter(Duration::from_millis(300))),
            Step::Poison => far_end.next(Act::Refuse(Refused::permanent("invalid"))),
            Step::Restart => {
                queue.stop().await;
                dropped += dropped_by(&queue);
                queue = start(fs, &delivery, &far_end);
            }
            Step::PowerCut(seed) => {
                assert_books_close(&queue.context);
                // The disk is gone a moment before the process: whatever that still does fails.
                fs.fails_from(0, Fault::PowerCut);
                far_end.act(Act::Hang);
                queue.running.stop(Deadline::after(Duration::ZERO)).await;
                dropped += dropped_by(&queue);
                fs.crash(seed);
                far_end.act(Act::TakeAfter(Duration::from_millis(300)));
                queue = start(fs, &delivery, &far_end);
            }
        }
        assert_books_close(&queue.context);
    }
    queue.stop().await;
    dropped += dropped_by(&queue);
    let delivered: std::collections::BTreeSet<u64> = far_end.all_ids().into_iter().collect();
    (taken.difference(&delivered).count(), dropped)
}

/// What was refused for good. Nothing is damaged here.
fn dropped_by(queue: &Started) -> f64 {
    assert_eq!(queue.dropped("corrupt_record"), 0.0);
    queue.metric("otelcol_dropped_items")
}

/// `RADIOSONDE_POWER_CUTS=20000 cargo test --lib queue::durable` runs the long form.
fn sequences() -> u32 {
    let configured = std::env::var("RADIOSONDE_POWER_CUTS").ok();
    configured.and_then(|count| count.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sequences()))]

    #[test]
    fn nothing_acknowledged_is_lost_by_restarts_outages_and_power_cuts(
        settings in settings(),
        steps in proptest::collection::vec(step(2), 1..30),
    ) {
        let (missing, dropped) = run_paused(run(settings, steps));
        prop_assert!(missing as f64 <= dropped, "{missing} missing, {dropped} dropped for good");
    }
}

#[test]
fn a_sequence_happens_the_same_way_each_time() {
    let steps = vec![
        Step::Offer(1),
        Step::PowerCut(0),
        Step::Offer(1),
        Step::Wait(300),
        Step::Down,
        Step::Offer(1),
        Step::PowerCut(10_771_558_137_344_964_843),
        Step::Offer(4),
        Step::PowerCut(2_487_119_754_538_142_359),
    ];
    let settings = QueueSettings {
        num_consumers: 1,
        max_bytes: Some(16 << 20),
        ..QueueSettings::default()
    };
    assert_eq!(run_paused(run(settings.clone(), steps.clone())), (0, 0.0));
    let calls = || {
        let fs = SimFs::default();
        run_paused(run_on(&fs, settings.clone(), steps.clone()));
        (fs.calls(), fs.syncs(), fs.files())
    };
    assert_eq!(calls(), calls());
}

/// With segments of a megabyte.
fn small() -> Delivery {
    with(|queue| queue.max_bytes = Some(16 << 20))
}

/// 200 requests in a log, nothing of it in memory, and a process that begins to deliver them.
async fn with_a_backlog(fs: &SimFs, far_end: &Arc<FarEnd>, fails_after: usize) -> Started {
    let first = start(fs, &small(), &FarEnd::new(down()));
    futures(&first, 0..200).await;
    first.stop().await;
    let second = start(fs, &small(), far_end);
    fs.fails_from(fails_after, Fault::Io);
    tokio::time::sleep(Duration::from_secs(5)).await;
    second
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_for_hours_loses_nothing_and_is_used_again() {
    for fails_after in [0, 3, 9, 20, 60, 150] {
        let fs = SimFs::default();
        let far_end = FarEnd::new(Act::Take);
        let queue = with_a_backlog(&fs, &far_end, fails_after).await;
        tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
        assert!(queue.stage.consume(spans([500])).await.is_err(), "{fails_after}");
        fs.heal();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(far_end.all_ids(), (0..200).collect::<Vec<_>>(), "{fails_after}");
        queue.stage.consume(spans([501])).await.unwrap();
        queue.stop().await;
        assert_eq!(queue.metric("otelcol_dropped_items"), 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_disk_fails_leaves_everything_to_the_next_start() {
    // What of a write was done when it failed shows after the crash.
    for seed in 0..6 {
        for fails_after in [0, 3, 9, 20, 60, 150] {
            let fs = SimFs::default();
            let far_end = FarEnd::new(Act::TakeAfter(Duration::from_millis(700)));
            let queue = with_a_backlog(&fs, &far_end, fails_after).await;
            queue.stop().await;
            assert_eq!(queue.metric("otelcol_dropped_items"), 0.0);
            fs.crash(seed);
            let next = start(&fs, &small(), &far_end);
            tokio::time::sleep(Duration::from_secs(60)).await;
            next.stop().await;
            assert_eq!(next.metric("otelcol_dropped_items"), 0.0);
            let ids: std::collections::BTreeSet<u64> = far_end.all_ids().into_iter().collect();
            assert_eq!(ids.len(), 200, "seed {seed}, failing after {fails_after} calls");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_read_costs_what_is_in_it_and_is_counted() {
    let fs = SimFs::default();
    let first = start(&fs, &delivery(), &FarEnd::new(down()));
    futures(&first, 0..200).await;
    first.stop().await;
    let wal = |(path, _): &(PathBuf, Vec<u8>)| path.extension().is_some_and(|ending| ending == "wal");
    let (path, content) = fs.files().into_iter().find(wal).unwrap();
    let middle = content.len() / 2;
    fs.spoil(&path, middle..middle + 10);
    let far_end = FarEnd::new(Act::Take);
    let second = start(&fs, &delivery(), &far_end);
    tokio::time::sleep(Duration::from_secs(200)).await;
    let lost = second.dropped("corrupt_record");
    assert!((1.0..=40.0).contains(&lost), "{lost}");
    assert_eq!(far_end.all_ids().len() as f64, 200.0 - lost);
    second.stop().await;
}
