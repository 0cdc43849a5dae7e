//! Runs every fuzz target over its corpus and over mutations of it, from a fixed seed. `RADIOSONDE_FUZZ_SECONDS` sets
//! how long each target is given (default: half a second).

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use radiosonde::pdata::{Batch, DoorLimits, Origin, Signal};

/// The files of a corpus folder, in order of their names.
fn files_of(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("a readable file"))
        .collect()
}

/// The readable requests of the JSON corpus as protobuf: seeds for the targets that read the wire.
fn wire_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for text in files_of("json") {
        for signal in Signal::ALL {
            let admitted = Batch::from_json(signal, &text, &DoorLimits::default(), Origin::internal());
            if let Ok(admitted) = admitted
                && admitted.batch.items() > 0
            {
                seeds.push(admitted.batch.into_bytes().to_vec());
            }
        }
    }
    assert!(seeds.len() >= 3, "the JSON corpus has a request of each signal");
    seeds
}

/// xorshift64*: the same run every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        match random.below(7) {
            _ if data.is_empty() => data.push(random.next() as u8),
            0 => data[at] = random.next() as u8,
            1 => data[at] ^= 1 << random.below(8),
            2 => data.truncate(at),
            3 => data.insert(at, [0, 1, 0x0a, 0x12, 0x7f, 0x80, 0xff][random.below(7)]),
            4 => {
                data.remove(at);
            }
            5 => {
                let end = (at + random.below(40)).min(data.len());
                let copy = data[at..end].to_vec();
                let to = random.below(data.len());
                data.splice(to..to, copy);
            }
            _ => data.extend_from_slice(&seeds[random.below(seeds.len())]),
        }
    }
    data
}

#[allow(clippy::disallowed_methods)] // How long to go on is a question of real time.
fn fuzz(name: &str, target: targets::Target) {
    let mut seeds = files_of(name);
    if name != "json" {
        seeds.extend(wire_seeds());
    }
    seeds.iter().for_each(|seed| target(seed));
    let seconds = std::env::var("RADIOSONDE_FUZZ_SECONDS").ok();
    let seconds: f64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let begin = Instant::now();
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    let mut runs = 0u64;
    while begin.elapsed() < Duration::from_secs_f64(seconds) {
        let data = mutate(&mut random, &seeds);
        let answer = std::panic::catch_unwind(|| target(&data));
        assert!(
            answer.is_ok(),
            "target {name}, run {runs}: add this to its corpus: {data:?}"
        );
        runs += 1;
    }
    assert!(runs > 0);
}

#[test]
fn every_corpus_folder_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.expect("a readable folder").file_name();
        assert!(targets::ALL.iter().any(|(target, _)| name == *target), "{name:?}");
    }
}

#[test]
fn no_target_fails_on_its_corpus_or_on_mutations_of_it() {
    for (name, target) in targets::ALL {
        fuzz(name, *target);
    }
}
