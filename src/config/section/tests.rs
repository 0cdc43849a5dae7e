use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Section;
use crate::config::types::{ByteSize, GoDuration, HeaderMap, Secret};

#[derive(Deserialize, Debug, PartialEq, Default, serde::Serialize)]
#[serde(default)]
struct Client {
    endpoint: String,
    timeout: GoDuration,
    limit: u16,
    headers: HeaderMap,
    token: Secret,
    mode: Mode,
    tls: Option<Tls>,
}

#[derive(Deserialize, Debug, PartialEq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Early,
    Export,
}

#[derive(Deserialize, Debug, PartialEq, Default, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
struct Tls {
    ca_file: String,
    insecure: bool,
    ciphers: Vec<String>,
}

#[derive(Deserialize, Debug, PartialEq, serde::Serialize)]
#[serde(default)]
struct Queue {
    queue_size: ByteSize,
    consumers: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            queue_size: ByteSize(1000),
            consumers: 10,
        }
    }
}

#[test]
fn two_groups_read_from_one_mapping_and_the_rest_is_unknown() {
    let section = Section::from_yaml("endpoint: localhost:4317\nqueue_size: 10MiB\nendpiont: x\n");
    let client: Client = section.read().unwrap();
    let queue: Queue = section.read().unwrap();
    assert_eq!(client.endpoint, "localhost:4317");
    assert_eq!(queue.queue_size, ByteSize(10 << 20));
    assert_eq!(queue.consumers, 10);
    assert_eq!(
        section.problems(),
        ["yaml:3:1: endpiont: unknown key; did you mean \"endpoint\"?"]
    );
}

#[test]
fn every_bad_value_is_reported_and_its_default_stands_in() {
    let text = "
endpoint: [a]
timeout: 5 days
limit: 70000
mode: exprot
tls:
  insecure: maybe
  ca_fil: x
  ca_file: ca.pem
";
    let section = Section::from_yaml(text);
    let client: Client = section.read().unwrap();
    assert_eq!(client.tls.unwrap().ca_file, "ca.pem");
    assert_eq!(client.mode, Mode::Early);
    assert_eq!(
        section.problems(),
        [
            "yaml:2:1: endpoint: expected a text, found a list",
            "yaml:3:10: timeout: \"5 days\" is not a duration: the unit is not known; units are ns, us, ms, s, m, h",
            "yaml:4:8: limit: 70000 is out of range; allowed: 0 to 65535",
            "yaml:5:7: mode: unknown value \"exprot\"; did you mean \"export\"?",
            "yaml:7:13: tls::insecure: expected true or false, found \"maybe\"",
            "yaml:8:3: tls::ca_fil: unknown key; did you mean \"ca_file\"?",
        ]
    );
}

#[test]
fn null_and_empty_sections_mean_defaults() {
    for text in ["", "{}", "~", "\"\"", "tls:", "limit: null"] {
        let section = Section::from_yaml(text);
        assert_eq!(section.read::<Client>(), Some(Client::default()), "{text}");
        assert!(section.problems().is_empty(), "{text}: {:?}", section.problems());
    }
    let section = Section::from_yaml("grpc:\nhttp: {}\n");
    assert!(section.take("grpc").unwrap().is_null());
    assert!(!section.take("http").unwrap().is_null());
    assert!(section.take("other").is_none());
    assert!(section.problems().is_empty());
}

#[test]
fn scalars_are_taken_in_the_collectors_ways() {
    #[derive(Deserialize, Default, serde::Serialize)]
    #[serde(default)]
    struct All {
        text: String,
        int: i64,
        float: f64,
        flag: bool,
        wait: GoDuration,
        list: Vec<String>,
        ports: Vec<u16>,
    }
    // (yaml, what is wrong with it)
    let table: [(&str, &[&str]); 22] = [
        ("text: abc", &[]),
        (
            "text: 42",
            &["warning: text: a text is expected; 42 is taken as it is written"],
        ),
        (
            "text: 007",
            &["warning: text: a text is expected; 007 is taken as it is written"],
        ),
        (
            "text: true",
            &["warning: text: a text is expected; true is taken as it is written"],
        ),
        (
            "text: 2026-11-20",
            &["warning: text: a text is expected; 2026-11-20 is taken as it is written"],
        ),
        ("text: '42'", &[]),
        ("int: 0x10", &[]),
        ("int: 0o10", &[]),
        ("int: 010", &["warning: int: 010 is octal and means 8"]),
        ("int: 1_000", &[]),
        ("int: 1e3", &[]),
        (
            "int: '5'",
            &["warning: int: a whole number is expected; the text \"5\" is taken as one"],
        ),
        (
            "int: 1.7",
            &["warning: int: a whole number is expected; 1.7 is cut to 1"],
        ),
        ("int: x", &["int: expected a whole number, found \"x\""]),
        ("float: 2", &[]),
        ("flag: TRUE", &[]),
        (
            "flag: 'true'",
            &["warning: flag: true or false is expected; the text \"true\" is taken as one"],
        ),
        ("flag: yes", &["flag: expected true or false, found \"yes\""]),
        (
            "wait: 5",
            &["warning: wait: a duration without a unit is in nanoseconds; write 5s if you mean seconds"],
        ),
        ("wait: 1h30m", &[]),
        ("list: a, b,c", &[]),
        ("ports: '1,2'", &[]),
    ];
    for (text, problems) in table {
        let section = Section::from_yaml(text);
        let all: All = section.read().unwrap();
        let found: Vec<String> = section
            .problems()
            .into_iter()
            .map(|line| line.splitn(4, ':').nth(3).unwrap().trim().to_string())
            .collect();
        assert_eq!(found, problems, "{text}");
        match text {
            "text: 007" => assert_eq!(all.text, "007"),
            "int: 0x10" => assert_eq!(all.int, 16),
            "int: 0o10" | "int: 010" => assert_eq!(all.int, 8),
            "int: 1_000" | "int: 1e3" => assert_eq!(all.int, 1000),
            "int: '5'" => assert_eq!(all.int, 5),
            "int: 1.7" => assert_eq!(all.int, 1),
            "float: 2" => assert_eq!(all.float, 2.0),
            "flag: TRUE" | "flag: 'true'" => assert!(all.flag),
            "wait: 5" => assert_eq!(all.wait.0, Duration::from_nanos(5)),
            "wait: 1h30m" => assert_eq!(all.wait.0, Duration::from_secs(5400)),
            "list: a, b,c" => assert_eq!(all.list, ["a", "b", "c"]),
            "ports: '1,2'" => assert_eq!(all.ports, [1, 2]),
            _ => {}
        }
    }
}

