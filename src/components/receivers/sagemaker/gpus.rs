//! GPUs of SageMaker's instance types. A type that is not here gives no point rather than a wrong one.

/// Family, sizes, GPUs.
const TABLE: &[(&str, &[(&str, u32)])] = &[
    ("p2", &[("xlarge", 1), ("8xlarge", 8), ("16xlarge", 16)]),
    ("p3", &[("2xlarge", 1), ("8xlarge", 4), ("16xlarge", 8)]),
    ("p3dn", &[("24xlarge", 8)]),
    ("p4d", &[("24xlarge", 8)]),
    ("p4de", &[("24xlarge", 8)]),
    ("p5", &[("4xlarge", 1), ("48xlarge", 8)]),
    ("p5e", &[("48xlarge", 8)]),
    ("p5en", &[("48xlarge", 8)]),
    ("p6-b200", &[("48xlarge", 8)]),
    ("p6-b300", &[("48xlarge", 8)]),
    (
        "g4dn",
        &[
            ("xlarge", 1),
            ("2xlarge", 1),
            ("4xlarge", 1),
            ("8xlarge", 1),
            ("12xlarge", 4),
            ("16xlarge", 1),
        ],
    ),
    ("g5", LARGE_G),
    ("g6", LARGE_G),
    ("g6e", LARGE_G),
    ("gr6", &[("4xlarge", 1), ("8xlarge", 1)]),
];

/// g5, g6 and g6e have the same sizes.
const LARGE_G: &[(&str, u32)] = &[
    ("xlarge", 1),
    ("2xlarge", 1),
    ("4xlarge", 1),
    ("8xlarge", 1),
    ("12xlarge", 4),
    ("16xlarge", 1),
    ("24xlarge", 4),
    ("48xlarge", 8),
];

/// Families without GPUs: their utilisation is not asked for.
const WITHOUT: &[&str] = &["t2", "t3", "m", "c", "r", "x", "inf", "trn", "i"];

/// GPUs of an instance type (`ml.g5.12xlarge`); `None`: not known.
pub fn gpus(instance_type: &str) -> Option<u32> {
    let (family, size) = instance_type.strip_prefix("ml.")?.split_once('.')?;
    if let Some((_, sizes)) = TABLE.iter().find(|(known, _)| *known == family) {
        return sizes.iter().find(|(known, _)| *known == size).map(|(_, gpus)| *gpus);
    }
    let letters = family.trim_end_matches(|c: char| !c.is_ascii_digit());
    let letters = letters.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain = WITHOUT.iter().any(|without| *without == letters || *without == family);
    plain.then_some(0)
}

#[cfg(test)]
mod tests {
    use super::gpus;

    #[test]
    fn known_types_have_their_gpus_and_unknown_ones_none_at_all() {
        let cases = [
            ("ml.g5.12xlarge", Some(4)),
            ("ml.g5.xlarge", Some(1)),
            ("ml.p4d.24xlarge", Some(8)),
            ("ml.g4dn.16xlarge", Some(1)),
            ("ml.m5.xlarge", Some(0)),
            ("ml.c7i.large", Some(0)),
            ("ml.inf2.xlarge", Some(0)),
            ("ml.trn1.32xlarge", Some(0)),
            ("ml.g5.99xlarge", None),
            ("ml.g99.xlarge", None),
            ("serverless", None),
        ];
        for (instance_type, expected) in cases {
            assert_eq!(gpus(instance_type), expected, "{instance_type}");
        }
    }
}
