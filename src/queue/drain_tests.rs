//! What is left at a stop, on the real file system and on one that fails.

use std::os::unix::fs::PermissionsExt;

use super::sim_fs::{Fault, SimFs};
use super::testing::{Act, FarEnd, metric, spans};
use super::tests::assert_books_close;
use super::*;
use crate::component::{ComponentKind, QueueBatch, QueueSettings, RetrySettings};

fn context(spill_dir: &std::path::Path) -> BuildContext {
    let mut context = BuildContext::standalone(ComponentKind::Exporter, "otlp");
    context.spill_dir = Some(spill_dir.to_owned());
    context
}

fn delivery(consumers: usize, batch: bool) -> Delivery {
    Delivery {
        queue: Some(QueueSettings {
            num_consumers: consumers,
            batch: batch.then(QueueBatch::default),
            ..QueueSettings::default()
        }),
        retry: Some(RetrySettings::default()),
        timeout: Some(Duration::from_secs(5)),
    }
}

fn down() -> Arc<FarEnd> {
    FarEnd::new(Act::Refuse(Refused::retryable("connection refused")))
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(25))
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_back_end_did_not_take_is_sent_first_at_the_next_start() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("spill");
    for batch in [false, true] {
        let first = context(&dir);
        let (stage, running) = deliver(&first, Signal::Traces, &delivery(2, batch), down());
        for id in 0..20 {
            stage.consume(spans([id])).await.unwrap();
        }
        let started = tokio::time::Instant::now();
        running.stop(soon()).await;
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "one more try each, no waiting"
        );
        let registry = first.instruments.registry();
        assert_eq!(metric(registry, "radiosonde_spilled_items", &[]), 20.0);
        assert_eq!(metric(registry, "otelcol_dropped_items", &[]), 0.0);
        assert_books_close(&first);
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        for file in std::fs::read_dir(&dir).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }

        let (second, far_end) = (context(&dir), FarEnd::new(Act::Take));
        let (stage, running) = deliver(&second, Signal::Traces, &delivery(1, batch), far_end.clone());
        stage.consume(spans([20])).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(far_end.all_ids(), (0..=20).collect::<Vec<_>>());
        assert_eq!(
            far_end.taken_ids().concat().last(),
            Some(&20),
            "what was left goes first"
        );
        running.stop(soon()).await;
        assert_eq!(assert_books_close(&second), 21.0);
        let left = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| !name.to_string_lossy().ends_with(".lock")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_in_the_middle_of_a_recovery_loses_and_doubles_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let first = context(temp.path());
    let (stage, running) = deliver(&first, Signal::Traces, &delivery(2, false), down());
    for id in 0..20 {
        stage.consume(spans([id])).await.unwrap();
    }
    running.stop(soon()).await;

    let second = context(temp.path());
    let script = (0..5).map(|_| Act::Take);
    let far_end = FarEnd::scripted(script, Act::Refuse(Refused::retryable("down again")));
    let (stage, running) = deliver(&second, Signal::Traces, &delivery(2, false), far_end.clone());
    stage.consume(spans([20])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.stop(soon()).await;
    assert_eq!(far_end.all_ids().len(), 5);
    assert_books_close(&second);

    let (third, last) = (context(temp.path()), FarEnd::new(Act::Take));
    let (_stage, running) = deliver(&third, Signal::Traces, &delivery(2, false), last.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.stop(soon()).await;
    let mut all = [far_end.all_ids(), last.all_ids()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_back_end_that_hangs_does_not_hold_up_the_stop_beyond_its_deadline() {
    let temp = tempfile::tempdir().unwrap();
    let first = context(temp.path());
    let mut delivery = delivery(2, false);
    delivery.timeout = None;
    let (stage, running) = deliver(&first, Signal::Traces, &delivery, FarEnd::new(Act::Hang));
    for id in 0..5 {
        stage.consume(spans([id])).await.unwrap();
    }
    let started = tokio::time::Instant::now();
    running.stop(soon()).await;
    assert!(started.elapsed() <= Duration::from_secs(25), "{:?}", started.elapsed());
    assert_eq!(
        metric(first.instruments.registry(), "radiosonde_spilled_items", &[]),
        5.0
    );
    assert_books_close(&first);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_counted_as_loss() {
    let fs = SimFs::default();
    let first = context(std::path::Path::new("/spill"));
    let (stage, running) = deliver_with(
        &first,
        Signal::Traces,
        &delivery(2, false),
        down(),
        Arc::new(fs.clone()),
    );
    stage.consume(spans(0..3)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    // The directory can be made, the file not.
    fs.fails_from(1, Fault::Full);
    running.stop(soon()).await;
    let registry = first.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_dropped_items", &[("reason", "shutdown_deadline")]),
        3.0
    );
    assert_books_close(&first);
}

#[tokio::test(start_paused = true)]
async fn a_reload_hands_what_is_left_to_the_queue_that_follows() {
    let temp = tempfile::tempdir().unwrap();
    let before = context(temp.path());
    let (stage, running) = deliver(&before, Signal::Traces, &delivery(2, false), down());
    stage.consume(spans(0..3)).await.unwrap();
    let (after, far_end) = (context(temp.path()), FarEnd::new(Act::Take));
    let (_stage, _running) = deliver(&after, Signal::Traces, &delivery(2, false), far_end.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.stop(soon()).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(far_end.all_ids(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_result_hears_of_the_stop_and_nothing_is_left_for_later() {
    let temp = tempfile::tempdir().unwrap();
    let first = context(temp.path());
    let mut delivery = delivery(2, false);
    if let Some(queue) = &mut delivery.queue {
        queue.wait_for_result = true;
    }
    let (stage, running) = deliver(&first, Signal::Traces, &delivery, down());
    let waiting = stage.consume(spans(0..3));
    let (answer, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.stop(soon()).await;
    });
    assert!(!answer.unwrap_err().permanent);
    assert_eq!(
        metric(first.instruments.registry(), "radiosonde_spilled_items", &[]),
        0.0
    );
    assert_books_close(&first);
}
