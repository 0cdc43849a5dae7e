use super::*;
use crate::component::{SampleValue, with_state};
use std::os::unix::fs::PermissionsExt;

fn open_in(dir: &Path, registry: &Registry) -> Arc<dyn StateStore> {
    open(Some(dir), registry)
}

fn value_of(registry: &Registry, name: &str) -> f64 {
    let samples = registry.gather();
    let sample = samples.iter().find(|sample| sample.name == name).unwrap();
    match sample.value {
        SampleValue::Counter(count) => count as f64,
        SampleValue::Gauge(value) => value,
        SampleValue::Histogram { .. } => f64::NAN,
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    let store = open_in(dir.path(), &registry);
    assert!(store.is_durable());
    let changes = vec![
        StateChange::put("cursors", *b"a/1", *b"one"),
        StateChange::put("cursors", *b"a/2", *b"two"),
        StateChange::put("spend", *b"2026-11", *b"12"),
        StateChange::remove("cursors", *b"a/1"),
        StateChange::put("cursors", *b"b/1", *b"other"),
    ];
    with_state(&store, move |store| store.commit(changes)).await.unwrap();
    drop(store);
    let store = open_in(dir.path(), &registry);
    let mut seen = Vec::new();
    store
        .scan("cursors", b"a/", &mut |key, value| {
            seen.push((key.to_vec(), value.to_vec()));
            true
        })
        .unwrap();
    assert_eq!(seen, [(b"a/2".to_vec(), b"two".to_vec())]);
    assert_eq!(store.get("spend", b"2026-11").unwrap(), Some(b"12".to_vec()));
    assert_eq!(store.get("nothing", b"x").unwrap(), None);
    let file = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(value_of(&registry, "radiosonde_state_durable"), 1.0);
    assert_eq!(value_of(&registry, "radiosonde_state_quarantined_total"), 0.0);
    assert_eq!(value_of(&registry, "radiosonde_state_bytes"), file.len() as f64);
}

#[test]
fn a_foreign_file_is_kept_in_quarantine_and_a_new_one_started_and_only_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    for round in 0..5 {
        std::fs::write(dir.path().join(FILE_NAME), format!("not a database, round {round}")).unwrap();
        let store = open_in(dir.path(), &registry);
        assert!(store.is_durable());
        store.commit(vec![StateChange::put("a", *b"k", *b"v")]).unwrap();
        assert_eq!(store.get("a", b"k").unwrap(), Some(b"v".to_vec()));
    }
    assert_eq!(value_of(&registry, "radiosonde_state_quarantined_total"), 5.0);
    let kept: Vec<_> = std::fs::read_dir(dir.path().join("quarantine"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(kept.len(), 3);
    let newest = std::fs::read_to_string(dir.path().join("quarantine/state.redb.5")).unwrap();
    assert!(newest.ends_with("round 4"), "{newest}");
}

#[test]
fn a_file_of_another_program_or_a_later_version_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    let path = dir.path().join(FILE_NAME);
    let other = Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction
        .open_table(TableDefinition::<u64, u64>::new("theirs"))
        .unwrap()
        .insert(1, 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(other);
    drop(open_in(dir.path(), &registry));
    let later = Database::create(&path).unwrap();
    let transaction = later.begin_write().unwrap();
    transaction
        .open_table(ABOUT)
        .unwrap()
        .insert("version", VERSION + 1)
        .unwrap();
    transaction.commit().unwrap();
    drop(later);
    drop(open_in(dir.path(), &registry));
    assert_eq!(value_of(&registry, "radiosonde_state_quarantined_total"), 2.0);
}

/// Bits flipped and ranges zeroed or cut off all over the file: it opens, answers, or starts anew, and never panics
/// outwards.
#[test]
fn no_damage_keeps_the_process_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    let path = dir.path().join(FILE_NAME);
    let store = open_in(dir.path(), &registry);
    let many = (0..2_000u32).map(|n| StateChange::put("cursors", n.to_be_bytes(), [7u8; 40]));
    store.commit(many.collect()).unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let mut replaced = 0;
    for round in 0..24usize {
        let mut bytes = whole.clone();
        let at = (round * 7_919 * 13) % bytes.len();
        match round % 3 {
            0 => bytes[at] ^= 0x41,
            1 => {
                let end = (at + 4_096).min(bytes.len());
                bytes[at..end].fill(0);
            }
            _ => bytes.truncate(at),
        }
        std::fs::write(&path, &bytes).unwrap();
        let before = value_of(&registry, "radiosonde_state_quarantined_total");
        let store = open_in(dir.path(), &registry);
        assert!(store.is_durable(), "round {round}");
        let mut seen = 0;
        let _damage = store.scan("cursors", b"", &mut |_, value| {
            assert_eq!(value, [7u8; 40]);
            seen += 1;
            true
        });
        assert!(seen == 0 || seen == 2_000, "round {round}: {seen}");
        store.commit(vec![StateChange::put("cursors", *b"new", *b"v")]).unwrap();
        replaced += usize::from(value_of(&registry, "radiosonde_state_quarantined_total") > before);
    }
    assert!(replaced > 0, "some of the damage must be seen");
}

#[test]
fn damage_while_running_starts_anew_and_the_next_commit_holds() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    let path = dir.path().join(FILE_NAME);
    let store = open_in(dir.path(), &registry);
    // More than the cache holds, so that reading meets the disk.
    let many = (0..300u32).map(|n| StateChange::put("a", n.to_be_bytes(), vec![1u8; 32 << 10]));
    store.commit(many.collect()).unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xA5; (length - 8_192) as usize], 8_192).unwrap();
    let mut damaged = 0;
    for _ in 0..4 {
        damaged += usize::from(store.scan("a", b"", &mut |_, _| true).is_err());
    }
    assert!(damaged <= 1, "after the first the file is a new one");
    store.commit(vec![StateChange::put("a", *b"k", *b"v")]).unwrap();
    assert_eq!(store.get("a", b"k").unwrap(), Some(b"v".to_vec()));
}

#[test]
fn where_no_file_can_be_made_the_state_is_in_memory_and_the_gauge_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    let store = open(Some(&dir.path().join("not/there")), &registry);
    assert!(!store.is_durable());
    store.commit(vec![StateChange::put("a", *b"k", *b"v")]).unwrap();
    assert_eq!(store.get("a", b"k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(value_of(&registry, "radiosonde_state_durable"), 0.0);
}
