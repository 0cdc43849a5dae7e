//! The log against a list in memory, power cuts at every call, faults at every call, and damage of every kind.

mod crashes;
mod damage;
mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{Draft, Range};
use super::{Opened, Read, open};
use crate::component::UnixNanos;
use crate::pdata::{Auth, Batch, BatchId, Origin, Signal};
use crate::queue::sim_fs::{Dice, SimFs};

/// Small, so that segments come and go.
const SEGMENT: u64 = 1500;

fn dir() -> PathBuf {
    PathBuf::from("/q")
}

fn reopen(fs: &SimFs) -> Opened {
    open(Arc::new(fs.clone()), &dir(), SEGMENT, false).unwrap()
}

/// A record of `items` items whose payload is its id again and again.
fn draft(id: u64, items: u32) -> Draft {
    let copies = 1 + (id % 23) as usize;
    let payload = id.to_le_bytes().repeat(copies);
    let mut batch = Batch::from_wire(Signal::Traces, payload.into(), items, Origin::internal());
    Draft::new(&mut batch, UnixNanos(id), BatchId(u128::from(id)))
}

/// The id of a record, after a look at all of it.
fn id_of(batch: &Batch) -> u64 {
    let bytes = batch.clone().into_bytes();
    let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let whole = id.to_le_bytes().repeat(1 + (id % 23) as usize);
    assert_eq!(bytes, whole, "the payload of {id} is not what was written");
    id
}

/// Everything that can be read now: ids with their places, and what is lost.
fn drain(opened: &mut Opened) -> (Vec<(u64, Range)>, Vec<Range>) {
    let (mut read, mut lost) = (Vec::new(), Vec::new());
    loop {
        match opened.reader.read_next().unwrap() {
            Read::Record(header, batch) => read.push((id_of(&batch), header.range())),
            Read::Lost(ranges) => lost.extend(ranges),
            Read::Nothing => return (read, lost),
        }
    }
}

fn segments(fs: &SimFs) -> Vec<PathBuf> {
    let files = fs.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.parent() == Some(Path::new("/q")) && path.extension().is_some_and(|e| e == "wal"))
        .collect()
}

#[test]
fn what_was_written_is_read_in_order_and_again_after_a_start() {
    let fs = SimFs::default();
    let mut log = reopen(&fs);
    for group in 0..20 {
        let drafts: Vec<Draft> = (0..3).map(|n| draft(group * 3 + n, 2)).collect();
        log.writer.commit(&drafts, true).unwrap();
    }
    let (read, lost) = drain(&mut log);
    assert_eq!(
        read.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        (0..60).collect::<Vec<_>>()
    );
    assert!(lost.is_empty());
    assert!(segments(&fs).len() > 5, "several segments: {:?}", segments(&fs));
    // The first ten and one in the middle are done with.
    let ranges: Vec<Range> = read.iter().map(|(_, range)| *range).collect();
    log.writer.settle(&ranges[..10]);
    log.writer.settle(&ranges[30..31]);
    log.writer.mark().unwrap();
    drop(log);
    let mut log = reopen(&fs);
    assert_eq!((log.waiting.records, log.waiting.items), (49, 98));
    let (read, lost) = drain(&mut log);
    let expected: Vec<u64> = (10..60).filter(|id| *id != 30).collect();
    assert_eq!(read.iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected);
    assert!(lost.is_empty());
    // Everything is done with: one segment is left at most.
    let ranges: Vec<Range> = read.iter().map(|(_, range)| *range).collect();
    log.writer.settle(&ranges);
    log.writer.close().unwrap();
    assert_eq!(segments(&fs), [] as [PathBuf; 0]);
    drop(log);
    let mut log = reopen(&fs);
    assert_eq!(log.waiting.records, 0);
    assert!(drain(&mut log).0.is_empty());
}

#[test]
fn the_identity_of_a_client_is_there_after_a_start() {
    let fs = SimFs::default();
    let mut log = reopen(&fs);
    let proven = Auth {
        attributes: vec![("subject".into(), "me".into()), ("authenticator".into(), "oidc".into())],
    };
    let origin = Origin {
        client: Some(([10, 0, 0, 1], 5).into()),
        metadata: vec![("x-tenant".into(), vec!["shop".into()])],
        auth: Some(proven.clone()),
        ..Origin::default()
    };
    let mut batch = Batch::from_wire(Signal::Traces, vec![1; 8].into(), 1, Arc::new(origin));
    let record = Draft::new(&mut batch, UnixNanos(1), BatchId(1));
    log.writer.commit(&[record], true).unwrap();
    drop(log);
    let mut log = reopen(&fs);
    let Read::Record(_, back) = log.reader.read_next().unwrap() else {
        panic!("the record is gone")
    };
    assert_eq!(back.origin().auth.as_ref(), Some(&proven));
    assert_eq!(&*back.origin().metadata_values("x-tenant")[0], "shop");
}

#[test]
fn a_second_writer_is_refused() {
    let fs = SimFs::default();
    let _first = reopen(&fs);
    let second = open(Arc::new(fs.clone()), &dir(), SEGMENT, false);
    assert!(second.is_err_and(|error| error.to_string().contains("in use")));
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room_and_settling_needs_none() {
    let fs = SimFs::default();
    let mut log = reopen(&fs);
    for id in 0..20 {
        log.writer.commit(&[draft(id, 1)], true).unwrap();
    }
    log.writer.mark().unwrap();
    fs.holds(Some(0));
    let mut refused = 0;
    for id in 20..60 {
        refused += usize::from(log.writer.commit(&[draft(id, 1)], true).is_err());
    }
    assert!(refused > 30, "{refused}");
    let (read, lost) = drain(&mut log);
    assert_eq!(read.len(), 60 - refused);
    assert!(lost.is_empty());
    for (_, range) in &read {
        log.writer.settle(&[*range]);
        log.writer.mark().unwrap();
    }
    assert!(log.writer.remove_passed().unwrap() > 0, "room is made without room");
    fs.heal();
    log.writer.commit(&[draft(100, 1)], true).unwrap();
    assert_eq!(drain(&mut log).0[0].0, 100);
    drop(log);
    let mut log = reopen(&fs);
    let (read, lost) = drain(&mut log);
    assert_eq!(read.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [100]);
    assert!(lost.is_empty(), "refused records are no loss: {lost:?}");
    assert_eq!(log.waiting.items, 1);
}

#[test]
fn one_sync_for_a_group() {
    let fs = SimFs::default();
    let mut log = open(Arc::new(fs.clone()), &dir(), 1 << 20, false).unwrap();
    log.writer.commit(&[draft(0, 1)], true).unwrap();
    let before = fs.syncs();
    let group: Vec<Draft> = (1..500).map(|id| draft(id, 1)).collect();
    log.writer.commit(&group, true).unwrap();
    assert_eq!(fs.syncs() - before, 1);
}

/// How many cases a test runs: a few in a normal run, as many as the variable says in the long one.
fn cases(variable: &str, few: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(few)
}

fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for index in (1..list.len()).rev() {
        list.swap(index, dice.below(index + 1));
    }
}
