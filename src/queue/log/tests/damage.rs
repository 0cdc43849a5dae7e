//! Files that are not as they were written: a start always succeeds, only what was hit is lost, and all of it is told.
//!
//! `RADIOSONDE_DAMAGE_SEEDS=10000 cargo test --lib queue::log` runs the long form.

use std::collections::BTreeSet;

use super::*;

/// 120 records, one item each, closed in order or killed.
fn filled(seed: u64) -> SimFs {
    let mut dice = Dice(seed);
    let fs = SimFs::default();
    let mut log = reopen(&fs);
    let mut id = 0;
    while id < 120 {
        let group: Vec<Draft> = (id..(id + 1 + dice.below(3) as u64).min(120))
            .map(|id| draft(id, 1))
            .collect();
        id += group.len() as u64;
        log.writer.commit(&group, true).unwrap();
        log.writer.mark().unwrap();
    }
    match dice.below(2) {
        0 => log.writer.close().unwrap(),
        _ => fs.kill(),
    }
    fs
}

/// Each record was read, or is told as lost. Gives what was lost.
fn check(fs: &SimFs, what: &str) -> u64 {
    let mut log = reopen(fs);
    assert_eq!(log.waiting.items, 120, "{what}");
    let (read, lost) = drain(&mut log);
    let ids: BTreeSet<u64> = read.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), read.len(), "{what}: twice");
    let lost_items: u64 = lost.iter().map(|range| range.size().items).sum();
    assert_eq!(ids.len() as u64 + lost_items, 120, "{what}: read and lost are all");
    for range in &lost {
        for id in range.from.records..range.to.records {
            assert!(!ids.contains(&id), "{what}: {id} was read and told as lost");
        }
    }
    // All of it is settled: the log is empty, the damaged files are kept aside, and it goes on.
    log.writer.settle(&lost);
    for (_, range) in &read {
        log.writer.settle(&[*range]);
    }
    log.writer.commit(&[draft(500, 1)], true).unwrap();
    let (read, lost) = drain(&mut log);
    assert_eq!((read.len(), read[0].0, lost), (1, 500, vec![]), "{what}: goes on");
    log.writer.settle(&[read[0].1]);
    log.writer.close().unwrap();
    assert_eq!(segments(fs), [] as [PathBuf; 0], "{what}: everything is settled");
    drop(log);
    let mut log = reopen(fs);
    assert_eq!((log.waiting.records, drain(&mut log).0.len()), (0, 0), "{what}");
    lost_items
}

fn pick(fs: &SimFs, dice: &mut Dice) -> PathBuf {
    let all = segments(fs);
    all[dice.below(all.len())].clone()
}

#[test]
fn damage_of_every_kind_costs_only_what_it_hit() {
    for seed in 0..cases("RADIOSONDE_DAMAGE_SEEDS", 150) as u64 {
        let fs = filled(seed);
        let mut dice = Dice(seed ^ 0xdead);
        let mut what = format!("seed {seed}");
        for _ in 0..1 + dice.below(3) {
            let path = pick(&fs, &mut dice);
            let kind = dice.below(7);
            what.push_str(&format!(", kind {kind} of {}", path.display()));
            match kind {
                0 => fs.damage(&path, |bytes| {
                    let at = dice.below(bytes.len());
                    bytes[at] ^= 1 << dice.below(8);
                }),
                1 => fs.damage(&path, |bytes| bytes.truncate(dice.below(bytes.len() + 1))),
                2 => fs.damage(&path, |bytes| {
                    let from = dice.below(bytes.len());
                    let to = (from + dice.below(600)).min(bytes.len());
                    bytes[from..to].fill(0);
                }),
                3 => fs.damage(&path, |bytes| {
                    let to = 100.min(bytes.len());
                    bytes[..to].fill(0);
                }),
                4 => fs.lose(&path),
                5 => fs.damage(&path, |bytes| {
                    // A range is there twice.
                    let from = dice.below(bytes.len());
                    let copy = bytes[from..(from + 400).min(bytes.len())].to_vec();
                    let at = dice.below(bytes.len() + 1);
                    bytes.splice(at..at, copy);
                }),
                _ => fs.damage(&path, |bytes| {
                    for _ in 0..20 {
                        let at = dice.below(bytes.len());
                        bytes[at] = dice.roll() as u8;
                    }
                }),
            }
            if segments(&fs).is_empty() {
                break;
            }
        }
        check(&fs, &what);
    }
}

