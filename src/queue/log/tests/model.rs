//! Random histories against a plain list.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Commit(u8, bool),
    Read(u8),
    /// Settles the n-th of those that were read.
    Settle(u8),
    Mark,
    Sync,
    Remove,
    /// An orderly end and a new start.
    Restart,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..6, any::<bool>()).prop_map(|(count, sync)| Step::Commit(count, sync)),
        3 => (1u8..9).prop_map(Step::Read),
        4 => any::<u8>().prop_map(Step::Settle),
        2 => Just(Step::Mark),
        1 => Just(Step::Sync),
        1 => Just(Step::Remove),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_log_holds_what_a_list_would(steps in proptest::collection::vec(step(), 1..80)) {
        let fs = SimFs::default();
        let mut log = reopen(&fs);
        let mut next_id = 0u64;
        // Not read in this life, and read and not settled.
        let mut unread: VecDeque<u64> = VecDeque::new();
        let mut open: Vec<(u64, Range)> = Vec::new();
        let mut unmarked: Vec<u64> = Vec::new();
        // Settled in a life that was cut short: they may come again.
        let mut uncertain: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Commit(count, sync) => {
                    let ids = next_id..next_id + u64::from(count);
                    next_id = ids.end;
                    let drafts: Vec<Draft> = ids.clone().map(|id| draft(id, 1)).collect();
                    log.writer.commit(&drafts, sync).unwrap();
                    unread.extend(ids);
                }
                Step::Read(count) => for _ in 0..count {
                    match log.reader.read_next().unwrap() {
                        Read::Record(header, batch) => {
                            let id = id_of(&batch);
                            // What was settled and not marked may come again after a kill.
                            while unread.front().is_some_and(|front| *front != id && uncertain.contains(front)) {
                                unread.pop_front();
                            }
                            prop_assert_eq!(unread.pop_front(), Some(id));
                            uncertain.retain(|uncertain| *uncertain != id);
                            open.push((id, header.range()));
                        }
                        Read::Lost(lost) => prop_assert!(false, "{lost:?}"),
                        Read::Nothing => {
                            prop_assert!(unread.iter().all(|id| uncertain.contains(id)), "{:?}", unread);
                            unread.clear();
                        }
                    }
                },
                Step::Settle(which) if !open.is_empty() => {
                    let (id, range) = open.swap_remove(usize::from(which) % open.len());
                    log.writer.settle(&[range]);
                    unmarked.push(id);
                }
                Step::Settle(_) => {}
                Step::Mark => { log.writer.mark().unwrap(); unmarked.clear(); }
                Step::Sync => log.writer.sync().unwrap(),
                Step::Remove => drop(log.writer.remove_passed().unwrap()),
                Step::Restart | Step::Kill => {
                    if matches!(step, Step::Restart) {
                        log.writer.close().unwrap();
                        unmarked.clear();
                    }
                    drop(log);
                    fs.kill();
                    log = reopen(&fs);
                    uncertain.append(&mut unmarked);
                    let open = open.drain(..).map(|(id, _)| id);
                    let mut all: Vec<u64> = unread.drain(..).chain(open).chain(uncertain.iter().copied()).collect();
                    all.sort_unstable();
                    all.dedup();
                    unread.extend(all);
                }
            }
        }
    }
}
