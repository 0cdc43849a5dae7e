//! Power cuts and failing calls at every call of a random history.
//!
//! `RADIOSONDE_CRASH_POINTS=20000 cargo test --lib queue::log` runs the long form.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::queue::sim_fs::{Fault, Plan};

/// What happened to the records of a history.
#[derive(Default)]
struct Story {
    issued: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    /// Delivered, whether or not that could be written down.
    settled: BTreeSet<u64>,
}

impl Story {
    /// After everything: nothing acknowledged is missing, nothing is there that was never written, nothing is lost.
    fn check(&self, log: &mut Opened, what: &str) {
        let waiting = log.waiting;
        let (read, mut lost) = drain(log);
        // Numbers of refused records.
        lost.retain(|range| range.size().bytes > 0);
        let ids: BTreeSet<u64> = read.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), read.len(), "{what}: a record came twice");
        assert!(ids.is_subset(&self.issued), "{what}: never written");
        let missing: Vec<u64> = self
            .acknowledged
            .difference(&self.settled)
            .filter(|id| !ids.contains(id))
            .copied()
            .collect();
        assert_eq!(missing, [] as [u64; 0], "{what}: acknowledged and gone");
        assert_eq!(lost, [], "{what}: nothing was damaged");
        let sum = read.iter().map(|(_, range)| range.size().items).sum::<u64>();
        assert!(sum >= waiting.items, "{what}: {sum} of {} items", waiting.items);
    }
}

/// A random history. Ends early when the log cannot be opened any more.
fn run(fs: &SimFs, seed: u64, story: &mut Story) {
    let mut dice = Dice(seed);
    let mut next_id = 0;
    for _life in 0..3 {
        let Ok(mut log) = open(Arc::new(fs.clone()), &dir(), SEGMENT, false) else {
            return;
        };
        let mut read: Vec<(u64, Range)> = Vec::new();
        for _step in 0..14 {
            match dice.below(8) {
                0..=3 => {
                    let group: Vec<u64> = (next_id..next_id + 1 + dice.below(4) as u64).collect();
                    next_id += group.len() as u64;
                    story.issued.extend(&group);
                    let drafts: Vec<Draft> = group.iter().map(|id| draft(*id, 1 + (*id % 3) as u32)).collect();
                    if log.writer.commit(&drafts, true).is_ok() {
                        story.acknowledged.extend(&group);
                    }
                }
                4..=5 => {
                    for _ in 0..6 {
                        if let Ok(Read::Record(header, batch)) = log.reader.read_next() {
                            read.push((id_of(&batch), header.range()));
                        }
                    }
                }
                6 => {
                    shuffle(&mut read, &mut dice);
                    let count = dice.below(read.len() + 1);
                    for (id, range) in read.drain(..count) {
                        story.settled.insert(id);
                        log.writer.settle(&[range]);
                    }
                    let _ = log.writer.mark();
                }
                _ => {
                    let _ = log.writer.sync_marks();
                    let _ = log.writer.remove_passed();
                }
            }
        }
        if dice.below(2) == 0 {
            let _ = log.writer.close();
        }
    }
}

#[test]
fn a_power_cut_at_any_call_takes_nothing_that_was_acknowledged() {
    let points = cases("RADIOSONDE_CRASH_POINTS", 500);
    let mut done = 0;
    let mut seed = 0;
    while done < points {
        seed += 1;
        let whole = SimFs::default();
        run(&whole, seed, &mut Story::default());
        for at in 0..whole.calls() {
            let fs = SimFs::default();
            let mut story = Story::default();
            fs.plan(Plan {
                fault: Fault::PowerCut,
                at,
                calls: 1,
            });
            run(&fs, seed, &mut story);
            fs.crash(seed * 1_000 + at as u64);
            story.check(&mut reopen(&fs), &format!("seed {seed}, power cut at call {at}"));
            done += 1;
            if done == points {
                break;
            }
        }
    }
}

#[test]
fn a_call_that_fails_takes_nothing_that_was_acknowledged() {
    let points = cases("RADIOSONDE_CRASH_POINTS", 500);
    let mut done = 0;
    let mut seed = 10_000;
    while done < points {
        seed += 1;
        let whole = SimFs::default();
        run(&whole, seed, &mut Story::default());
        for at in 0..whole.calls() {
            for (fault, calls) in [
                (Fault::Io, 1),
                (Fault::Io, 4),
                (Fault::Full, 1),
                (Fault::Full, 12),
                (Fault::Interrupted, 1),
                (Fault::Short, 2),
            ] {
                let fs = SimFs::default();
                let mut story = Story::default();
                fs.plan(Plan { fault, at, calls });
                run(&fs, seed, &mut story);
                let what = format!("seed {seed}, {fault:?} for {calls} at call {at}");
                if done % 2 == 0 {
                    fs.crash(seed * 1_000 + at as u64);
                } else {
                    fs.kill();
                }
                story.check(&mut reopen(&fs), &what);
                done += 1;
            }
            if done >= points {
                break;
            }
        }
    }
}

#[test]
fn histories_that_once_failed_hold() {
    // A refused group, of which the disk kept a part, was told as lost; so was one that a restart found torn, when other
    // segments came behind it.
    for (seed, fault, calls, at) in [(10_004, Fault::Io, 4, 171), (10_004, Fault::Io, 4, 189)] {
        for with_crash in [true, false] {
            let fs = SimFs::default();
            let mut story = Story::default();
            fs.plan(Plan { fault, at, calls });
            run(&fs, seed, &mut story);
            match with_crash {
                true => fs.crash(seed * 1_000 + at as u64),
                false => fs.kill(),
            }
            story.check(
                &mut reopen(&fs),
                &format!("seed {seed}, {fault:?} for {calls} at call {at}"),
            );
        }
    }
}

#[test]
fn a_kill_between_any_two_calls_brings_back_only_what_was_not_marked() {
    let fs = SimFs::default();
    let mut log = reopen(&fs);
    let drafts: Vec<Draft> = (0..50).map(|id| draft(id, 1)).collect();
    log.writer.commit(&drafts, true).unwrap();
    let (read, _) = drain(&mut log);
    for (count, (_, range)) in read.iter().enumerate() {
        log.writer.settle(&[*range]);
        log.writer.mark().unwrap();
        fs.kill();
        let mut second = reopen(&fs);
        assert_eq!(drain(&mut second).0.len(), 49 - count);
        drop(second);
    }
}

#[test]
fn interval_mode_moves_what_a_failed_sync_left_and_loses_nothing_of_a_killed_process() {
    for at in 0..40 {
        let fs = SimFs::default();
        let mut log = reopen(&fs);
        fs.plan(Plan {
            fault: Fault::Io,
            at,
            calls: 3,
        });
        let mut acknowledged = Vec::new();
        for id in 0..30 {
            if log.writer.commit(&[draft(id, 1)], false).is_ok() {
                acknowledged.push(id);
            }
            if id % 4 == 3 {
                let _ = log.writer.sync();
            }
        }
        log.writer.sync().unwrap();
        let live = drain(&mut log);
        assert_eq!(
            live.0.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            acknowledged,
            "at {at}"
        );
        drop(log);
        fs.crash(at as u64);
        let mut log = reopen(&fs);
        let ids: BTreeSet<u64> = drain(&mut log).0.iter().map(|(id, _)| *id).collect();
        assert!(acknowledged.iter().all(|id| ids.contains(id)), "at {at}: {ids:?}");
    }
}
