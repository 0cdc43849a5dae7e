use std::path::Path;

use super::*;
use crate::component::{Clock, SystemClock, UnixNanos};
use crate::queue::testing::spans;

fn plan(yaml: &str) -> (Option<FilePlan>, Vec<String>) {
    let section = Section::from_yaml(yaml);
    let plan = FileFactory.check(&section);
    assert!(plan.is_none_or(|plan| matches!(plan, Plan::Exporter(_))));
    let problems = section.problems();
    let section = Section::from_yaml(yaml);
    let rotation = section.take("rotation").map(|section| Rotation::read(&section));
    let config: Option<Config> = section.read();
    let plan = config.map(|config| FilePlan {
        compression: (config.compression.as_deref() == Some("zstd")).then_some(Compression::Zstd),
        config,
        rotation,
        delivery: Delivery::default(),
    });
    (plan, problems)
}

async fn write(yaml: &str, batches: Vec<Batch>) {
    let (plan, problems) = plan(yaml);
    assert_eq!(problems, Vec::<String>::new());
    let context = BuildContext::standalone(ComponentKind::Exporter, "file");
    let built = plan.unwrap().build(context).unwrap();
    for batch in batches {
        built.far_end.consume(batch).await.unwrap();
    }
    built.running.stop(Deadline::after(Duration::from_secs(5))).await;
}

/// Records behind four bytes of length.
fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_at_checked(4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        records.push(behind[..length].to_vec());
        rest = &behind[length..];
    }
    assert!(rest.is_empty());
    records
}

#[tokio::test]
async fn json_is_a_line_a_batch() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.json");
    write(&format!("path: {}", path.display()), vec![spans(0..2), spans(2..3)]).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    let spans = &first["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(spans.as_array().unwrap().len(), 2);
    assert_eq!(spans[1]["spanId"], "0000000000000001");
}

#[tokio::test]
async fn protobuf_stands_behind_its_length() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.bin");
    write(
        &format!("path: {}\nformat: proto", path.display()),
        vec![spans(0..2), spans(2..3)],
    )
    .await;
    let records = records(&std::fs::read(&path).unwrap());
    assert_eq!(records, [spans(0..2).into_bytes(), spans(2..3).into_bytes()]);
}

#[tokio::test]
async fn zstd_compresses_each_record_on_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.zst");
    let yaml = format!("path: {}\nformat: proto\ncompression: zstd", path.display());
    write(&yaml, vec![spans(0..100), spans(100..200)]).await;
    let records = records(&std::fs::read(&path).unwrap());
    assert_eq!(records.len(), 2);
    let mut plain = Vec::new();
    // Our own file of a known size: nothing to cap.
    std::io::Read::read_to_end(&mut zstd::Decoder::new(&records[1][..]).unwrap(), &mut plain).unwrap();
    assert_eq!(plain, spans(100..200).into_bytes());
}

#[tokio::test]
async fn an_old_file_is_replaced_unless_appended_to() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.json");
    let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
    for (yaml, expected) in [
        ("append: false", 1),
        ("append: false", 1),
        ("append: true", 2),
        ("rotation:", 3),
    ] {
        write(&format!("path: {}\n{yaml}", path.display()), vec![spans(0..1)]).await;
        assert_eq!(lines(), expected, "{yaml}");
    }
}

#[tokio::test]
async fn what_is_buffered_reaches_the_file_at_every_interval() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.json");
    let (plan, _) = plan(&format!("path: {}\nflush_interval: 10ms", path.display()));
    let context = BuildContext::standalone(ComponentKind::Exporter, "file");
    let built = plan.unwrap().build(context).unwrap();
    built.far_end.consume(spans(0..1)).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while std::fs::metadata(&path).unwrap().len() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "never flushed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    built.running.stop(Deadline::after(Duration::from_secs(5))).await;
}

struct Frozen(u64);

impl Clock for Frozen {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_seconds(self.0)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration)
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn rotation(max_backups: usize, max_days: u64) -> Rotation {
    Rotation {
        max_bytes: 10,
        max_backups,
        max_days,
    }
}

#[test]
fn a_file_that_would_grow_too_large_is_put_aside_and_the_oldest_go() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.json");
    std::fs::write(temp.path().join("out-of-scope.json"), "not ours").unwrap();
    let mut output = Output::open(
        path.clone(),
        true,
        Some(rotation(2, 0)),
        Arc::new(Frozen(1_700_000_000)),
    )
    .unwrap();
    for record in ["first\n", "second\n", "third\n", "fourth\n"] {
        output.write(record.as_bytes()).unwrap();
    }
    output.flush().unwrap();
    assert_eq!(
        names(temp.path()),
        [
            "out-2023-11-14T22-13-20.001.json",
            "out-2023-11-14T22-13-20.002.json",
            "out-of-scope.json",
            "out.json"
        ]
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "fourth\n");
}

#[test]
fn backups_older_than_their_days_go() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.json");
    for moment in [1_700_000_000u64, 1_700_100_000, 1_700_200_000] {
        let mut output = Output::open(path.clone(), true, Some(rotation(0, 1)), Arc::new(Frozen(moment))).unwrap();
        output.write(b"a record\n").unwrap();
        output.write(b"another one\n").unwrap();
    }
    let left = names(temp.path());
    assert!(!left.iter().any(|name| name.contains("2023-11-14")), "{left:?}");
    assert!(left.iter().any(|name| name.contains("2023-11-17")), "{left:?}");
}

#[test]
fn a_record_larger_than_the_bound_stands_alone() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("out.json");
    let mut output = Output::open(path.clone(), true, Some(rotation(5, 0)), Arc::new(Frozen(1))).unwrap();
    output.write(&[b'x'; 100]).unwrap();
    output.write(b"y").unwrap();
    output.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"y");
}

#[test]
fn what_is_refused_is_said_at_its_place() {
    for (yaml, text) in [
        ("{}", "`path`|must be set"),
        ("{path: a, group_by: {enabled: true}}", "`group_by` is not built yet"),
        ("{path: a, compression: gzip}", "`zstd`"),
        ("{path: a, append: true, rotation: {}}", "`rotation`"),
        ("{path: a, append: true, compression: zstd}", "`compression`"),
        ("{path: a, rotation: {localtime: true}}", "`localtime` is not built yet"),
        ("{path: a, flush_interval: 0s}", "greater than zero"),
    ] {
        let (_, problems) = plan(yaml);
        let found = text
            .split('|')
            .any(|text| problems.iter().any(|problem| problem.contains(text)));
        assert!(found, "{yaml}: {problems:?}");
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_stops_the_start_and_says_so() {
    let (plan, _) = plan("path: /no/such/directory/out.json");
    let context = BuildContext::standalone(ComponentKind::Exporter, "file");
    let error = plan.unwrap().build(context).err().unwrap();
    assert!(error.to_string().contains("/no/such/directory/out.json"), "{error}");
}
