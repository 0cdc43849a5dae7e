//! What reading traces will cost, before anything is read: their number as CloudWatch has counted it over the last day, times
//! what reading one takes.

use std::sync::Arc;

use super::CALLS;
use super::budget::cost;
use super::config::{self, Config, Mode, Processed};
use crate::aws::access::account_of_arn;
use crate::aws::xray::api::counted::counts;
use crate::aws::xray::api::{Clients, Names};
use crate::aws::{Access, Place};
use crate::component::BuildContext;
use crate::config::Section;

const DAY_S: u64 = 86_400;
/// Days of a month, as AWS' price lists have them (730 hours).
const MONTH_DAYS: f64 = 730.0 / 24.0;
/// Traces that AWS does not bill in a month, of an account.
pub const FREE_TRACES: f64 = 1e6;
/// Ids of one BatchGetTraces.
const BATCH: f64 = crate::aws::xray::api::fetch::BATCH as f64;
/// Bytes of the state for each trace that is remembered: 18, and what pages of the file leave empty.
const STATE_BYTES: f64 = 30.0;
/// One metric of GetMetricData every five minutes.
const QUESTIONS_A_DAY: f64 = 288.0;
const USD_PER_METRIC: f64 = 0.01 / 1_000.0;

/// A configured receiver that can be asked what it will cost.
#[derive(Clone, Debug)]
pub struct Forecaster(Arc<Config>);

/// One account and region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Empty: our own.
    pub account: String,
    pub region: String,
    pub traces_per_day: f64,
    /// What is billed of them in a month, by what it is for.
    pub reads: Vec<(&'static str, f64)>,
    /// What counting the traces by CloudWatch costs in a month, USD.
    pub counting: f64,
    /// Calls of BatchGetTraces a second, on average.
    pub calls_per_second: f64,
    pub state_bytes: f64,
    pub notes: Vec<String>,
}

impl Forecast {
    /// Billed traces a month.
    pub fn billed(&self) -> f64 {
        self.reads.iter().map(|(_, traces)| traces).sum()
    }
}

/// USD a month for billed traces of one account, what is free taken off.
pub fn usd(traces: f64) -> f64 {
    cost((traces - FREE_TRACES).max(0.0) as u64)
}

impl Forecaster {
    /// Reads a receiver's section; problems are reported to it.
    pub fn read(section: &Section) -> Option<Self> {
        config::check(section).map(|config| Self(Arc::new(config)))
    }

