//! The part of `radiosonde aws plan` that is about traces: what the `xray` receivers of a configuration will cost.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use crate::component::{BuildContext, ComponentKind};
use crate::components::receivers::xray::forecast::{Forecast, Forecaster, usd};

/// What one receiver will cost.
pub struct TracesPlan {
    receiver: String,
    places: Vec<Forecast>,
}

impl TracesPlan {
    /// USD a month. What is free is free once an account; accounts that roles are taken in are told apart by their number.
    pub fn usd(&self) -> f64 {
        let mut accounts: Vec<(&str, f64)> = Vec::new();
        for place in &self.places {
            match accounts.iter_mut().find(|(account, _)| *account == place.account) {
                Some((_, billed)) => *billed += place.billed(),
                None => accounts.push((&place.account, place.billed())),
            }
        }
        let reading: f64 = accounts.iter().map(|(_, billed)| usd(*billed)).sum();
        reading + self.places.iter().map(|place| place.counting).sum::<f64>()
    }
}

/// Asks for every receiver.
///
/// # Errors
/// What is in the way, with the receiver's name.
pub async fn plans(wanted: Vec<(String, Forecaster)>) -> Result<Vec<TracesPlan>, String> {
    let mut plans = Vec::new();
    for (receiver, forecaster) in wanted {
        let context = BuildContext::standalone(ComponentKind::Receiver, &receiver);
        let places = forecaster.ask(&context).await;
        let places = places.map_err(|error| format!("receiver {receiver:?}: {error}"))?;
        plans.push(TracesPlan { receiver, places });
    }
    Ok(plans)
}

/// As text for people.
pub fn write_text(plans: &[TracesPlan], into: &mut String) -> std::fmt::Result {
    for plan in plans {
        for place in &plan.places {
            let account = if place.account.is_empty() {
                "own"
            } else {
                &place.account
            };
            writeln!(into, "{}: account {account}, {}", plan.receiver, place.region)?;
            writeln!(into, "  {:.0} traces in the last 24 hours", place.traces_per_day)?;
            writeln!(into, "  {:<22}{:>16}{:>12}", "read", "traces/month", "USD/month")?;
            for (what, traces) in &place.reads {
                writeln!(into, "  {what:<22}{traces:>16.0}{:>12.2}", traces * 0.5e-6)?;
            }
            if place.state_bytes > 0.0 {
                writeln!(
                    into,
                    "  {:.1} calls of BatchGetTraces a second, about {:.0} MB of state",
                    place.calls_per_second,
                    place.state_bytes / 1e6
                )?;
            }
            for note in &place.notes {
                writeln!(into, "  note: {note}")?;
            }
        }
        writeln!(
            into,
            "{}: about ${:.2} a month, the first million traces of an account not billed",
            plan.receiver,
            plan.usd()
        )?;
    }
    Ok(())
}

/// As JSON.
pub fn to_json(plans: &[TracesPlan]) -> Vec<Json> {
    let place = |place: &Forecast| {
        let reads = place
            .reads
            .iter()
            .map(|(what, traces)| json!({"what": what, "traces_per_month": traces}));
        json!({
            "account": place.account, "region": place.region, "traces_per_day": place.traces_per_day,
            "reads": reads.collect::<Vec<_>>(), "counting_usd_per_month": place.counting,
            "calls_per_second": place.calls_per_second, "state_bytes": place.state_bytes, "notes": place.notes,
        })
    };
    let receiver = |plan: &TracesPlan| {
        json!({
            "receiver": plan.receiver, "usd_per_month": plan.usd(),
            "places": plan.places.iter().map(place).collect::<Vec<_>>(),
        })
    };
    plans.iter().map(receiver).collect()
}
