use proptest::prelude::*;

use super::*;
use crate::component::ComponentKind;
use crate::pdata::{Auth, Origin};
use crate::queue::sim_fs::{Fault, SimFs};
use crate::queue::testing::{ids, spans, spans_from};

fn context() -> BuildContext {
    let mut context = BuildContext::standalone(ComponentKind::Exporter, "otlp/backup");
    context.spill_dir = Some(PathBuf::from("/spill"));
    context
}

fn spill(fs: &SimFs) -> Spill {
    Spill::with_fs(&context(), Signal::Traces, Arc::new(fs.clone()))
}

fn records(spill: &Spill) -> Option<Recovery> {
    match spill.look().unwrap() {
        Found::Records(recovery) => Some(*recovery),
        Found::NotYet => None,
    }
}

/// Reads everything, answers for it, and gives the ids and the number of lost items.
fn drain(spill: &Spill) -> (Vec<u64>, u64) {
    let Some(mut recovery) = records(spill) else {
        return (Vec::new(), 0);
    };
    let mut found = Vec::new();
    while let Some(recovered) = recovery.next_record() {
        found.extend(ids(&recovered.batch));
        recovered.file.answered();
    }
    (found, recovery.take_lost())
}

#[test]
fn what_is_left_comes_back_in_order_with_its_origin_and_the_file_goes() {
    let fs = SimFs::default();
    let origin = Arc::new(Origin {
        client: Some(([10, 0, 0, 1], 5).into()),
        metadata: vec![("x-tenant".into(), vec!["a".into(), "b".into()])],
        auth: Some(Auth {
            attributes: vec![("subject".into(), "me".into())],
        }),
        ..Origin::default()
    });
    spill(&fs)
        .store(&[spans_from(0..2, origin.clone()), spans(2..5)], None)
        .unwrap();
    let spill = spill(&fs);
    let mut recovery = records(&spill).unwrap();
    let first = recovery.next_record().unwrap();
    let second = recovery.next_record().unwrap();
    assert!(recovery.next_record().is_none());
    assert_eq!((ids(&first.batch), ids(&second.batch)), (vec![0, 1], vec![2, 3, 4]));
    let back = first.batch.origin();
    assert_eq!(
        (&back.client, &back.metadata, &back.auth),
        (&origin.client, &origin.metadata, &origin.auth)
    );
    assert_eq!(recovery.take_lost(), 0);
    first.file.answered();
    assert_eq!(fs.files().len(), 1, "one record has no answer yet");
    second.file.answered();
    assert!(fs.files().is_empty(), "{:?}", fs.files());
}

#[test]
fn a_file_that_was_not_answered_for_is_sent_again() {
    let fs = SimFs::default();
    spill(&fs).store(&[spans(0..2)], None).unwrap();
    let recovered = records(&spill(&fs)).unwrap().next_record().unwrap();
    drop(recovered);
    assert_eq!(drain(&spill(&fs)).0, [0, 1]);
}

#[test]
fn one_reader_at_a_time() {
    let fs = SimFs::default();
    spill(&fs).store(&[spans(0..2)], None).unwrap();
    let reading = records(&spill(&fs)).unwrap();
    assert!(records(&spill(&fs)).is_none());
    drop(reading);
    assert!(records(&spill(&fs)).is_some());
}

#[test]
fn exporters_and_signals_do_not_read_each_others_files() {
    let fs = SimFs::default();
    spill(&fs).store(&[spans(0..2)], None).unwrap();
    let logs = Spill::with_fs(&context(), Signal::Logs, Arc::new(fs.clone()));
    assert!(records(&logs).is_none());
    let mut other = BuildContext::standalone(ComponentKind::Exporter, "otlp");
    other.spill_dir = context().spill_dir;
    assert!(records(&Spill::with_fs(&other, Signal::Traces, Arc::new(fs))).is_none());
}

#[test]
fn whatever_fails_the_store_says_so_and_leaves_nothing_or_everything() {
    let batches = [spans(0..2), spans(2..5)];
    let calls = {
        let fs = SimFs::default();
        spill(&fs).store(&batches, None).unwrap();
        fs.calls()
    };
    for call in 0..=calls {
        // Killed by nobody, or the power goes and leaves of what was not synced what it likes.
        for cut in [None, Some(1), Some(2), Some(3), Some(4)] {
            let fs = SimFs::default();
            let fault = if call % 2 == 0 { Fault::Full } else { Fault::Io };
            fs.fails_from(call, fault);
            let stored = spill(&fs).store(&batches, None);
            fs.heal();
            if let Some(seed) = cut {
                fs.crash(seed + 10 * call as u64);
            }
            let (found, lost) = drain(&spill(&fs));
            match stored {
                Ok(()) => assert_eq!((found, lost), ((0..5).collect(), 0), "call {call}"),
                // Counted as lost by the caller. It may be that the last sync failed and the removal too: then it is
                // sent all the same, never lost without being counted.
                Err(_) => assert!(found.is_empty() || found.len() == 5, "call {call}: {found:?}"),
            }
        }
    }
}