#[test]
fn headers_are_a_map_or_a_list_and_never_shown() {
    for text in [
        "headers: {authorization: s3cret}",
        "headers:\n- name: authorization\n  value: s3cret",
    ] {
        let section = Section::from_yaml(text);
        let client: Client = section.read().unwrap();
        assert_eq!(client.headers.0, [("authorization".to_string(), Secret::new("s3cret"))]);
        assert!(!format!("{client:?}").contains("s3cret"));
        assert_eq!(section.frozen.secret_spans().len(), 1, "{text}");
    }
    let section = Section::from_yaml("headers:\n  a: [s3cret]\ntoken: {s3cret: 1}\n");
    section.read::<Client>();
    let problems = section.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(!problems.concat().contains("s3cret"));
}

#[test]
fn a_missing_required_key_is_said_once_and_not_when_its_value_was_bad() {
    #[derive(Deserialize, serde::Serialize)]
    struct Strict {
        #[allow(dead_code)] // Only read.
        path: u32,
    }
    let section = Section::from_yaml("other: 1");
    assert!(section.read::<Strict>().is_none());
    assert_eq!(section.problems(), ["yaml:1:1: the required key \"path\" is missing"]);

    let section = Section::from_yaml("path: x");
    assert!(section.read::<Strict>().is_none());
    assert_eq!(
        section.problems(),
        ["yaml:1:7: path: expected a whole number, found \"x\""]
    );
}

#[test]
fn lists_of_sections_are_read_one_by_one() {
    let section = Section::from_yaml("rules:\n- endpoint: a\n- endpoint: b\n  colour: red\n");
    let rules = section.take("rules").unwrap();
    let read: Vec<Client> = rules.elements().iter().filter_map(Section::read).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].endpoint, "b");
    assert_eq!(section.problems().len(), 1);
    assert!(section.problems()[0].starts_with("yaml:4:3: rules::1::colour: unknown key"));
}

#[test]
fn errors_point_into_texts() {
    let section = Section::from_yaml("a: status == \nb: 'x > 1'\nc: |\n  one\n  two three\nd: \"x\\n\\ty\"\n");
    let map: BTreeMap<String, String> = section.read().unwrap();
    assert_eq!(map["c"], "one\ntwo three\n");
    section.error_in_text("a", 7, "operator?");
    section.error_in_text("b", 2, "greater?");
    section.error_in_text("c", 8, "three?");
    section.error_in_text("d", 2, "tab?");
    assert_eq!(
        section.problems(),
        [
            "yaml:1:11: a: operator?",
            "yaml:2:7: b: greater?",
            "yaml:5:7: c: three?",
            "yaml:6:4: d: tab? (at character 3 of the text)",
        ]
    );
}

#[test]
fn errors_find_the_deepest_key_there_is() {
    let section = Section::from_yaml("a:\n  b:\n  - c: 1\n");
    section.error_at("a::b::0::c", "here");
    section.error_at("a::b::0::d::e", "absent");
    section.warn_at("x", "nowhere");
    section.read::<BTreeMap<String, serde_json::Value>>();
    assert_eq!(
        section.problems(),
        [
            "yaml:1:1: warning: x: nowhere",
            "yaml:3:5: a::b::0::d::e: absent",
            "yaml:3:8: a::b::0::c: here",
        ]
    );
}

#[test]
fn untyped_values_keep_their_types() {
    let section = Section::from_yaml("a: 1\nb: '1'\nc: [true, ~, 1.5]\nd: 2026-11-20\ne: -3\n");
    let value: serde_json::Value = section.read().unwrap();
    let expected = serde_json::json!({"a": 1, "b": "1", "c": [true, null, 1.5], "d": "2026-11-20", "e": -3});
    assert_eq!(value, expected);
    assert!(section.problems().is_empty());
}

#[test]
fn a_scalar_where_a_map_should_be_is_an_error() {
    let section = Section::from_yaml("grpc: localhost:4317\n");
    let grpc = section.take("grpc").unwrap();
    assert!(grpc.read::<Client>().is_none());
    assert!(grpc.take("tls").is_none());
    assert_eq!(
        section.problems(),
        ["yaml:1:7: grpc: expected a map, found \"localhost:4317\""]
    );
}

#[test]
fn anchors_merge_keys_and_json_work() {
    let section =
        Section::from_yaml("base: &b {endpoint: a, limit: 1}\none:\n  <<: *b\n  limit: 2\n\"two\": {\"limit\": 3}\n");
    section.take("base");
    let one: Client = section.take("one").unwrap().read().unwrap();
    assert_eq!((one.endpoint.as_str(), one.limit), ("a", 2));
    let two: Client = section.take("two").unwrap().read().unwrap();
    assert_eq!(two.limit, 3);
}
