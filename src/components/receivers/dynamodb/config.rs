//! The configuration of the `dynamodb` receiver: what all CloudWatch receivers share, hot keys and item collections.

use std::ops::Deref;

use super::asked::{check_collections, check_hot_keys};
use super::hot_keys::HotKeySettings;
use super::levels::Collection;
use crate::aws::cloudwatch::config::{Common, Defaults};
use crate::config::Section;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub common: Common,
    /// `None`: not asked for.
    pub hot_keys: Option<HotKeySettings>,
    pub item_collections: Vec<Collection>,
}

impl Deref for Config {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

/// Reads and checks. Problems are reported to the section.
pub fn check(section: &Section) -> Option<Config> {
    let common = Common::read(
        section,
        &Defaults {
            receiver: "dynamodb",
            resource_kind: "table",
            max_late: 600,
        },
    )?;
    let hot_keys = check_hot_keys(section)?;
    let item_collections = check_collections(section);
    if !common.derived && (hot_keys.is_some() || !item_collections.is_empty()) {
        section.error_at(
            "derived",
            "`hot_keys` and `item_collections` are derived signals: leave it true",
        );
    }
    Some(Config {
        common,
        hot_keys,
        item_collections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::cloudwatch::Backfill;
    use crate::aws::cloudwatch::bill::Polling;

    #[test]
    fn an_empty_section_is_adaptive_polling() {
        let config = check(&Section::from_yaml("{}")).unwrap();
        let engine = &config.engine;
        assert_eq!((engine.max_late, engine.strict), (600, false));
        assert_eq!(engine.polling, Polling::default());
        assert_eq!(engine.backfill, Backfill::default());
        assert_eq!(config.taste.percentiles, ["p50", "p90", "p99"]);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name_and_position() {
        let text = "regions: [eu-central-1]\nbudget: {usd_per_month: -5}\npolling: {mode: sometimes}\n\
                    linked_accounts:\n  true\noutput: summaries\nstart_from: soon\nmetrics: {extra: [a]}\n\
                    accounts: [{role_arn: wrong}]\npolicy: x\n";
        let section = Section::from_yaml(text);
        check(&section);
        let problems = section.problems().join("\n");
        for part in [
            "usd_per_month: must be 0 (no limit) or more",
            "sometimes",
            "`linked_accounts` is not built yet",
            "use checkpoint, now or a duration",
            "typed",
            "`extra` is not built yet",
            "must be the ARN of a role",
            "policy",
        ] {
            assert!(problems.contains(part), "{part} in\n{problems}");
        }
    }

    /// Every key of the design, as it is built or refused.
    #[test]
    fn every_key_of_the_design_is_built_or_refused_by_name_with_its_place() {
        let built = [
            "regions: [a, b]",
            "accounts: [{role_arn: \"arn:aws:iam::444455556666:role/m\", external_id: e, session_name: s, regions: [a]}]",
            "profile: p",
            "endpoint: http://localhost:1",
            "endpoints: {cloudwatch: http://a, dynamodb: http://b, sts: http://c}",
            "include: [\"a*\"]",
            "exclude: [b]",
            "metrics: {include: [\"*\"], exclude: [a]}",
            "discovery_interval: 10m",
            "polling: {mode: uniform, interval: 5m}",
            "polling: {mode: tiered, source: gmd, free_requests: 0}",
            "polling: {mode: adaptive, source: gms}",
            "budget: {usd_per_month: 1, hard: true, warn_at: 0.5}",
            "rate: {GetMetricData: 1, ListTables: 0.5}",
            "metrics: {pin: [\"*Errors\"]}",
            "percentiles: [p50, p99.9]",
            "min_max: true",
            "max_late: 15m",
            "settle: fast",
            "settle: strict",
            "revisions: count",
            "zero_fill: core",
            "zero_fill: all",
            "zero_fill: none",
            "output: typed",
            "output: metric_streams",
            "output: gauge_per_stat",
            "temporality: delta",
            "temporality: cumulative",
            "revisions: reemit",
            "backfill: {max: 72h, order: in_order}",
            "backfill: {max: 24h, order: live_first}",
            "start_from: 72h",
            "start_from: checkpoint",
            "start_from: now",
            "start_from: 6h",
            "derived: false",
            "tags: {team: [\"a*\"]}",
            "tag_attributes: [team]",
            "endpoints: {sagemaker: http://a, tagging: http://b}",
            "hot_keys: {enabled: true, plaintext: false, top: 10, period: 5m}",
            "item_collections: [{table: a, key: b, model: {runs: 5}, query: {c: 100}}]",
        ];
        for text in built {
            let section = Section::from_yaml(
                &format!("{text}\nprofile: here\n").replace("profile: p\nprofile: here", "profile: p"),
            );
            assert!(check(&section).is_some(), "{text}");
            assert_eq!(section.problems(), Vec::<String>::new(), "{text}");
        }
        let refused = [
            ("linked_accounts: true", "linked_accounts"),
            ("imds_endpoint: http://a", "imds_endpoint"),
            ("metrics: {extra: [{metric_name: a}]}", "extra"),
            ("stream_namespaces: [a]", "stream_namespaces"),
            ("storage: file_storage", "storage"),
            ("k8s_leader_elector: a", "k8s_leader_elector"),
        ];
        for (text, name) in refused {
            let section = Section::from_yaml(&format!("profile: here\n{text}\n"));
            check(&section);
            let problems = section.problems();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].contains(":2:"), "{}", problems[0]);
            assert!(
                problems[0].contains(&format!("`{name}` is not built yet")),
                "{}",
                problems[0]
            );
        }
    }
}
