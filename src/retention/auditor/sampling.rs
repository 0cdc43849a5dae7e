//! Sampling: a state is told of traces that were recorded, not of requests. Where a rule's rate goes down there are fewer
//! traces, and nothing is lost: reports say so.

use std::collections::BTreeMap;

use super::books::{Lowered, Sampling};
use super::{Auditor, Shard};
use crate::aws::Failure;

/// An account has a few dozen rules.
const MOST_RULES: usize = 200;
const MOST_PAGES: usize = 20;
/// A rule whose rate falls below this share of what it was is told.
const TOLD_BELOW: f64 = 0.5;

struct Rule {
    name: String,
    rate: f64,
    reservoir: f64,
    /// Unix seconds; `None`: as it was made.
    changed: Option<u64>,
}

impl Auditor {
    /// Looks at the rules and what clients have reported for them. Gives what a report should say.
    ///
    /// # Errors
    /// The call that failed; nothing is known then, and nothing else suffers.
    pub async fn watch_sampling(&self, shard: &Shard) -> Result<Vec<String>, Failure> {
        let rules = rules(shard).await?;
        let now = shard.clients.now();
        let mut known = self.books.sampling(&shard.name).await.unwrap_or_default();
        let before = std::mem::take(&mut known.rates);
        for rule in &rules {
            if let Some(before) = before.get(&rule.name).copied()
                && rule.rate < before * TOLD_BELOW
            {
                tracing::warn!(processor = %self.id, place = %shard.name, rule = %rule.name, before, now = rule.rate,
                    "the rate of a sampling rule was lowered by more than half: fewer traces will be there, and none is lost");
                known.lowered.push(Lowered {
                    rule: rule.name.clone(),
                    at: now,
                    before,
                    rate: rule.rate,
                });
            }
            known.rates.insert(rule.name.clone(), rule.rate);
        }
        let keep = self.settings.policy.xray_retention.as_secs();
        known.lowered.retain(|lowered| lowered.at.saturating_add(keep) > now);
        let notes = notes(&known, &rules, now.saturating_sub(keep));
        if !self.only_reads() {
            for gone in before.keys().filter(|name| !known.rates.contains_key(*name)) {
                self.telemetry.no_rule(shard.at(), gone);
            }
            for rule in &rules {
                self.telemetry.rule(shard.at(), &rule.name, rule.rate, rule.reservoir);
            }
            // What is not kept is told once more after a restart.
            let _ = self.books.save_sampling(&shard.name, &known).await;
            self.count_sampled(shard).await?;
        }
        Ok(notes)
    }

    async fn count_sampled(&self, shard: &Shard) -> Result<(), Failure> {
        let clients = &shard.clients;
        let ask = || clients.xray.get_sampling_statistic_summaries().send();
        let answer = clients.statistics.send(ask).await?;
        for summary in answer.sampling_statistic_summaries().iter().take(MOST_RULES) {
            let Some(rule) = summary.rule_name() else { continue };
            let counts = [summary.request_count(), summary.sampled_count(), summary.borrow_count()];
            self.telemetry.sampled(shard.at(), rule, counts.map(f64::from));
        }
        Ok(())
    }
}

async fn rules(shard: &Shard) -> Result<Vec<Rule>, Failure> {
    let clients = &shard.clients;
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let ask = || clients.xray.get_sampling_rules().set_next_token(token.clone()).send();
        let page = clients.rules.send(ask).await?;
        for record in page.sampling_rule_records() {
            let Some(rule) = record.sampling_rule() else { continue };
            let Some(name) = rule.rule_name().filter(|_| rules.len() < MOST_RULES) else {
                continue;
            };
            let times = record.modified_at().zip(record.created_at());
            let changed = times.filter(|(modified, created)| modified.secs() > created.secs());
            let read = Rule {
                name: name.to_owned(),
                rate: rule.fixed_rate(),
                reservoir: f64::from(rule.reservoir_size()),
                changed: changed.and_then(|(modified, _)| u64::try_from(modified.secs()).ok()),
            };
            rules.insert(name.to_owned(), read);
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    Ok(rules.into_values().collect())
}

/// One line for each rule that was lowered or changed since `since`.
fn notes(known: &Sampling, rules: &[Rule], since: u64) -> Vec<String> {
    let date = |at: u64| {
        let at = jiff::Timestamp::from_second(i64::try_from(at).unwrap_or_default());
        at.map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let lowered = known.lowered.iter().map(|lowered| {
        let Lowered { rule, at, before, rate } = lowered;
        format!(
            "the rate of the sampling rule \"{rule}\" went from {before} to {rate} at {}: fewer traces since then are no loss",
            date(*at)
        )
    });
    let changed = rules.iter().filter_map(|rule| {
        let at = rule.changed.filter(|at| *at > since)?;
        let is_told = known.lowered.iter().any(|lowered| lowered.rule == rule.name);
        (!is_told).then(|| {
            format!(
                "the sampling rule \"{}\" was changed at {}: its rate is {}",
                rule.name,
                date(at),
                rule.rate
            )
        })
    });
    lowered.chain(changed).collect()
}
