//! What polling costs: counted when it is sent, held against the budget, kept over restarts.

use super::{Desk, Shard};
use crate::aws::cloudwatch::bill::{Api, Decision, Level, Used};
use crate::component::{Counter, StateChange, with_state};

/// The space in the state: spend of the month, by receiver; free requests, by `account/<id>`.
const SPACE: &str = "cloudwatch.spend";
/// Series are counted anew after so many seconds: activity changes by the hour.
const SURVEY_S: i64 = 300;

/// What a shard remembers of its share of the bill.
pub(super) struct Purse {
    /// Calls of ListMetrics that were answered: free like those of GetMetricStatistics, from the same month's number.
    listed: Counter,
    /// How many of them are booked, and how many there were at the start.
    booked: u64,
    first: u64,
    began: i64,
    surveyed: Option<i64>,
    /// What the shard is called in the ledgers.
    pub name: String,
    /// The budget is spent, and it is a hard one.
    pub exhausted: bool,
}

impl Purse {
    pub fn new(desk: &Desk) -> Self {
        let labels = [
            ("api", "ListMetrics"),
            ("account", desk.account.as_str()),
            ("region", desk.region.as_str()),
            ("outcome", "ok"),
        ];
        let instruments = &desk.context.instruments;
        let listed = instruments.counter("aws_api_requests_total", "Calls of AWS APIs.", &labels);
        let first = listed.value();
        Self {
            listed,
            booked: first,
            first,
            began: desk.access.now(),
            surveyed: None,
            name: format!("{}/{}/{}", desk.context.id, desk.account, desk.region),
            exhausted: false,
        }
    }

    /// Other free calls an hour, as they were so far.
    fn other_calls(&self, now: i64) -> f64 {
        let hours = ((now - self.began) as f64 / 3600.0).max(1.0);
        (self.booked - self.first) as f64 / hours
    }
}

fn free_key(account: &str) -> String {
    format!("account/{account}")
}

impl Shard {
    /// Goes on from what an earlier process had spent this month.
    pub(super) async fn open_ledger(&mut self) {
        let polling = &self.settings().polling;
        self.ledger.set(polling.budget);
        let key = self.context.id.as_str().as_bytes().to_vec();
        let account = free_key(&self.desk.account);
        let saved = with_state(&self.context.state, move |state| {
            Ok((state.get(SPACE, &key)?, state.get(SPACE, account.as_bytes())?))
        });
        match saved.await {
            Ok((spend, free)) => {
                self.ledger.restore(spend.as_deref());
                self.free.restore(free.as_deref());
            }
            Err(error) => {
                tracing::warn!(receiver = %self.context.id, %error,
                    "what was spent this month cannot be read; the budget counts from now on");
            }
        }
    }

    /// The changes that keep what was spent.
    pub(super) fn spend_to_keep(&self) -> [StateChange; 2] {
        [
            StateChange::put(SPACE, self.context.id.as_str(), self.ledger.to_bytes()),
            StateChange::put(SPACE, free_key(&self.desk.account), self.free.to_bytes()),
        ]
    }

    /// Books what was sent.
    pub(super) fn charge(&mut self, units: u64, requests: u64) {
        self.counts.bill(units, requests);
        self.book(self.now(), units, requests);
    }

    fn book(&self, now: i64, units: u64, requests: u64) {
        let paid = self.free.charge(now, requests, self.settings().polling.free_requests);
        let used = Used { units, requests, paid };
        self.ledger.charge(now, used);
    }

    /// Before a round: what it may cost, and what gives way if it may not.
    pub(super) fn mind_the_budget(&mut self, now: i64) {
        let listed = self.purse.listed.value();
        self.book(now, 0, listed - self.purse.booked);
        self.purse.booked = listed;
        if self.purse.surveyed.is_none_or(|at| now - at >= SURVEY_S) {
            self.survey(now);
        }
        let decision = self.ledger.decide(now);
        self.purse.exhausted = decision.exhausted;
        self.tracks.schedule.set_level(decision.level);
        self.tell_decision(&decision);
        self.counts.budget(&decision, self.ledger.limit());
    }

    fn survey(&mut self, now: i64) {
        let (source, free) = (self.settings().polling.source, self.settings().polling.free_requests);
        let room = self.free.room(&self.purse.name, now, free);
        self.tracks.choose_free(source, room - self.purse.other_calls(now), now);
        let mut survey = self.tracks.survey(now);
        for (_, requests) in &mut survey.rates {
            *requests += self.purse.other_calls(now);
        }
        let (_, requests) = survey.rates[self.ledger.level() as usize];
        self.free.plan(&self.purse.name, requests);
        self.ledger.plan(&self.purse.name, survey.rates, room);
        self.counts.survey(&survey);
        // Before the first answers everything counts as busy: looked at again at once.
        let known = self.tracks.iter().next().is_some() && self.purse.surveyed.is_some();
        self.purse.surveyed = Some(if known { now } else { now - SURVEY_S });
    }

    /// Whether this API may be used now: what costs nothing also when the budget is spent.
    pub(super) fn may_ask(&self, api: Api) -> bool {
        if !self.purse.exhausted {
            return true;
        }
        let polling = &self.settings().polling;
        let free = self.free.used(self.now()) < polling.free_requests;
        api == Api::Gms && free
    }

    fn tell_decision(&self, decision: &Decision) {
        let limit = self.ledger.limit();
        let (spent, forecast) = (decision.spent, decision.forecast);
        if decision.warn {
            tracing::warn!(receiver = %self.context.id, spent_usd = spent, budget_usd = limit,
                "a large part of the month's CloudWatch budget is spent");
        }
        if decision.changed_level {
            let what = decision.level.describe();
            if decision.level == Level::None {
                tracing::info!(receiver = %self.context.id, spent_usd = spent, forecast_usd = forecast,
                    budget_usd = limit, "the CloudWatch budget suffices again: nothing is demoted");
            } else {
                tracing::warn!(receiver = %self.context.id, spent_usd = spent, forecast_usd = forecast,
                    budget_usd = limit, what, "series are polled less often to stay within the CloudWatch budget");
            }
        }
        if decision.changed_exhausted && decision.exhausted {
            tracing::error!(receiver = %self.context.id, spent_usd = spent, budget_usd = limit,
                "the CloudWatch budget is spent and `hard` is set: nothing is polled until the month ends");
        }
    }
}