#[test]
fn one_flipped_bit_costs_one_record_and_the_file_is_kept() {
    let fs = filled(3);
    let path = segments(&fs)[2].clone();
    // In the payload of some record behind the head.
    fs.damage(&path, |bytes| bytes[64 + 88 + 30] ^= 1);
    assert_eq!(check(&fs, "a bit"), 1);
    let kept: Vec<PathBuf> = fs
        .files()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.starts_with("/q/quarantine"))
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn undamaged_logs_lose_nothing_and_leave_nothing_in_quarantine() {
    for seed in 0..20 {
        let fs = filled(seed);
        assert_eq!(check(&fs, "undamaged"), 0);
        assert!(
            !fs.files().iter().any(|(path, _)| path.starts_with("/q/quarantine")),
            "seed {seed}"
        );
    }
}

#[test]
fn foreign_and_duplicate_files_and_those_of_a_later_version_are_no_obstacle() {
    let fs = filled(5);
    let all = segments(&fs);
    let content = |path: &PathBuf| fs.files().into_iter().find(|(name, _)| name == path).unwrap().1;
    // A copy under the next number, one under the same number, and things that are none of ours.
    fs.put(Path::new("/q/00000000000000ff-0123456789abcdef.wal"), content(&all[0]));
    let first = all[0].file_name().unwrap().to_str().unwrap();
    fs.put(
        &Path::new("/q").join(format!("{}-ffffffffffffffff.wal", &first[..16])),
        content(&all[0]),
    );
    for name in [
        "README",
        "x.wal",
        "0-0.wal",
        "zzzzzzzzzzzzzzzz-zzzzzzzzzzzzzzzz.wal",
        "cursor.new",
    ] {
        fs.put(&Path::new("/q").join(name), b"foreign".to_vec());
    }
    let mut future = crate::queue::log::record::encode_head(7, crate::queue::log::Totals::default());
    future[8..12].copy_from_slice(&9u32.to_le_bytes());
    let checksum = crc32c::crc32c(&future[..60]);
    future[60..].copy_from_slice(&checksum.to_le_bytes());
    fs.put(Path::new("/q/0000000000000fff-0000000000000007.wal"), future);
    let mut log = reopen(&fs);
    assert_eq!(log.put_aside.len(), 2, "{:?}", log.put_aside);
    assert_eq!(log.waiting.items, 120);
    let (read, lost) = drain(&mut log);
    assert_eq!((read.len(), lost), (120, vec![]));
}

#[test]
fn a_lost_or_damaged_cursor_costs_duplicates_and_a_cursor_ahead_of_the_data_is_believed() {
    let fs = filled(8);
    let mut log = reopen(&fs);
    let (read, _) = drain(&mut log);
    let ranges: Vec<Range> = read.iter().map(|(_, range)| *range).collect();
    log.writer.settle(&ranges[..3]);
    log.writer.snapshot().unwrap();
    drop(log);
    let cursor = Path::new("/q/cursor");
    let whole = fs.files().into_iter().find(|(path, _)| path == cursor).unwrap().1;
    for damage in 0..60 {
        fs.damage(cursor, |bytes| {
            *bytes = whole.clone();
            bytes[damage] ^= 0x10;
        });
        let mut log = reopen(&fs);
        assert_eq!(drain(&mut log).0.len(), 120, "byte {damage}");
    }
    fs.lose(cursor);
    assert_eq!(drain(&mut reopen(&fs)).0.len(), 120);

    // A cursor of a longer life of the same log.
    let mut log = reopen(&fs);
    let (read, _) = drain(&mut log);
    log.writer
        .settle(&read.iter().map(|(_, range)| *range).collect::<Vec<_>>());
    log.writer.commit(&[draft(200, 1)], true).unwrap();
    log.writer.snapshot().unwrap();
    drop(log);
    let ahead = fs.files().into_iter().find(|(path, _)| path == cursor).unwrap().1;
    let older = filled(8);
    older.put(cursor, ahead);
    let mut log = reopen(&older);
    let (read, lost) = drain(&mut log);
    assert_eq!(read.len(), 0);
    assert_eq!(lost.len(), 1, "the record that the cursor promises");
    log.writer.settle(&lost);
    log.writer.commit(&[draft(300, 1)], true).unwrap();
    assert_eq!(drain(&mut log).0[0].0, 300);
}

#[test]
fn any_bytes_for_a_segment_or_a_cursor_are_survived() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let fs = SimFs::default();
        let len = dice.below(3000);
        let mut bytes: Vec<u8> = (0..len).map(|_| dice.roll() as u8).collect();
        if dice.below(2) == 0 {
            // Magics everywhere.
            for at in (0..len.saturating_sub(4)).step_by(7) {
                bytes[at..at + 4].copy_from_slice(b"RWAL");
            }
        }
        fs.put(Path::new("/q/0000000000000001-0000000000000002.wal"), bytes.clone());
        fs.put(Path::new("/q/cursor"), bytes);
        let mut log = reopen(&fs);
        assert_eq!(drain(&mut log).0.len(), 0);
        log.writer.commit(&[draft(1, 1)], true).unwrap();
        assert_eq!(drain(&mut log).0.len(), 1);
    }
}
