//! Random runs against a simple model: every item that was taken is delivered once, dropped and counted, or found again
//! after a restart; never lost, never doubled (no answer of the far end is lost in these runs).

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::testing::{Act, FarEnd, Step, down, metric, run_paused, spans, step};
use super::tests::assert_books_close;
use super::*;
use crate::component::{ComponentKind, QueueBatch, QueueSettings, RetrySettings, Sizer};

fn settings() -> impl Strategy<Value = QueueSettings> {
    let batch = proptest::option::of((1u64..12, 0u64..3, any::<bool>()));
    (1usize..4, 1u64..20, 0..3usize, batch).prop_map(|(num_consumers, queue_size, sizer, batch)| QueueSettings {
        num_consumers,
        queue_size: queue_size * [1, 4, 200][sizer],
        sizer: [Sizer::Requests, Sizer::Items, Sizer::Bytes][sizer],
        batch: batch.map(|(min_size, factor, _)| QueueBatch {
            min_size,
            max_size: min_size * factor,
            ..QueueBatch::default()
        }),
        ..QueueSettings::default()
    })
}

struct Run {
    taken: BTreeSet<u64>,
    dropped: f64,
    delivered: Vec<u64>,
}

async fn run(settings: QueueSettings, steps: Vec<Step>) -> Run {
    let temp = tempfile::tempdir().unwrap();
    let delivery = Delivery {
        queue: Some(settings),
        retry: Some(RetrySettings {
            max_elapsed_time: Duration::from_secs(40),
            ..RetrySettings::default()
        }),
        timeout: Some(Duration::from_secs(5)),
    };
    let far_end = FarEnd::new(Act::TakeAfter(Duration::from_millis(300)));
    let start = || {
        let mut context = BuildContext::standalone(ComponentKind::Exporter, "otlp");
        context.spill_dir = Some(temp.path().to_owned());
        let (stage, running) = deliver(&context, Signal::Traces, &delivery, far_end.clone());
        (context, stage, running)
    };
    let (mut taken, mut dropped, mut next_id) = (BTreeSet::new(), 0.0, 0);
    let (mut context, mut stage, mut running) = start();
    for step in steps.into_iter().chain([Step::Up, Step::Restart, Step::Wait(120_000)]) {
        match step {
            Step::Offer(items) => {
                let offered = next_id..next_id + items;
                next_id += items;
                if stage.consume(spans(offered.clone())).await.is_ok() {
                    taken.extend(offered);
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Down => far_end.act(down()),
            Step::Up => far_end.act(Act::TakeAfter(Duration::from_millis(300))),
            Step::Poison => far_end.next(Act::Refuse(Refused::permanent("invalid"))),
            Step::PowerCut(_) => unreachable!("none in memory"),
            Step::Restart => {
                running.stop(Deadline::after(Duration::from_secs(25))).await;
                assert_books_close(&context);
                dropped += metric(context.instruments.registry(), "otelcol_dropped_items", &[]);
                (context, stage, running) = start();
            }
        }
        assert_books_close(&context);
    }
    running.stop(Deadline::after(Duration::from_secs(25))).await;
    dropped += metric(context.instruments.registry(), "otelcol_dropped_items", &[]);
    Run {
        taken,
        dropped,
        delivered: far_end.all_ids(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_is_lost_and_nothing_doubled(
        settings in settings(),
        steps in proptest::collection::vec(step(0), 1..40),
    ) {
        let run = run_paused(run(settings, steps));
        let delivered: BTreeSet<u64> = run.delivered.iter().copied().collect();
        prop_assert_eq!(delivered.len(), run.delivered.len(), "delivered twice");
        prop_assert!(delivered.is_subset(&run.taken), "delivered although it was refused");
        prop_assert_eq!(run.taken.len() as f64, run.delivered.len() as f64 + run.dropped);
    }
}
