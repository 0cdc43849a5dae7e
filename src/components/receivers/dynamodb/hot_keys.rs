//! Hot keys by Contributor Insights: which partition keys take the most requests, or are throttled the most.
//!
//! Off unless it is asked for: reports are billed, and keys are user data. A key is shown as a keyed hash with a secret of
//! this installation, unless the configuration wants it plain. Contributor Insights itself is never switched on by us.

use std::sync::Arc;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_dynamodb::types::ContributorInsightsStatus;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::clients::Clients;
use super::signals::Point;
use crate::aws::Failure;
use crate::aws::cloudwatch::bill::{Ledger, Used};
use crate::component::{Counter, StateChange, StateError, StateStore, with_state};

const SPACE: &str = "dynamodb.hot_keys";
const SECRET: &[u8] = b"secret";
/// How often is asked which tables have it.
const LIST_S: i64 = 900;
/// Reports need a moment until they are complete.
const LAG: i64 = 120;
/// Rules that are read in one period.
const MOST_RULES: usize = 400;
/// Of them in one round, so that polling does not wait.
const A_ROUND: usize = 20;
const PREFIX: &str = "DynamoDBContributorInsights-";

/// `hot_keys`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HotKeySettings {
    /// Keys as they are.
    pub plaintext: bool,
    /// Keys of each rule.
    pub top: i32,
    /// Seconds.
    pub period: i64,
}

/// One rule of a table or index.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    table: String,
    index: Option<String>,
    name: String,
    /// `PKC`: partition key, consumed; `SKT`: with the sort key, throttled; ...
    kind: String,
}

/// The hot keys of one account and region.
pub struct HotKeys {
    settings: HotKeySettings,
    secret: Option<Vec<u8>>,
    rules: Vec<Rule>,
    /// Rules still to read, and the time that they are read for.
    queue: Vec<Rule>,
    window: (i64, i64),
    next_list: i64,
    next_report: i64,
    billed: Counter,
    ledger: Arc<Ledger>,
    pub points: Vec<Point>,
}

impl HotKeys {
    /// `billed` counts what AWS charges for; the ledger holds it against the budget.
    pub fn new(settings: HotKeySettings, billed: Counter, ledger: Arc<Ledger>) -> Self {
        Self {
            settings,
            secret: None,
            rules: Vec::new(),
            queue: Vec::new(),
            window: (0, 0),
            next_list: 0,
            next_report: 0,
            billed,
            ledger,
            points: Vec::new(),
        }
    }

    /// Asks what is due; the points wait in [`HotKeys::points`].
    ///
    /// # Errors
    /// What AWS refused.
    pub async fn refresh(
        &mut self,
        clients: &Clients,
        state: &Arc<dyn StateStore>,
        is_wanted: impl Fn(&str) -> bool + Send,
        now: i64,
    ) -> Result<(), Failure> {
        if self.secret.is_none() && !self.settings.plaintext {
            match secret(state).await {
                Ok(secret) => self.secret = Some(secret),
                Err(error) => {
                    tracing::warn!(%error, "hot keys are not told: there is no secret to hash them with");
                    return Ok(());
                }
            }
        }
        if now >= self.next_list {
            self.rules = rules(clients, is_wanted).await?;
            self.next_list = now + LIST_S;
        }
        if now >= self.next_report {
            let period = self.settings.period;
            self.next_report = now - now.rem_euclid(period) + period;
            let end = (now - LAG) - (now - LAG).rem_euclid(period);
            self.window = (end - period, end);
            self.queue = self.rules.clone();
        }
        for _ in 0..A_ROUND {
            // A hard budget that is spent ends what is billed.
            let Some(rule) = self.queue.pop().filter(|_| !self.ledger.is_exhausted()) else {
                break;
            };
            self.report(clients, &rule, now).await?;
        }
        Ok(())
    }

    async fn report(&mut self, clients: &Clients, rule: &Rule, now: i64) -> Result<(), Failure> {
        let (start, end) = self.window;
        let call = clients
            .cloudwatch
            .get_insight_rule_report()
            .rule_name(&rule.name)
            .start_time(DateTime::from_secs(start))
            .end_time(DateTime::from_secs(end))
            .period(i32::try_from(end - start).unwrap_or(i32::MAX))
            .max_contributor_count(self.settings.top);
        // Charged whatever the answer is.
        self.billed.add(1);
        let used = Used {
            units: 1,
            ..Used::default()
        };
        self.ledger.charge(now, used);
        let report = clients.insight_report.send(|| call.send()).await?;
        for (rank, contributor) in report.contributors().iter().enumerate() {
            let (Some(requests), keys) = (contributor.approximate_aggregate_value(), contributor.keys()) else {
                continue;
            };
            let mut attributes = vec![("TableName", rule.table.clone())];
            attributes.extend(rule.index.clone().map(|index| ("GlobalSecondaryIndexName", index)));
            attributes.push(("Rule", rule.kind.clone()));
            attributes.push(("Rank", (rank + 1).to_string()));
            attributes.push(match &self.secret {
                Some(secret) => ("KeyHash", hash(secret, keys)),
                None => ("Key", plain(keys)),
            });
            self.points.push(Point {
                name: "aws.dynamodb.hot_key.requests",
                unit: "{Count}",
                attributes,
                start,
                time: end,
                value: requests,
            });
        }
        Ok(())
    }
}

