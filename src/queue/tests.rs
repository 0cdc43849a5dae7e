use std::sync::atomic::{AtomicBool, Ordering};

use super::testing::{Act, FarEnd, down, ids, metric, span_of, spans, spans_from};
use super::*;
use crate::component::{ComponentKind, QueueBatch, QueueSettings, RetrySettings, Sizer};
use crate::pdata::{MemoryBudget, Origin};

fn context() -> BuildContext {
    BuildContext::standalone(ComponentKind::Exporter, "otlp")
}

fn queue(settings: QueueSettings) -> Delivery {
    Delivery {
        queue: Some(settings),
        retry: Some(RetrySettings::default()),
        timeout: Some(Duration::from_secs(5)),
    }
}

async fn settle() {
    // Paused time only moves when everything else waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(25))
}

/// `taken = delivered + dropped + returned + spilled + queued + in_flight`, to the item.
pub fn assert_books_close(context: &BuildContext) -> f64 {
    let samples = context.instruments.registry().gather();
    let sum = |name: &str| -> f64 {
        let of_name = samples.iter().filter(|sample| sample.name == name);
        of_name
            .map(|sample| match &sample.value {
                crate::component::SampleValue::Counter(count) => *count as f64,
                crate::component::SampleValue::Gauge(value) => *value,
                crate::component::SampleValue::Histogram { .. } => 0.0,
            })
            .sum()
    };
    let taken = sum("radiosonde_taken_items");
    let places = [
        "otelcol_exporter_sent_spans",
        "otelcol_dropped_items",
        "radiosonde_returned_items",
        "radiosonde_spilled_items",
        "radiosonde_queue_items",
        "radiosonde_in_flight_items",
    ];
    let found: f64 = places.iter().map(|name| sum(name)).sum();
    assert_eq!(taken, found, "{:?}", places.map(|name| (name, sum(name))));
    taken
}

#[tokio::test(start_paused = true)]
async fn takes_at_once_and_sends_in_the_background() {
    let (context, far_end) = (context(), FarEnd::new(Act::TakeAfter(Duration::from_secs(1))));
    let (stage, running) = deliver(
        &context,
        Signal::Traces,
        &queue(QueueSettings::default()),
        far_end.clone(),
    );
    stage.consume(spans(0..3)).await.unwrap();
    assert!(far_end.taken().is_empty());
    assert_eq!(assert_books_close(&context), 3.0);
    running.stop(soon()).await;
    assert_eq!(far_end.taken_ids(), [[0, 1, 2]]);
    assert_eq!(
        metric(
            context.instruments.registry(),
            "otelcol_exporter_sent_spans",
            &[("exporter", "otlp")]
        ),
        3.0
    );
    assert_eq!(assert_books_close(&context), 3.0);
}