    /// Asks CloudWatch for the number of traces of the last day, in every place.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn ask(&self, context: &BuildContext) -> Result<Vec<Forecast>, String> {
        let config = &self.0;
        let access = Access::load(config.access.clone(), Arc::clone(&context.clock)).await;
        let places = access.places();
        if places.is_empty() {
            return Err("no region: set `regions`, AWS_REGION or a profile".to_owned());
        }
        let mut forecasts = Vec::new();
        for place in places {
            forecasts.push(self.of_place(&access, &place, context).await?);
        }
        Ok(forecasts)
    }

    async fn of_place(&self, access: &Access, place: &Place, context: &BuildContext) -> Result<Forecast, String> {
        let config = &self.0;
        let sdk = access.config(place).await;
        let account = place.role.as_ref().and_then(|role| account_of_arn(&role.role_arn));
        let account = account.unwrap_or_default().to_owned();
        let names = Names {
            calls: CALLS,
            account: &account,
            region: &place.region,
        };
        let clients = Clients::new(access, &sdk, names, config.rate, context);
        // The service's time is known after the first answer, the destination's.
        let to_logs = match config.mode {
            Mode::Summaries => false,
            Mode::Retrieval => true,
            Mode::Auto => {
                let ask = || clients.xray.get_trace_segment_destination().send();
                let answer = clients.destination.send(ask).await;
                answer
                    .ok()
                    .and_then(|answer| Some(answer.destination()?.as_str() == "CloudWatchLogs"))
                    .unwrap_or_default()
            }
        };
        let now = clients.now() / 3_600 * 3_600;
        let counted = counts(&clients, now - DAY_S, now, 3_600).await;
        let counted = counted.map_err(|failure| format!("{}: {failure}", place.name()))?;
        let traces: u64 = counted.iter().map(|(_, count)| count).sum();
        let mut forecast = self.of_traces(traces as f64, to_logs);
        forecast.account = account;
        forecast.region = place.region.clone();
        if counted.len() < 24 {
            let note = format!("CloudWatch has counts of {} of the last 24 hours only", counted.len());
            forecast.notes.push(note);
        }
        Ok(forecast)
    }

    /// By the number of traces a day alone. `to_logs`: Transaction Search is on.
    pub fn of_traces(&self, traces: f64, to_logs: bool) -> Forecast {
        let config = &self.0;
        let month = traces * MONTH_DAYS;
        let counting = match config.traces_processed {
            Processed::CloudWatch => QUESTIONS_A_DAY * MONTH_DAYS * USD_PER_METRIC,
            Processed::Off | Processed::Summaries => 0.0,
        };
        let mut forecast = Forecast {
            traces_per_day: traces,
            counting,
            ..Forecast::default()
        };
        if to_logs && !config.spans_log_group.is_empty() && config.filter.is_empty() {
            let note = "Transaction Search is on: spans are read from its log group, which is not billed by the trace";
            forecast.notes.push(note.to_owned());
            return forecast;
        }
        forecast.reads = vec![("scanned", month), ("retrieved", month)];
        if let Some(every) = config.sweep_every {
            let times = config.sweep_window as f64 / every.max(1) as f64;
            forecast.reads.push(("scanned by the sweep", month * times));
        }
        forecast.calls_per_second = traces / BATCH / DAY_S as f64;
        forecast.state_bytes = traces * STATE_BYTES * config.keep as f64 / DAY_S as f64;
        forecast
            .notes
            .push("a trace is billed again for every later window in which something of it arrives".to_owned());
        if !config.filter.is_empty() {
            let note = "`filter_expression`: all traces are scanned, those that do not match are not retrieved";
            forecast.notes.push(note.to_owned());
        }
        if forecast.calls_per_second > config.rate.max / 2.0 {
            forecast.notes.push(format!(
                "{:.0} calls a second on average leave little of `rate::max` {:.0} for the busy hours",
                forecast.calls_per_second, config.rate.max
            ));
        }
        let limits = [
            ("max_scanned_per_day", config.budget.scanned),
            ("max_retrieved_per_day", config.budget.retrieved),
        ];
        for (name, limit) in limits.into_iter().filter(|(_, limit)| *limit > 0) {
            if traces > limit as f64 {
                let share = 100.0 * limit as f64 / traces;
                forecast.notes.push(format!(
                    "`budget::{name}` is reached: about {share:.0} % of the traces are read"
                ));
            }
        }
        forecast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(yaml: &str, traces: f64) -> Forecast {
        let section = Section::from_yaml(yaml);
        let forecaster = Forecaster::read(&section).unwrap();
        forecaster.of_traces(traces, false)
    }

    #[test]
    fn ten_million_traces_a_day_cost_what_the_price_list_says() {
        let plain = of("sweep: {every: 0s}", 10e6);
        assert_eq!(plain.billed().round(), (2.0 * 10e6 * 730.0 / 24.0_f64).round());
        // 608.3 million reads at 0.50 USD a million, one million free.
        assert!((usd(plain.billed()) - 303.67).abs() < 0.01, "{}", usd(plain.billed()));
        assert!((plain.calls_per_second - 23.1).abs() < 0.1);
        let swept = of("", 10e6);
        assert!((usd(swept.billed()) - 455.75).abs() < 0.01, "{}", usd(swept.billed()));
        assert!((1e9..3e9).contains(&swept.state_bytes), "{}", swept.state_bytes);
    }

    #[test]
    fn a_budget_and_a_rate_that_are_too_small_are_told() {
        let forecast = of(
            "budget: {max_scanned_per_day: 1000000}\nrate: {initial: 1, max: 20}",
            10e6,
        );
        let notes = forecast.notes.join("\n");
        assert!(
            notes.contains("about 10 %") && notes.contains("`rate::max` 20"),
            "{notes}"
        );
        let forecaster = Forecaster::read(&Section::from_yaml("{}")).unwrap();
        assert!(forecaster.of_traces(1e6, true).reads.is_empty());
    }
}
