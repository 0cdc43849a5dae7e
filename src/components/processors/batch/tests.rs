use super::*;
use crate::pdata::Origin;
use crate::queue::testing::{Act, FarEnd, ids, metric, spans, spans_from};

fn build(context: &BuildContext, config: Config, next: Arc<dyn Stage>) -> (Arc<dyn Stage>, Arc<dyn Running>) {
    let plan = BatchPlan { config };
    match plan.build(context.clone(), Signal::Traces, Outlet::to(next)).unwrap() {
        BuiltProcessor::Active { stage, running } => (stage, running),
        BuiltProcessor::Pure(_) => panic!("it owns a task"),
    }
}

fn context() -> BuildContext {
    BuildContext::standalone(ComponentKind::Processor, "batch")
}

fn config(send_batch_size: u32, send_batch_max_size: u32) -> Config {
    Config {
        send_batch_size,
        send_batch_max_size,
        ..Config::default()
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn held(context: &BuildContext) -> f64 {
    metric(
        context.instruments.registry(),
        "radiosonde_queue_items",
        &[("processor", "batch")],
    )
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn from_cursor() -> Arc<Origin> {
    Arc::new(Origin {
        cursor: true,
        ..Origin::default()
    })
}

fn tenant(name: &str) -> Arc<Origin> {
    Arc::new(Origin {
        client: Some(([127, 0, 0, 1], 9).into()),
        metadata: vec![
            ("x-tenant".into(), vec![name.into()]),
            ("x-other".into(), vec!["private".into()]),
        ],
        ..Origin::default()
    })
}

#[tokio::test(start_paused = true)]
async fn answers_a_push_sender_at_once_and_sends_when_there_is_enough() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let (stage, _running) = build(&context, config(5, 0), far_end.clone());
    stage.consume(spans(0..3)).await.unwrap();
    settle().await;
    assert!(far_end.taken().is_empty());
    assert_eq!(held(&context), 3.0);
    stage.consume(spans(3..6)).await.unwrap();
    settle().await;
    assert_eq!(far_end.taken_ids(), [[0, 1, 2, 3, 4, 5]]);
    assert_eq!(held(&context), 0.0);
    let registry = context.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_processor_batch_batch_size_trigger_send", &[]),
        1.0
    );
    assert_eq!(metric(registry, "otelcol_processor_batch_batch_send_size", &[]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn sends_what_it_has_when_the_oldest_item_has_waited_long_enough() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let (stage, _running) = build(&context, Config::default(), far_end.clone());
    let started = tokio::time::Instant::now();
    stage.consume(spans([0])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    stage.consume(spans([1])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(far_end.taken_ids(), [[0, 1]]);
    let (sent_at, _) = far_end.attempts()[0];
    assert_eq!((sent_at - started).as_millis(), 200);
    let registry = context.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_processor_batch_timeout_trigger_send", &[]),
        1.0
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_sends_at_once() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let config = Config {
        timeout: GoDuration(Duration::ZERO),
        ..Config::default()
    };
    let (stage, _running) = build(&context, config, far_end.clone());
    stage.consume(spans(0..2)).await.unwrap();
    settle().await;
    assert_eq!(far_end.taken_ids(), [[0, 1]]);
}

#[tokio::test(start_paused = true)]
async fn splits_large_requests_and_lets_the_rest_wait_for_company() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let (stage, running) = build(&context, config(4, 4), far_end.clone());
    stage.consume(spans(0..10)).await.unwrap();
    settle().await;
    assert_eq!(far_end.taken_ids(), [[0, 1, 2, 3], [4, 5, 6, 7]]);
    stage.consume(spans(10..12)).await.unwrap();
    settle().await;
    assert_eq!(far_end.taken_ids().last().unwrap(), &[8, 9, 10, 11]);
    running.stop(soon()).await;
    assert_eq!(held(&context), 0.0);
}

#[tokio::test(start_paused = true)]
async fn keeps_a_batch_that_is_refused_for_now_and_refuses_new_data_meanwhile() {
    let full = Refused::retryable("sending queue is full");
    let (context, far_end) = (context(), FarEnd::new(Act::Refuse(full)));
    let (stage, _running) = build(&context, config(2, 0), far_end.clone());
    stage.consume(spans(0..2)).await.unwrap();
    settle().await;
    let refused = stage.consume(spans(2..4)).await.unwrap_err();
    assert_eq!(refused.message, "sending queue is full");
    assert!(!refused.permanent);
    assert_eq!(held(&context), 2.0, "what was answered for is still here");
    far_end.act(Act::Take);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(far_end.taken_ids(), [[0, 1]]);
    stage.consume(spans(2..4)).await.unwrap();
    settle().await;
    assert_eq!(far_end.all_ids(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn only_a_permanent_refusal_drops_and_is_counted() {
    let far_end = FarEnd::scripted([Act::Refuse(Refused::permanent("never"))], Act::Take);
    let context = context();
    let (stage, _running) = build(&context, config(2, 0), far_end.clone());
    stage.consume(spans(0..2)).await.unwrap();
    settle().await;
    stage.consume(spans(2..4)).await.unwrap();
    settle().await;
    assert_eq!(far_end.all_ids(), [2, 3]);
    let registry = context.instruments.registry();
    let labels = [
        ("component", "batch"),
        ("signal", "traces"),
        ("reason", "permanent_error"),
    ];
    assert_eq!(metric(registry, "otelcol_dropped_items", &labels), 2.0);
    assert_eq!(held(&context), 0.0);
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_a_cursor_waits_for_the_next_stage_and_hears_its_no() {
    let far_end = FarEnd::scripted([Act::Take, Act::Refuse(Refused::retryable("busy"))], Act::Take);
    let context = context();
    let (stage, _running) = build(&context, Config::default(), far_end.clone());
    let started = tokio::time::Instant::now();
    stage.consume(spans_from(0..2, from_cursor())).await.unwrap();
    assert_eq!(started.elapsed().as_millis(), 200);
    assert_eq!(far_end.taken_ids(), [[0, 1]]);
    // A push sender's data in the same batch is kept; the cursor's owner offers its own again.
    stage.consume(spans([2])).await.unwrap();
    let refused = stage.consume(spans_from([3], from_cursor())).await.unwrap_err();
    assert_eq!(refused.message, "busy");
    assert_eq!(held(&context), 1.0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.consume(spans_from([3], from_cursor())).await.unwrap();
    assert_eq!(far_end.taken_ids(), [vec![0, 1], vec![2], vec![3]]);
    assert_eq!(held(&context), 0.0);
}

#[tokio::test(start_paused = true)]
async fn with_ack_export_everybody_waits() {
    let (context, far_end) = (context(), FarEnd::new(Act::Refuse(Refused::permanent("no"))));
    let config = Config {
        ack: Ack::Export,
        ..Config::default()
    };
    let (stage, _running) = build(&context, config, far_end.clone());
    assert_eq!(stage.consume(spans(0..2)).await.unwrap_err().message, "no");
    assert_eq!(
        metric(context.instruments.registry(), "otelcol_dropped_items", &[]),
        0.0
    );
    assert_eq!(held(&context), 0.0);
}

#[tokio::test(start_paused = true)]
async fn one_batch_for_each_metadata_value_up_to_the_limit() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let config = Config {
        metadata_keys: vec!["X-Tenant".to_owned()],
        metadata_cardinality_limit: 2,
        ..Config::default()
    };
    let (stage, running) = build(&context, config, far_end.clone());
    for (id, name) in [(0, "a"), (1, "b"), (2, "a")] {
        stage.consume(spans_from([id], tenant(name))).await.unwrap();
    }
    let refused = stage.consume(spans_from([3], tenant("c"))).await.unwrap_err();
    assert!(refused.permanent);
    assert_eq!(refused.message, "too many batcher metadata-value combinations");
    let registry = context.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_processor_batch_metadata_cardinality", &[]),
        2.0
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut taken = far_end.taken();
    taken.sort_by_key(ids);
    assert_eq!(taken.iter().map(ids).collect::<Vec<_>>(), [vec![0, 2], vec![1]]);
    for batch in &taken {
        assert_eq!(batch.origin().metadata.len(), 1, "only the key survives");
        assert_eq!(batch.origin().client, None);
    }
    // A value that nobody sends any more makes room for another.
    tokio::time::sleep(Duration::from_secs(70)).await;
    stage.consume(spans_from([3], tenant("c"))).await.unwrap();
    running.stop(soon()).await;
    assert_eq!(far_end.all_ids(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_flushes() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let (stage, running) = build(&context, Config::default(), far_end.clone());
    stage.consume(spans(0..2)).await.unwrap();
    running.stop(soon()).await;
    running.stop(soon()).await;
    assert_eq!(far_end.taken_ids(), [[0, 1]]);
    assert_eq!(
        stage.consume(spans(2..3)).await.unwrap_err().message,
        "batch processor is stopping"
    );
}

#[tokio::test(start_paused = true)]
async fn many_tiny_requests_become_few_parts() {
    let (context, far_end) = (context(), FarEnd::new(Act::Take));
    let (stage, _running) = build(&context, config(3000, 0), far_end.clone());
    for id in 0..3000 {
        stage.consume(spans([id])).await.unwrap();
    }
    settle().await;
    let taken = far_end.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].items(), 3000);
    assert_eq!(ids(&taken[0]), (0..3000).collect::<Vec<_>>());
    let parts = taken[0].clone().into_parts().len();
    assert!(parts < 10, "{parts} parts");
}

#[tokio::test(start_paused = true)]
async fn waits_while_one_batch_is_out_and_another_is_full() {
    let (context, far_end) = (context(), FarEnd::new(Act::TakeAfter(Duration::from_secs(1))));
    let (stage, _running) = build(&context, config(1, 0), far_end.clone());
    let started = tokio::time::Instant::now();
    for id in 0..3 {
        stage.consume(spans([id])).await.unwrap();
        settle().await;
    }
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "the third had to wait: {:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_cannot_hand_on_is_handed_on_after_the_next_start() {
    let temp = tempfile::tempdir().unwrap();
    let full = Refused::retryable("sending queue is full");
    let mut first = context();
    first.spill_dir = Some(temp.path().join("spill"));
    let (stage, running) = build(&first, config(2, 0), FarEnd::new(Act::Refuse(full)));
    stage.consume(spans(0..2)).await.unwrap();
    let started = tokio::time::Instant::now();
    running.stop(soon()).await;
    assert!(started.elapsed() < Duration::from_secs(1), "once more, and no waiting");
    assert_eq!(held(&first), 0.0);
    let registry = first.instruments.registry();
    assert_eq!(metric(registry, "radiosonde_spilled_items", &[]), 2.0);
    assert_eq!(metric(registry, "otelcol_dropped_items", &[]), 0.0);

    let mut second = context();
    second.spill_dir = first.spill_dir;
    let far_end = FarEnd::new(Act::Take);
    let (_stage, running) = build(&second, config(2, 0), far_end.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(far_end.all_ids(), [0, 1]);
    running.stop(soon()).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_left_is_handed_on_where_the_batching_stands_behind_a_queue_now() {
    let temp = tempfile::tempdir().unwrap();
    let mut first = context();
    first.spill_dir = Some(temp.path().join("spill"));
    let plan = BatchPlan { config: config(2, 0) };
    let passing = |context: &BuildContext, far_end: Arc<FarEnd>| {
        plan.passing(context.clone(), Signal::Traces, Outlet::to(far_end))
    };
    assert!(passing(&first, FarEnd::new(Act::Take)).is_none(), "nothing was left");
    let full = Refused::retryable("sending queue is full");
    let (stage, running) = build(&first, config(2, 0), FarEnd::new(Act::Refuse(full)));
    stage.consume(spans(0..2)).await.unwrap();
    running.stop(soon()).await;

    let mut second = context();
    second.spill_dir = first.spill_dir;
    let far_end = FarEnd::new(Act::Take);
    let Some(BuiltProcessor::Active { stage, running }) = passing(&second, far_end.clone()) else {
        panic!("something was left");
    };
    stage.consume(spans([7])).await.unwrap();
    assert!(far_end.all_ids().contains(&7), "new data does not wait here");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(far_end.all_ids(), [0, 1, 7]);
    running.stop(soon()).await;
}

#[tokio::test(start_paused = true)]
async fn what_can_neither_be_handed_on_nor_written_is_counted_at_the_deadline() {
    let full = Refused::retryable("sending queue is full");
    let context = context();
    let (stage, running) = build(&context, config(2, 0), FarEnd::new(Act::Refuse(full)));
    stage.consume(spans(0..2)).await.unwrap();
    running.stop(soon()).await;
    let registry = context.instruments.registry();
    assert_eq!(
        metric(registry, "otelcol_dropped_items", &[("reason", "shutdown_deadline")]),
        2.0
    );
    assert_eq!(held(&context), 0.0);
}
