//! The receiver ends behind each step of a pull, and another one goes on from what is on the disk.

use super::*;

/// A few minutes of traces, all of which have come after so many rounds.
const ROUNDS: usize = 24;

pub(super) fn short() -> Scenario {
    let mut scenario = scenario();
    scenario.xray.until = Some(6);
    scenario.xray.late = vec![Late {
        share: 0.2,
        after_s: 240.0,
    }];
    scenario
}

/// Rounds until every span has come; in the third one it ends at the planned place. Gives the spans that came twice.
async fn ended_at(bench: &Bench, step: Step, before: u32) -> usize {
    let mut ended = false;
    for round in 0..ROUNDS {
        bench.clock.step(Duration::from_secs(60));
        if round == 3 {
            *bench.steps.plan.at.lock().unwrap() = Some((step, before));
        }
        let mut shard = bench.open().await;
        let over = tokio::select! {
            biased;
            () = bench.steps.plan.ended.notified() => false,
            result = bench.round(&mut shard) => result.is_ok(),
        };
        drop(shard);
        if !over {
            ended = true;
            let mut shard = bench.open().await;
            bench.round(&mut shard).await.unwrap();
        }
    }
    assert!(ended, "{step:?} was never reached");
    let (got, truth) = (bench.sink.counts(), bench.truth());
    let once: BTreeMap<Key, u32> = got.keys().map(|key| (key.clone(), 1)).collect();
    assert!(once == truth, "{step:?}: {}", difference(&once, &truth));
    assert!(
        got.values().all(|count| *count <= 2),
        "{step:?}: a span came a third time"
    );
    got.values().filter(|count| **count == 2).count()
}

/// Spans of one window of the scenario: nine traces a minute of at most seven spans, and what is late or open.
const WINDOW: usize = 120;

#[tokio::test]
async fn an_end_behind_any_step_loses_nothing_and_repeats_only_what_was_in_flight() {
    for (step, before, repeats) in [
        (Step::Listed, 0, false),
        (Step::Fetched, 0, false),
        (Step::Taken, 0, true),
        (Step::Unwritten, 0, false),
        (Step::Written, 0, false),
        (Step::Moved, 0, false),
    ] {
        let bench = Bench::new(short(), "traces_processed: 'off'").await;
        let twice = ended_at(&bench, step, before).await;
        if repeats {
            assert!((1..=WINDOW).contains(&twice), "{step:?}: {twice} twice");
        } else {
            assert_eq!(twice, 0, "{step:?}");
        }
    }
}

#[tokio::test]
async fn the_same_holds_for_the_log_group() {
    for (step, repeats) in [
        (Step::Fetched, false),
        (Step::Taken, true),
        (Step::Unwritten, true),
        (Step::Written, false),
        (Step::Moved, false),
    ] {
        let bench = logged::bench(short()).await;
        let twice = ended_at(&bench, step, 0).await;
        if repeats {
            assert!((1..=WINDOW).contains(&twice), "{step:?}: {twice} twice");
        } else {
            assert_eq!(twice, 0, "{step:?}");
        }
    }
}

#[tokio::test]
async fn before_a_durable_queue_an_end_between_taken_and_written_repeats_nothing() {
    for of_log in [false, true] {
        let bench = match of_log {
            true => logged::bench(short()).await,
            false => Bench::new(short(), "traces_processed: 'off'").await,
        };
        *bench.sink.known.lock().unwrap() = Some(HashSet::new());
        assert_eq!(
            ended_at(&bench, Step::Taken, 0).await,
            0,
            "from the log group: {of_log}"
        );
    }
}
