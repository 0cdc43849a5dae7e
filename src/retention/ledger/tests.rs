//! The ledger on a simulated disk: what is sealed, torn, delivered twice, removed.

use super::*;
use crate::component::UnixNanos;
use crate::queue::sim_fs::SimFs;
use crate::retention::archive::TraceId;

const TODAY: Day = Day(20_000);

fn ledger(fs: &SimFs) -> Ledger {
    Ledger::open(Arc::new(fs.clone()), Path::new("/ledger"), &["awss3/a", "otlp"]).unwrap()
}

fn id(number: u64) -> TraceId {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    TraceId(id)
}

fn row(number: u64, xor: u64) -> (Day, Row) {
    let row = Row {
        key: key_of(id(number)),
        mark: Mark::default(),
        xor,
    };
    (TODAY, row)
}

fn found(ledger: &Ledger, archive: usize, number: u64) -> Noted {
    let mut lookup = ledger.lookup(archive, [TODAY].into_iter());
    lookup.find(key_of(id(number)))
}

fn xors(noted: Noted) -> Vec<u64> {
    match noted {
        Noted::Copy { xors, .. } => xors.to_vec(),
        Noted::Nothing => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_sealed_is_found_and_nothing_else() {
    let fs = SimFs::default();
    let ledger = ledger(&fs);
    ledger.add(0, (0..10_000).map(|number| row(number * 2, number + 1)));
    ledger.seal(0, TODAY, false).unwrap();
    let mut keys: Vec<(u64, u64)> = (0..20_000).map(|number| (key_of(id(number)), number)).collect();
    keys.sort_unstable();
    let mut lookup = ledger.lookup(0, [TODAY].into_iter());
    for (key, number) in keys {
        let wanted = if number % 2 == 0 {
            vec![number / 2 + 1]
        } else {
            Vec::new()
        };
        assert_eq!(xors(lookup.find(key)), wanted, "{number}");
        // The same question again.
        assert_eq!(xors(lookup.find(key)), wanted, "{number}");
    }
    assert_eq!(xors(found(&ledger, 1, 2)), [0; 0], "another archive");
}

#[test]
fn blocks_between_two_questions_are_not_read() {
    let fs = SimFs::default();
    let ledger = ledger(&fs);
    ledger.add(0, (0..100_000).map(|number| row(number, number + 1)));
    ledger.seal(0, TODAY, false).unwrap();
    let mut keys: Vec<(u64, u64)> = (0..100_000).map(|number| (key_of(id(number)), number)).collect();
    keys.sort_unstable();
    for step in [1, 3, 100, 5_000, 30_000] {
        let mut lookup = ledger.lookup(0, [TODAY].into_iter());
        let before = fs.calls();
        for (key, number) in keys.iter().step_by(step) {
            assert_eq!(xors(lookup.find(key - 256)), [0; 0]);
            assert_eq!(xors(lookup.find(*key)), [number + 1]);
        }
        assert_eq!(lookup.find(u64::MAX), Noted::Nothing);
        let calls = fs.calls() - before;
        assert!(
            calls < 120,
            "{calls} reads of {} blocks by steps of {step}",
            100_000 / 4_096
        );
    }
}

#[test]
fn deliveries_of_a_trace_stand_side_by_side_and_the_same_one_counts_once() {
    let fs = SimFs::default();
    let first = ledger(&fs);
    first.add(0, [row(1, 4), row(1, 2), row(1, 4)]);
    first.seal(0, TODAY, false).unwrap();
    drop(first);
    // Another process, the same delivery again, and a mark.
    let ledger = ledger(&fs);
    let mark = Row {
        xor: 0,
        mark: Mark::verified(3),
        ..row(1, 0).1
    };
    ledger.add(0, [row(1, 2), (TODAY, mark), row(2, 9)]);
    ledger.seal(0, TODAY, false).unwrap();
    let Noted::Copy { xors, mark } = found(&ledger, 0, 1) else {
        panic!("nothing")
    };
    assert_eq!((xors.to_vec(), mark.revision()), (vec![2, 4], Some(3)));
    // Settled: one row a trace.
    ledger.seal(0, TODAY, true).unwrap();
    let Noted::Copy { xors, mark } = found(&ledger, 0, 1) else {
        panic!("nothing")
    };
    assert_eq!((xors.to_vec(), mark.revision()), (vec![6], Some(3)));
    let files = fs.files();
    assert_eq!(
        files.len(),
        1,
        "{:?}",
        files.iter().map(|file| &file.0).collect::<Vec<_>>()
    );
}

#[test]
fn a_mark_alone_is_no_copy() {
    let fs = SimFs::default();
    let ledger = ledger(&fs);
    let mark = Row {
        mark: Mark::OPEN,
        ..row(5, 0).1
    };
    ledger.add(0, [(TODAY, mark)]);
    ledger.seal(0, TODAY, false).unwrap();
    let noted = found(&ledger, 0, 5);
    assert!(matches!(noted, Noted::Copy { ref xors, .. } if xors.is_empty()) || noted == Noted::Nothing);
    assert_eq!(xors(noted), [0; 0]);
}

#[test]
fn a_torn_end_is_cut_and_counted_and_what_stands_before_it_is_kept() {
    let fs = SimFs::default();
    let first = ledger(&fs);
    first.add(0, [row(1, 1)]);
    first.flush().unwrap();
    first.add(0, [row(2, 2), row(3, 3)]);
    first.flush().unwrap();
    let (path, content) = fs.files().remove(0);
    drop(first);
    for cut in 1..=47 {
        fs.damage(&path, |bytes| {
            *bytes = content.clone();
            bytes.truncate(content.len() - cut);
        });
        let reader = ledger(&fs);
        let scratch = Path::new("/scratch");
        let mut lookup = reader.lookup_beside(0, [TODAY].into_iter(), scratch);
        assert_eq!(xors(lookup.find(key_of(id(1)))), [1], "{cut}");
        assert!(reader.tally.torn.load(Ordering::Relaxed) > 0, "{cut}");
        let _ = fs.remove(&scratch.join(format!("0-{TODAY}.rows")));
    }
}

#[test]
fn a_damaged_sorted_file_is_told_and_proves_nothing() {
    let fs = SimFs::default();
    let ledger = ledger(&fs);
    ledger.add(0, (0..100).map(|number| row(number, number + 1)));
    ledger.seal(0, TODAY, false).unwrap();
    let (path, content) = fs.files().remove(0);
    for place in [3, 20, 40, 60, content.len() - 3] {
        fs.damage(&path, |bytes| {
            *bytes = content.clone();
            bytes[place] ^= 0x10;
        });
        let mut lookup = ledger.lookup(0, [TODAY].into_iter());
        assert!(matches!(lookup.find(u64::MAX), Noted::Unreadable(_)), "{place}");
        ledger.add(0, [row(1_000, 1)]);
        ledger.seal(0, TODAY, false).unwrap_err();
        assert_eq!(fs.files().iter().filter(|file| file.0 == path).count(), 1);
    }
    fs.damage(&path, |bytes| bytes.truncate(content.len() - 16));
    let mut lookup = ledger.lookup(0, [TODAY].into_iter());
    assert!(
        matches!(lookup.find(u64::MAX), Noted::Unreadable(_)),
        "its end is missing"
    );
}

#[test]
fn a_kill_anywhere_while_sealing_loses_no_row_and_counts_none_twice() {
    for calls in 0..60 {
        let fs = SimFs::default();
        let first = ledger(&fs);
        first.add(0, [row(1, 1), row(2, 2)]);
        first.seal(0, TODAY, false).unwrap();
        first.add(0, [row(1, 4), row(3, 8)]);
        first.flush().unwrap();
        fs.fails_from(calls, crate::queue::sim_fs::Fault::Io);
        let sealed = first.seal(0, TODAY, true).is_ok();
        fs.heal();
        drop(first);
        let second = ledger(&fs);
        second.seal(0, TODAY, true).unwrap();
        for (number, wanted) in [(1, 5), (2, 2), (3, 8)] {
            assert_eq!(
                xors(found(&second, 0, number)),
                [wanted],
                "after {calls} calls, sealed {sealed}"
            );
        }
    }
}

#[test]
fn a_disk_that_refuses_is_waited_for_and_what_it_does_not_take_is_bounded() {
    let fs = SimFs::default();
    let ledger = ledger(&fs);
    fs.fails_from(0, crate::queue::sim_fs::Fault::Io);
    ledger.add(0, [row(1, 1)]);
    ledger.flush().unwrap_err();
    assert_eq!(ledger.waiting(), Row::BYTES);
    fs.heal();
    ledger.seal(0, TODAY, false).unwrap();
    assert_eq!(xors(found(&ledger, 0, 1)), [1]);
    let rows = MOST_WAITING / Row::BYTES + 10;
    fs.fails_from(0, crate::queue::sim_fs::Fault::Io);
    ledger.add(0, (0..rows as u64).map(|number| row(number, 1)));
    ledger.flush().unwrap_err();
    assert_eq!(ledger.waiting(), MOST_WAITING);
    assert_eq!(ledger.tally.given_up.load(Ordering::Relaxed), 10);
}

#[test]
fn old_days_are_removed() {
    let fs = SimFs::default();
    let ledger = ledger(&fs);
    for day in [10, 11, 12] {
        ledger.add(0, [(Day(day), row(1, 1).1)]);
        ledger.seal(0, Day(day), false).unwrap();
        ledger.add(1, [(Day(day), row(1, 1).1)]);
    }
    ledger.flush().unwrap();
    assert_eq!(ledger.remove_before(Day(12)).unwrap(), 4);
    assert_eq!(fs.files().len(), 2);
    assert!(ledger.bytes().unwrap() > 0);
}

#[test]
fn folders_have_names_that_no_other_archive_has() {
    assert_eq!(folder_name("awss3"), "awss3");
    let (one, other) = (folder_name("awss3/a"), folder_name("awss3_a"));
    assert!(one.starts_with("awss3_a-") && one != other, "{one} {other}");
    assert_ne!(folder_name(".."), "..");
    assert_eq!(Day::of(UnixNanos::from_seconds(86_400 * 20_000)), TODAY);
}

#[test]
fn more_than_a_run_is_sorted_by_files() {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::default());
    let mut sorter = Sorter::with_runs_of(&fs, PathBuf::from("/x"), 100);
    for number in 0..1_234u64 {
        sorter
            .push(row(number.wrapping_mul(0x9E37_79B9) % 1_234, number).1)
            .unwrap();
    }
    let mut merge = sorter.merged(Vec::new()).unwrap();
    let mut last = (0, 0);
    let mut count = 0;
    while let Some(row) = merge.next().unwrap() {
        assert!(row.order() >= last);
        last = row.order();
        count += 1;
    }
    assert_eq!(count, 1_234);
    drop(merge);
    assert!(fs.list(Path::new("/")).unwrap().is_empty());
}
