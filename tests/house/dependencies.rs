//! Cargo.lock: nothing below the versions that repaired a vulnerability, and one version of what must be one.

use std::collections::BTreeMap;
use std::fs;

/// Lowest version allowed, where the crate is there at all (reliability contract, section 10). More than one: a floor
/// for each compatible line.
const FLOORS: &[(&str, &[[u64; 3]])] = &[
    ("h2", &[[0, 4, 16]]),
    ("tonic", &[[0, 14, 3]]),
    ("rustls", &[[0, 23, 18]]),
    ("rustls-webpki", &[[0, 103, 13]]),
    ("bytes", &[[1, 11, 1]]),
    ("aws-lc-sys", &[[0, 39, 0]]),
    ("memmap2", &[[0, 9, 11]]),
    ("lz4_flex", &[[0, 11, 6], [0, 12, 1], [0, 13, 0], [0, 14, 0]]),
    ("quick-xml", &[[0, 41, 0]]),
    ("protobuf", &[[3, 7, 2]]),
    ("time", &[[0, 3, 47]]),
    ("tracing-subscriber", &[[0, 3, 20]]),
    ("tokio", &[[1, 44, 2]]),
];

/// One version each: two of them are two pools, two TLS stacks, two sets of types that do not fit.
const SINGLE: &[&str] = &[
    "axum",
    "h2",
    "hyper",
    "opentelemetry",
    "opentelemetry_sdk",
    "prost",
    "rustls",
    "tonic",
];

/// Not used at all.
const ABSENT: &[&str] = &[
    "openssl",
    "openssl-sys",
    "rkyv",
    "rocksdb",
    "serde_yaml",
    "serde_yml",
    "sled",
    "native-tls",
];

#[test]
fn nothing_is_below_its_floor() {
    let mut below = Vec::new();
    for (name, floors) in FLOORS {
        for version in packages().get(*name).into_iter().flatten() {
            if !floors.iter().any(|floor| meets(*version, *floor, floors.len() > 1)) {
                below.push(format!("{name} {version:?}, floor {floors:?}"));
            }
        }
    }
    assert!(below.is_empty(), "{below:?}");
}

#[test]
fn what_must_be_one_version_is_one() {
    let packages = packages();
    for name in SINGLE {
        let versions = packages.get(*name).map_or(0, Vec::len);
        assert_eq!(versions, 1, "{name}: {:?}", packages.get(*name));
    }
    for version in packages
        .get("http")
        .into_iter()
        .flatten()
        .chain(packages.get("http-body").into_iter().flatten())
    {
        // The types crate of the AWS SDK still speaks the old ones; nothing serves or sends with them.
        assert!(matches!(version, [1, ..] | [0, 2, _] | [0, 4, _]), "{version:?}");
    }
}

#[test]
fn what_is_not_used_is_not_there() {
    let packages = packages();
    for name in ABSENT {
        assert!(!packages.contains_key(*name), "{name}");
    }
}

#[test]
fn the_lock_file_was_read() {
    assert!(packages().len() > 100);
    assert!(meets([0, 12, 1], [0, 12, 1], true));
    assert!(!meets([0, 12, 0], [0, 12, 1], true));
    assert!(!meets([0, 12, 5], [0, 11, 6], true));
    assert!(meets([1, 12, 0], [1, 11, 1], false));
}

/// At least the floor; with several floors, of the same compatible line.
fn meets(version: [u64; 3], floor: [u64; 3], same_line: bool) -> bool {
    version >= floor && (!same_line || version[..2] == floor[..2])
}

/// Name -> versions.
fn packages() -> BTreeMap<String, Vec<[u64; 3]>> {
    let lock = fs::read_to_string("Cargo.lock").unwrap();
    let mut packages: BTreeMap<String, Vec<[u64; 3]>> = BTreeMap::new();
    for block in lock.split("[[package]]").skip(1) {
        let field = |key: &str| {
            let line = block
                .lines()
                .find(|line| line.starts_with(&format!("{key} = ")))
                .unwrap();
            line.split('"').nth(1).unwrap().to_owned()
        };
        let version = field("version");
        let numbers = version.split(['-', '+']).next().unwrap();
        let mut parsed = [0; 3];
        for (slot, text) in parsed.iter_mut().zip(numbers.split('.')) {
            *slot = text.parse().unwrap();
        }
        packages.entry(field("name")).or_default().push(parsed);
    }
    packages
}