#[test]
fn a_disk_that_holds_less_takes_what_fits_and_the_rest_is_named() {
    let batches: Vec<Batch> = (0..20u64).map(|id| spans([id])).collect();
    let size = {
        let fs = SimFs::default();
        spill(&fs).store(&batches, None).unwrap();
        fs.files()[0].1.len()
    };
    let mut seen = std::collections::BTreeSet::new();
    for room in (0..size).step_by(size / 40) {
        let fs = SimFs::default();
        fs.holds(Some(room));
        let stored = spill(&fs).store(&batches, None).unwrap_err();
        let kept = stored.kept as u64;
        assert_eq!(
            drain(&spill(&fs)),
            ((0..kept).collect(), 0),
            "room for {room} of {size} bytes"
        );
        seen.insert(kept);
    }
    assert!(seen.len() > 15, "everything between nothing and nearly all: {seen:?}");
}

#[test]
fn what_an_earlier_run_left_stays_where_it_is_when_only_that_does_not_fit() {
    let fs = SimFs::default();
    spill(&fs).store(&[spans(0..50)], None).unwrap();
    let used = fs.files()[0].1.len();
    let first_run = spill(&fs);
    let mut recovery = records(&first_run).unwrap();
    fs.holds(Some(used + used / 2));
    first_run.store(&[spans([70])], Some(&mut recovery)).unwrap();
    drop(recovery);
    let (mut found, lost) = drain(&spill(&fs));
    found.sort_unstable();
    assert_eq!((found, lost), ((0..50).chain([70]).collect(), 0));
}

#[test]
fn a_recovery_that_was_not_finished_is_carried_over_whole() {
    let fs = SimFs::default();
    spill(&fs).store(&[spans([0]), spans([1]), spans([2])], None).unwrap();
    let first_run = spill(&fs);
    let mut recovery = records(&first_run).unwrap();
    let sent = recovery.next_record().unwrap();
    let unsent = recovery.next_record().unwrap();
    sent.file.answered();
    first_run
        .store(&[unsent.batch.clone(), spans([7])], Some(&mut recovery))
        .unwrap();
    unsent.file.answered();
    // The lock goes with the last record of the old file.
    drop((sent, unsent, recovery));
    assert_eq!(drain(&spill(&fs)).0, [1, 7, 2]);
    assert!(fs.files().is_empty());
}

#[test]
fn a_carry_over_that_fails_keeps_the_old_file() {
    let fs = SimFs::default();
    spill(&fs).store(&[spans([0]), spans([1])], None).unwrap();
    let mut recovery = records(&spill(&fs)).unwrap();
    fs.fails_from(2, Fault::Full);
    let stored = spill(&fs).store(&[], Some(&mut recovery));
    assert!(stored.is_ok(), "nothing is lost: it is where it was");
    fs.heal();
    drop(recovery);
    assert_eq!(drain(&spill(&fs)).0, [0, 1]);
}

#[test]
fn damaged_files_are_kept_in_quarantine_up_to_a_bound() {
    let fs = SimFs::default();
    for _ in 0..QUARANTINED + 3 {
        spill(&fs).store(&[spans(0..2)], None).unwrap();
    }
    for (path, _) in fs.files() {
        fs.damage(&path, |bytes| bytes[100] ^= 1);
    }
    let (found, lost) = drain(&spill(&fs));
    assert!(found.is_empty());
    assert_eq!(lost, 2 * (QUARANTINED as u64 + 3));
    let files = fs.files();
    assert_eq!(files.len(), QUARANTINED);
    assert!(files.iter().all(|(path, _)| path.starts_with("/spill/quarantine")));
}

