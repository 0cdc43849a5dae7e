use super::config::Config;
use super::*;

fn check(yaml: &str) -> (Option<Config>, Vec<String>) {
    let section = Section::from_yaml(yaml);
    let config = Config::check(&section);
    (config, section.problems())
}

#[test]
fn the_keys_of_the_collector_are_read() {
    let (config, problems) = check(
        "s3uploader: {region: eu-west-1, s3_bucket: b, s3_base_prefix: /a/, s3_prefix: traces, s3_partition_format: \"%Y\", \
         file_prefix: x-, endpoint: \"localhost:9000\", s3_force_path_style: true, disable_ssl: true, compression: gzip, \
         role_arn: \"arn:aws:iam::123456789012:role/r\"}\nmarshaler: otlp_proto\ntimeout: 7s\nsending_queue: {queue_size: 5}",
    );
    assert_eq!(problems, [] as [String; 0]);
    let config = config.unwrap();
    assert_eq!(config.place.name(), "s3://b/a/traces");
    let Root::Bucket(bucket) = &config.place.root else {
        panic!()
    };
    assert_eq!(bucket.endpoint, "http://localhost:9000");
    assert!(bucket.path_style && bucket.place.region == "eu-west-1");
    assert_eq!(config.layout.compression.ending(), ".gz");
    assert_eq!(config.layout.marshaler.name(), "otlp_proto");
    assert_eq!(config.delivery.queue.unwrap().queue_size, 5);
}

#[test]
fn what_cannot_work_or_is_not_built_is_refused_where_it_stands() {
    for (yaml, words) in [
        ("{}", "s3_bucket"),
        ("s3uploader: {s3_bucket: b, acl: private}", "`acl` is not built"),
        (
            "s3uploader: {s3_bucket: b, storage_class: GLACIER}",
            "`storage_class` is not built",
        ),
        ("s3uploader: {s3_bucket: b, retry_mode: standard}", "retry_on_failure"),
        ("s3uploader: {s3_bucket: b, unique_key_func_name: uuidv7}", "hash"),
        ("s3uploader: {s3_bucket: b, s3_partition_timezone: Local}", "only `UTC`"),
        ("s3uploader: {s3_bucket: b, s3_partition_format: \"%Y%\"}", "strftime"),
        ("s3uploader: {s3_bucket: b, file_prefix: ../x}", "folder above"),
        ("s3uploader: {s3_bucket: b, role_arn: me}", "ARN of a role"),
        ("s3uploader: {s3_bucket: b, endpoint: \"ftp://x\"}", "http://"),
        ("s3uploader: {s3_bucket: b, compression: lz4}", "compression"),
        ("url: s3://b/c\ns3uploader: {s3_prefix: d}", "cannot stand beside `url`"),
        ("url: gs://b", "`gs` is not built yet"),
        ("url: s3://b\nencoding: text", "`encoding` is not built yet"),
        #[cfg(not(feature = "parquet"))]
        (
            "url: s3://b\nmarshaler: otlp_parquet",
            "`otlp_parquet`: this binary was built without Parquet",
        ),
        #[cfg(feature = "parquet")]
        (
            "url: s3://b\nmarshaler: otlp_parquet\ncompression: gzip",
            "a Parquet file is compressed inside",
        ),
        ("url: s3://b\nmarshaler: sumo_ic", "`sumo_ic` is not built yet"),
        ("url: s3://b\nmarshaler: csv", "must be `otlp_json`"),
        (
            "url: s3://b\ncompression: zstd\ns3uploader: {compression: gzip}",
            "once is enough",
        ),
    ] {
        let (_, problems) = check(yaml);
        assert!(
            problems.iter().any(|problem| problem.contains(words)),
            "{yaml}: {problems:?}"
        );
    }
}

#[test]
fn the_permissions_are_those_of_the_prefix() {
    let section = Section::from_yaml("url: s3://b/traces");
    let (_, permissions) = permissions(&section).unwrap();
    let [permission] = &permissions[..] else { panic!() };
    assert_eq!(
        (permission.action, permission.resource.as_ref()),
        ("s3:PutObject", "arn:aws:s3:::b/traces/*")
    );
    let (_, none) = super::permissions(&Section::from_yaml("url: file:///tmp/x")).unwrap();
    assert!(none.is_empty());
}