#[tokio::test(start_paused = true)]
async fn refuses_when_full_with_the_text_people_know_and_takes_again_when_there_is_room() {
    for (sizer, queue_size) in [(Sizer::Requests, 2), (Sizer::Items, 7), (Sizer::Bytes, 250)] {
        let (context, far_end) = (context(), FarEnd::new(Act::TakeAfter(Duration::from_secs(1))));
        let settings = QueueSettings {
            num_consumers: 1,
            queue_size,
            sizer,
            ..QueueSettings::default()
        };
        let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
        stage.consume(spans(0..3)).await.unwrap();
        stage.consume(spans(3..6)).await.unwrap();
        settle().await;
        let refused = stage.consume(spans(6..9)).await.unwrap_err();
        assert_eq!(refused.message, "sending queue is full", "{sizer:?}");
        assert!(!refused.permanent && refused.retry_after.is_some());
        let registry = context.instruments.registry();
        assert_eq!(metric(registry, "otelcol_exporter_enqueue_failed_spans", &[]), 3.0);
        assert_eq!(
            metric(registry, "otelcol_exporter_queue_capacity", &[("data_type", "traces")]),
            queue_size as f64
        );
        assert!(metric(registry, "otelcol_exporter_queue_size", &[("data_type", "traces")]) > 0.0);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        stage.consume(spans(6..9)).await.unwrap();
        running.stop(soon()).await;
        assert_eq!(far_end.all_ids(), (0..9).collect::<Vec<_>>());
        assert_eq!(metric(registry, "otelcol_exporter_queue_size", &[]), 0.0);
        assert_books_close(&context);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_far_end_slows_senders_down_for_a_moment_and_one_that_fails_does_not() {
    let (context, far_end) = (context(), FarEnd::new(Act::TakeAfter(Duration::from_millis(50))));
    let settings = QueueSettings::default();
    let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    let large = std::thread::available_parallelism().unwrap().get() * (4 << 20);
    let held_for = async |batch: Batch| {
        let before = tokio::time::Instant::now();
        stage.consume(batch).await.unwrap();
        before.elapsed().as_millis()
    };
    assert_eq!(held_for(spans(0..1)).await, 0, "there is room");
    settle().await;
    assert!(
        (49..60).contains(&held_for(span_of(1, large)).await),
        "until it has left"
    );
    assert_eq!(held_for(spans(2..3)).await, 0);
    far_end.act(Act::TakeAfter(Duration::from_secs(3)));
    assert!(
        (1000..1010).contains(&held_for(span_of(3, large)).await),
        "no longer than this"
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    far_end.act(down());
    stage.consume(span_of(4, large)).await.unwrap();
    settle().await;
    assert_eq!(held_for(spans(5..6)).await, 0, "the queue is there for this");
    far_end.act(Act::Take);
    running.stop(soon()).await;
    assert_eq!(far_end.all_ids(), (0..6).collect::<Vec<_>>());
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn a_quarter_of_the_memory_bounds_every_queue() {
    let mut context = context();
    context.memory = MemoryBudget::new(40_000);
    let far_end = FarEnd::new(Act::Hang);
    let (stage, _running) = deliver(&context, Signal::Traces, &queue(QueueSettings::default()), far_end);
    let mut taken = 0;
    let refused = loop {
        match stage.consume(spans(0..50)).await {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.message, QUEUE_IS_FULL);
    let one = spans(0..50).wire_len() as u64 + BOOKKEEPING_BYTES;
    assert_eq!(taken, 10_000 / one);
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_whole_queue_is_refused_for_good() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let settings = QueueSettings {
        queue_size: 5,
        sizer: Sizer::Items,
        ..QueueSettings::default()
    };
    let (stage, _running) = deliver(&context, Signal::Traces, &queue(settings), far_end);
    assert!(stage.consume(spans(0..6)).await.unwrap_err().permanent);
}

#[tokio::test(start_paused = true)]
async fn blocks_until_there_is_room_when_asked_to() {
    let (context, far_end) = (context(), FarEnd::new(Act::TakeAfter(Duration::from_secs(1))));
    let settings = QueueSettings {
        queue_size: 1,
        block_on_overflow: true,
        ..QueueSettings::default()
    };
    let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    let started = tokio::time::Instant::now();
    for id in 0..3 {
        stage.consume(spans([id])).await.unwrap();
    }
    assert_eq!(started.elapsed().as_secs(), 2);
    running.stop(soon()).await;
    assert_eq!(far_end.all_ids(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn tells_the_result_to_a_caller_who_waits_for_it() {
    let refused = Refused::permanent("unknown tenant");
    let far_end = FarEnd::scripted([Act::Take, Act::Refuse(refused)], Act::Take);
    let context = context();
    let settings = QueueSettings {
        wait_for_result: true,
        ..QueueSettings::default()
    };
    let (stage, _running) = deliver(&context, Signal::Traces, &queue(settings), far_end);
    stage.consume(spans(0..2)).await.unwrap();
    assert_eq!(stage.consume(spans(2..5)).await.unwrap_err().message, "unknown tenant");
    let registry = context.instruments.registry();
    assert_eq!(metric(registry, "radiosonde_returned_items", &[]), 3.0);
    assert_eq!(
        metric(registry, "otelcol_dropped_items", &[]),
        0.0,
        "the caller still has it"
    );
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn retries_with_growing_delays_and_drops_counted_when_time_is_over() {
    let (context, far_end) = (context(), FarEnd::new(down()));
    let mut delivery = queue(QueueSettings::default());
    delivery.retry = Some(RetrySettings {
        initial_interval: Duration::from_secs(1),
        randomization_factor: 0.0,
        multiplier: 2.0,
        max_interval: Duration::from_secs(4),
        max_elapsed_time: Duration::from_secs(12),
        ..RetrySettings::default()
    });
    let (stage, _running) = deliver(&context, Signal::Traces, &delivery, far_end.clone());
    let started = tokio::time::Instant::now();
    stage.consume(spans(0..4)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let times: Vec<u64> = far_end
        .attempts()
        .iter()
        .map(|(at, _)| (*at - started).as_secs())
        .collect();
    assert_eq!(times, [0, 1, 3, 7, 11]);
    let registry = context.instruments.registry();
    assert_eq!(
        metric(
            registry,
            "otelcol_dropped_items",
            &[("reason", "retry_limit"), ("component", "otlp")]
        ),
        4.0
    );
    assert_eq!(metric(registry, "otelcol_exporter_send_failed_spans", &[]), 4.0);
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn waits_at_least_as_long_as_the_far_end_asks() {
    let throttled = Refused::retryable("slow down").after(Duration::from_secs(40));
    let far_end = FarEnd::scripted([Act::Refuse(throttled)], Act::Take);
    let context = context();
    let (stage, _running) = deliver(
        &context,
        Signal::Traces,
        &queue(QueueSettings::default()),
        far_end.clone(),
    );
    stage.consume(spans(0..1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let attempts = far_end.attempts();
    assert_eq!((attempts[1].0 - attempts[0].0).as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_is_dropped_at_once_and_counted() {
    let far_end = FarEnd::new(Act::Refuse(Refused::permanent("no such table")));
    let context = context();
    let (stage, _running) = deliver(
        &context,
        Signal::Traces,
        &queue(QueueSettings::default()),
        far_end.clone(),
    );
    stage.consume(spans(0..3)).await.unwrap();
    settle().await;
    assert_eq!(far_end.attempts().len(), 1);
    let registry = context.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_dropped_items", &[("reason", "permanent_error")]),
        3.0
    );
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_an_exporter_costs_one_request_and_is_counted() {
    let far_end = FarEnd::scripted([Act::Panic], Act::Take);
    let context = context();
    let (stage, running) = deliver(
        &context,
        Signal::Traces,
        &queue(QueueSettings::default()),
        far_end.clone(),
    );
    stage.consume(spans(0..1)).await.unwrap();
    settle().await;
    stage.consume(spans(1..3)).await.unwrap();
    running.stop(soon()).await;
    assert_eq!(far_end.all_ids(), [1, 2]);
    assert_eq!(
        metric(
            context.instruments.registry(),
            "otelcol_dropped_items",
            &[("reason", "internal")]
        ),
        1.0
    );
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn a_far_end_that_needs_six_seconds_drains_although_the_timeout_is_five() {
    let far_end = FarEnd::new(Act::TakeAfter(Duration::from_secs(6)));
    let context = context();
    let settings = QueueSettings {
        num_consumers: 1,
        ..QueueSettings::default()
    };
    let (stage, _running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    for id in 0..10 {
        stage.consume(spans([id])).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(far_end.all_ids(), (0..10).collect::<Vec<_>>());
    assert_eq!(far_end.attempts().len(), 11, "only the first request was tried twice");
}

#[tokio::test(start_paused = true)]
async fn what_one_request_learns_of_a_slow_far_end_spares_the_others_a_second_try() {
    let far_end = FarEnd::new(Act::TakeAfter(Duration::from_secs(6)));
    let context = context();
    let (stage, _running) = deliver(
        &context,
        Signal::Traces,
        &queue(QueueSettings::default()),
        far_end.clone(),
    );
    for id in 0..10 {
        stage.consume(spans([id])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(far_end.all_ids(), (0..10).collect::<Vec<_>>());
    assert_eq!(far_end.attempts().len(), 11, "only the first was broken off");
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_the_caller_waits_and_has_the_answer() {
    let far_end = FarEnd::scripted([down()], Act::Take);
    let context = context();
    let delivery = Delivery {
        retry: Some(RetrySettings::default()),
        ..Delivery::default()
    };
    let (stage, _running) = deliver(&context, Signal::Traces, &delivery, far_end.clone());
    stage.consume(spans(0..2)).await.unwrap();
    far_end.act(Act::Refuse(Refused::permanent("no")));
    assert_eq!(stage.consume(spans(2..4)).await.unwrap_err().message, "no");
    assert_eq!(far_end.all_ids(), [0, 1]);
    assert_eq!(assert_books_close(&context), 4.0);
}

#[tokio::test(start_paused = true)]
async fn batches_behind_the_queue_by_size_and_by_time() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let settings = QueueSettings {
        batch: Some(QueueBatch {
            min_size: 5,
            ..QueueBatch::default()
        }),
        ..QueueSettings::default()
    };
    let (stage, _running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    for start in [0, 2, 4, 6] {
        stage.consume(spans(start..start + 2)).await.unwrap();
    }
    settle().await;
    assert_eq!(far_end.taken_ids(), [[0, 1, 2, 3, 4, 5]]);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(far_end.taken_ids().last().unwrap(), &[6, 7]);
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn splits_at_the_largest_size_and_counts_the_request_done_with_its_last_piece() {
    let (context, far_end) = (context(), FarEnd::new(Act::TakeAfter(Duration::from_secs(1))));
    let settings = QueueSettings {
        num_consumers: 1,
        batch: Some(QueueBatch {
            min_size: 4,
            max_size: 4,
            ..QueueBatch::default()
        }),
        ..QueueSettings::default()
    };
    let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    stage.consume(spans(0..10)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let registry = context.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_exporter_queue_size", &[]),
        1.0,
        "one piece is out, two are not"
    );
    running.stop(soon()).await;
    assert_eq!(far_end.taken_ids(), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    assert_eq!(metric(registry, "otelcol_exporter_queue_size", &[]), 0.0);
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn splits_by_bytes_too() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let max_size = spans(0..4).wire_len() as u64;
    let settings = QueueSettings {
        batch: Some(QueueBatch {
            min_size: max_size,
            max_size,
            sizer: Sizer::Bytes,
            ..QueueBatch::default()
        }),
        ..QueueSettings::default()
    };
    let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    stage.consume(spans(0..10)).await.unwrap();
    running.stop(soon()).await;
    assert_eq!(far_end.all_ids(), (0..10).collect::<Vec<_>>());
    assert!(far_end.taken().iter().all(|batch| batch.wire_len() as u64 <= max_size));
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn keeps_tenants_apart_and_only_their_key_survives() {
    let tenant = |name: &str| {
        let value = |text: &str| vec![Box::<str>::from(text)];
        Arc::new(Origin {
            metadata: vec![("x-tenant".into(), value(name)), ("x-other".into(), value("secret"))],
            ..Origin::default()
        })
    };
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let settings = QueueSettings {
        batch: Some(QueueBatch {
            partition_keys: vec!["X-Tenant".to_owned()],
            ..QueueBatch::default()
        }),
        ..QueueSettings::default()
    };
    let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    for (id, name) in [(0, "a"), (1, "b"), (2, "a"), (3, "b")] {
        stage.consume(spans_from([id], tenant(name))).await.unwrap();
    }
    running.stop(soon()).await;
    let mut taken = far_end.taken();
    taken.sort_by_key(ids);
    assert_eq!(taken.iter().map(ids).collect::<Vec<_>>(), [[0, 2], [1, 3]]);
    let origin = taken[0].origin();
    assert_eq!(origin.metadata_values("x-tenant"), [Box::<str>::from("a")]);
    assert!(origin.metadata_values("x-other").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_inside_a_merged_batch_costs_only_itself() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    far_end.refuse_spans([5]);
    let settings = QueueSettings {
        batch: Some(QueueBatch::default()),
        ..QueueSettings::default()
    };
    let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end.clone());
    for id in 0..8 {
        stage.consume(spans([id])).await.unwrap();
    }
    running.stop(soon()).await;
    assert_eq!(far_end.all_ids(), [0, 1, 2, 3, 4, 6, 7]);
    assert_eq!(
        metric(
            context.instruments.registry(),
            "otelcol_dropped_items",
            &[("reason", "permanent_error")]
        ),
        1.0
    );
    assert_books_close(&context);
}

#[tokio::test(start_paused = true)]
async fn a_drain_tries_what_waits_once_more_at_once() {
    let (context, far_end) = (context(), FarEnd::scripted([down()], Act::Take));
    let (stage, running) = deliver(
        &context,
        Signal::Traces,
        &queue(QueueSettings::default()),
        far_end.clone(),
    );
    stage.consume(spans(0..2)).await.unwrap();
    settle().await;
    let started = tokio::time::Instant::now();
    running.stop(soon()).await;
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
    assert_eq!(far_end.all_ids(), [0, 1]);
    assert_eq!(
        stage.consume(spans(2..3)).await.unwrap_err().message,
        "exporter is stopping"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_nowhere_to_write_tries_until_the_deadline_and_counts_what_is_lost() {
    let (context, far_end) = (context(), FarEnd::new(down()));
    let (stage, running) = deliver(
        &context,
        Signal::Traces,
        &queue(QueueSettings::default()),
        far_end.clone(),
    );
    stage.consume(spans(0..2)).await.unwrap();
    let started = tokio::time::Instant::now();
    running.stop(soon()).await;
    assert!(started.elapsed() > Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(started.elapsed() <= Duration::from_secs(25), "{:?}", started.elapsed());
    assert!(far_end.attempts().len() > 2);
    let registry = context.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_dropped_items", &[("reason", "shutdown_deadline")]),
        2.0
    );
    assert_books_close(&context);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_close_at_any_time_a_gather_looks() {
    let context = context();
    let far_end = FarEnd::new(Act::Take);
    far_end.refuse_spans([7]);
    let settings = QueueSettings {
        queue_size: 20,
        batch: Some(QueueBatch {
            flush_timeout: Duration::from_micros(50),
            min_size: 6,
            ..QueueBatch::default()
        }),
        ..QueueSettings::default()
    };
    let (stage, running) = deliver(&context, Signal::Traces, &queue(settings), far_end);
    let done = Arc::new(AtomicBool::new(false));
    let looker = std::thread::spawn({
        let (context, done) = (context.clone(), Arc::clone(&done));
        move || {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) || looks == 0 {
                assert_books_close(&context);
                looks += 1;
            }
            looks
        }
    });
    for round in 0..3000u64 {
        let _ = stage.consume(spans([round % 10, 1, 2])).await;
    }
    running.stop(soon()).await;
    done.store(true, Ordering::Relaxed);
    assert!(looker.join().unwrap() > 0);
    assert_books_close(&context);
}