#[derive(Clone, Debug)]
enum Damage {
    Flip { at: u16, bit: u8 },
    Zero { at: u16, len: u16 },
    Truncate { at: u16 },
    Remove { at: u16, len: u16 },
    Double { at: u16, len: u16 },
    Append { bytes: Vec<u8> },
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<u16>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (any::<u16>(), 1u16..300).prop_map(|(at, len)| Damage::Zero { at, len }),
        any::<u16>().prop_map(|at| Damage::Truncate { at }),
        (any::<u16>(), 1u16..300).prop_map(|(at, len)| Damage::Remove { at, len }),
        (any::<u16>(), 1u16..300).prop_map(|(at, len)| Damage::Double { at, len }),
        proptest::collection::vec(any::<u8>(), 1..100).prop_map(|bytes| Damage::Append { bytes }),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    let place = |at: u16| usize::from(at) % bytes.len().max(1);
    let range = |at: u16, len: u16| place(at)..(place(at) + usize::from(len)).min(bytes.len());
    match damage {
        _ if bytes.is_empty() => {}
        Damage::Flip { at, bit } => {
            let at = place(*at);
            bytes[at] ^= 1 << bit;
        }
        Damage::Zero { at, len } => {
            let range = range(*at, *len);
            bytes[range].fill(0);
        }
        Damage::Truncate { at } => bytes.truncate(place(*at)),
        Damage::Remove { at, len } => drop(bytes.drain(range(*at, *len))),
        Damage::Double { at, len } => {
            let range = range(*at, *len);
            let doubled = bytes[range.clone()].to_vec();
            let end = range.end;
            bytes.splice(end..end, doubled);
        }
        Damage::Append { bytes: more } => bytes.extend_from_slice(more),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_costs_only_what_it_hit_and_every_lost_item_is_counted(
        sizes in proptest::collection::vec(1u64..6, 1..8),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let fs = SimFs::default();
        let mut next_id = 0;
        let mut batches = Vec::new();
        for size in sizes {
            batches.push(spans(next_id..next_id + size));
            next_id += size;
        }
        spill(&fs).store(&batches, None).unwrap();
        let path = fs.files()[0].0.clone();
        let mut head_is_whole = false;
        fs.damage(&path, |bytes| {
            let head = bytes[..record::HEAD_LEN].to_vec();
            for damage in &damages {
                apply(damage, bytes);
            }
            head_is_whole = bytes.starts_with(&head);
        });
        let (found, lost) = drain(&spill(&fs));
        // Never twice, never something else, in order.
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", found);
        prop_assert!(found.iter().all(|id| *id < next_id));
        prop_assert!(found.len() as u64 + lost <= next_id);
        if head_is_whole {
            prop_assert_eq!(found.len() as u64 + lost, next_id);
        }
        prop_assert!(records(&spill(&fs)).is_none(), "the damaged file is out of the way");
    }

    #[test]
    fn any_bytes_at_all_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let fs = SimFs::default();
        spill(&fs).store(&[spans(0..1)], None).unwrap();
        let path = fs.files()[0].0.clone();
        fs.damage(&path, |content| *content = bytes);
        prop_assert_eq!(drain(&spill(&fs)), (vec![], 0));
    }
}

#[test]
fn a_body_behind_the_header_of_another_record_is_not_that_record() {
    let fs = SimFs::default();
    let batches = [spans(0..2), spans(2..4), spans(4..6)];
    spill(&fs).store(&batches, None).unwrap();
    let path = fs.files()[0].0.clone();
    fs.damage(&path, |bytes| {
        // The first body and the second header stand there twice: the second header then has the first body behind it.
        let record = (bytes.len() - record::HEAD_LEN) / batches.len();
        let from = record::HEAD_LEN + record::HEADER_LEN;
        apply(
            &Damage::Double {
                at: from as u16,
                len: record as u16,
            },
            bytes,
        );
    });
    assert_eq!(drain(&spill(&fs)), (vec![0, 1, 2, 3, 4, 5], 0));
}

#[test]
fn the_spill_directory_is_the_first_that_can_be_written_and_depends_on_the_uris() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().to_str().unwrap().to_owned();
    let file = temp.path().join("file");
    std::fs::write(&file, "").unwrap();
    let env = |name: &str| match name {
        "STATE_DIRECTORY" => Some(file.join("below").to_str().unwrap().to_owned()),
        "XDG_STATE_HOME" => Some(base.clone()),
        _ => None,
    };
    let one = spill_directory(&["file:a.yaml".to_owned()], env).unwrap();
    assert!(one.starts_with(temp.path().join("radiosonde/spill")), "{one:?}");
    assert!(!one.exists(), "nothing is made before it is needed");
    assert_eq!(spill_directory(&["file:a.yaml".to_owned()], env).unwrap(), one);
    assert_ne!(spill_directory(&["file:b.yaml".to_owned()], env).unwrap(), one);
    let split = ["file:a".to_owned(), ".yaml".to_owned()];
    assert_ne!(spill_directory(&split, env).unwrap(), one);
    assert_eq!(spill_directory(&[], |_| None), None);
}