/// Every rule of the tables and indexes that have Contributor Insights.
async fn rules(clients: &Clients, is_wanted: impl Fn(&str) -> bool + Send) -> Result<Vec<Rule>, Failure> {
    let mut rules = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let call = clients
            .dynamodb
            .list_contributor_insights()
            .set_next_token(token.take());
        let page = clients.list_insights.send(|| call.send()).await?;
        for summary in page.contributor_insights_summaries() {
            let enabled = summary.contributor_insights_status() == Some(&ContributorInsightsStatus::Enabled);
            let Some(table) = summary.table_name().filter(|table| enabled && is_wanted(table)) else {
                continue;
            };
            let index = summary.index_name();
            let call = clients
                .dynamodb
                .describe_contributor_insights()
                .table_name(table)
                .set_index_name(index.map(str::to_owned));
            let answer = clients.describe_insights.send(|| call.send()).await?;
            for name in answer.contributor_insights_rule_list() {
                if let Some(kind) = kind_of(name).filter(|_| rules.len() < MOST_RULES) {
                    rules.push(Rule {
                        table: table.to_owned(),
                        index: index.map(str::to_owned),
                        name: name.clone(),
                        kind: kind.to_owned(),
                    });
                }
            }
        }
        match page.next_token() {
            Some(next) => token = Some(next.to_owned()),
            None => return Ok(rules),
        }
    }
}

/// `PKC` of `DynamoDBContributorInsights-PKC-orders-1767225600000`.
fn kind_of(rule: &str) -> Option<&str> {
    let (kind, _) = rule.strip_prefix(PREFIX)?.split_once('-')?;
    matches!(kind, "PKC" | "PKT" | "SKC" | "SKT").then_some(kind)
}

/// Partition and sort key, cut to the length of a label.
fn plain(keys: &[String]) -> String {
    let mut text = keys.join(" ");
    text.truncate(text.floor_char_boundary(256));
    text
}

/// The first eight bytes of the keyed hash, in hex.
fn hash(secret: &[u8], keys: &[String]) -> String {
    let Ok(mut hash) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    for key in keys {
        hash.update(key.as_bytes());
        hash.update(&[0]);
    }
    hex::encode(&hash.finalize().into_bytes()[..8])
}

/// The secret of this installation; made at the first need.
async fn secret(state: &Arc<dyn StateStore>) -> Result<Vec<u8>, StateError> {
    with_state(state, |state| {
        if let Some(secret) = state.get(SPACE, SECRET)?.filter(|secret| secret.len() == 32) {
            return Ok(secret);
        }
        // Two times 122 bits from the system's source.
        let secret = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        state.commit(vec![StateChange::put(SPACE, SECRET, secret.clone())])?;
        Ok(secret)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::MemoryState;

    #[test]
    fn rules_tell_their_kind_by_their_name() {
        assert_eq!(
            kind_of("DynamoDBContributorInsights-PKC-orders-1767225600000"),
            Some("PKC")
        );
        assert_eq!(kind_of("DynamoDBContributorInsights-SKT-a-b-1"), Some("SKT"));
        assert_eq!(kind_of("DynamoDBContributorInsights-XYZ-orders-1"), None);
        assert_eq!(kind_of("SomebodysRule"), None);
    }

    #[tokio::test]
    async fn keys_are_hashed_with_one_secret_for_the_installation() {
        let state: Arc<dyn StateStore> = Arc::new(MemoryState::default());
        let first = secret(&state).await.unwrap();
        assert_eq!(secret(&state).await.unwrap(), first);
        let keys = |key: &str| vec![key.to_owned()];
        let hashed = hash(&first, &keys("customer-1"));
        assert_eq!(hashed.len(), 16);
        assert_eq!(hash(&first, &keys("customer-1")), hashed);
        assert_ne!(hash(&first, &keys("customer-2")), hashed);
        let other: Arc<dyn StateStore> = Arc::new(MemoryState::default());
        assert_ne!(hash(&secret(&other).await.unwrap(), &keys("customer-1")), hashed);
    }
}
