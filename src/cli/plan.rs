//! `radiosonde aws plan`: how many series a configuration polls of CloudWatch, and what that will cost. What reading
//! traces costs is beside, in `plan_xray`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::args::Format;
use super::output;
use super::plan_xray::{self, TracesPlan};
use crate::aws::cloudwatch::bill::{Level, MONTH_HOURS, USD_PER_UNIT};
use crate::aws::cloudwatch::engine::{Blueprint, Forecast, Taken, forecast, usd_per_month};
use crate::component::{BuildContext, ComponentKind};
use crate::components::receivers;
use crate::components::receivers::xray::forecast::Forecaster;
use crate::config::{Document, Environment, Inputs, Section};

type Reader = fn(&Section) -> Option<Arc<dyn Blueprint>>;

/// Receivers that poll CloudWatch.
const POLLERS: &[(&str, Reader)] = &[
    ("awscloudwatch", receivers::awscloudwatch::blueprint),
    ("dynamodb", receivers::dynamodb::blueprint),
    ("sagemaker", receivers::sagemaker::blueprint),
];

/// What one receiver will cost.
pub struct Plan {
    receiver: String,
    budget: f64,
    /// Free requests a month that the receivers before have left.
    free: u64,
    places: Vec<Forecast>,
}

impl Plan {
    fn usd(&self, which: impl Fn(&Forecast) -> (f64, f64)) -> f64 {
        usd_per_month(&self.places.iter().map(which).collect::<Vec<_>>(), self.free)
    }

    /// USD a month as it will probably be.
    pub fn likely(&self, level: Level) -> f64 {
        self.usd(|place| place.likely[level as usize])
    }

    fn least(&self) -> f64 {
        self.usd(|place| place.least[0])
    }

    fn most(&self) -> f64 {
        self.usd(|place| place.most[0])
    }

    /// How far polling has to be demoted for the budget, and whether that suffices.
    fn demotion(&self) -> (Level, bool) {
        if self.budget == 0.0 {
            return (Level::None, true);
        }
        let fits = Level::ALL.into_iter().find(|level| self.likely(*level) <= self.budget);
        fits.map_or((Level::SentinelSlow, false), |level| (level, true))
    }
}

/// Prints the plan of a configuration.
pub fn print(inputs: &Inputs, environment: &dyn Environment, format: Format) -> ExitCode {
    let document = match Document::load(inputs, environment) {
        Ok(document) => document,
        Err(problems) => return failed(&problems.to_string()),
    };
    let plans = match blueprints(&document) {
        Ok((blueprints, traces)) => with_runtime(async {
            let traces = plan_xray::plans(traces).await?;
            Ok((plans(blueprints).await?, traces))
        }),
        Err(message) => Err(message),
    };
    let (plans, traces) = match plans {
        Ok(plans) => plans,
        Err(message) => return failed(&message),
    };
    match format {
        Format::Text => output::text(&text(&plans, &traces)),
        Format::Json => output::json(&to_json(&plans, &traces)),
    }
    if plans.iter().all(|plan| plan.demotion().1) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn failed(message: &str) -> ExitCode {
    output::stderr(&format!("{message}\n"));
    ExitCode::FAILURE
}

/// Runs the questions to their end.
fn with_runtime<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(work)
}

type Wanted = Vec<(String, Arc<dyn Blueprint>)>;
type WantedTraces = Vec<(String, Forecaster)>;

/// The receivers of a configuration that poll CloudWatch, and those that read traces.
fn blueprints(document: &Document) -> Result<(Wanted, WantedTraces), String> {
    let receivers = document.root().take("receivers");
    let receivers = receivers.ok_or("the configuration has no receivers")?;
    let (mut found, mut traces) = (Vec::new(), Vec::new());
    for key in receivers.keys() {
        let kind = key.split('/').next().unwrap_or_default();
        if kind == "xray" {
            let section = receivers.take(&key).unwrap_or_else(|| Section::from_yaml("{}"));
            let forecaster = Forecaster::read(&section).filter(|_| !document.problems().has_errors());
            let forecaster = forecaster.ok_or_else(|| document.problems().to_string())?;
            traces.push((key, forecaster));
            continue;
        }
        let Some((_, read)) = POLLERS.iter().find(|(name, _)| *name == kind) else {
            continue;
        };
        // `dynamodb:` without anything is a receiver too.
        let section = receivers.take(&key).unwrap_or_else(|| Section::from_yaml("{}"));
        match read(&section).filter(|_| section.problems().is_empty() || !document.problems().has_errors()) {
            Some(blueprint) => found.push((key, blueprint)),
            None => return Err(document.problems().to_string()),
        }
    }
    if found.is_empty() && traces.is_empty() {
        return Err("the configuration has no receiver that polls CloudWatch or reads traces".to_owned());
    }
    Ok((found, traces))
}

async fn plans(wanted: Wanted) -> Result<Vec<Plan>, String> {
    let mut plans = Vec::new();
    let mut taken = Taken::default();
    for (receiver, blueprint) in wanted {
        let context = BuildContext::standalone(ComponentKind::Receiver, &receiver);
        plans.push(plan(receiver, blueprint.as_ref(), &context, &mut taken).await?);
    }
    Ok(plans)
}

/// Looks at the places of one receiver.
///
/// # Errors
/// What is in the way, with the receiver's name.
pub async fn plan(
    receiver: String,
    blueprint: &dyn Blueprint,
    context: &BuildContext,
    taken: &mut Taken,
) -> Result<Plan, String> {
    let before = taken.clone();
    let places = forecast(blueprint, context, taken).await;
    let places = places.map_err(|error| format!("receiver {receiver:?}: {error}"))?;
    let polling = &blueprint.settings().polling;
    let accounts: BTreeSet<&str> = places.iter().map(|place| place.account.as_str()).collect();
    let used: f64 = accounts.iter().filter_map(|account| before.get(*account)).sum();
    Ok(Plan {
        receiver,
        budget: polling.budget.usd_per_month,
        free: polling.free_requests.saturating_sub((used * MONTH_HOURS) as u64),
        places,
    })
}

fn text(plans: &[Plan], traces: &[TracesPlan]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(plans, &mut text);
    let _ = plan_xray::write_text(traces, &mut text);
    text
}

fn write_text(plans: &[Plan], into: &mut String) -> std::fmt::Result {
    for plan in plans {
        for place in &plan.places {
            writeln!(into, "{}: account {}, {}", plan.receiver, place.account, place.region)?;
            writeln!(into, "  {} resources, {} of them busy", place.resources, place.busy)?;
            writeln!(
                into,
                "  {:<10}{:>9}{:>12}{:>14}{:>16}{:>12}",
                "class", "series", "units/poll", "units/month", "free/month", "USD/month"
            )?;
            for (class, cost) in &place.classes {
                let (units, free) = (cost.units_per_hour * MONTH_HOURS, cost.requests_per_hour * MONTH_HOURS);
                writeln!(
                    into,
                    "  {:<10}{:>9}{:>12}{:>14.0}{:>16.0}{:>12.2}",
                    class.name(),
                    cost.series,
                    cost.units,
                    units,
                    free,
                    units * USD_PER_UNIT
                )?;
            }
            for note in &place.notes {
                writeln!(into, "  note: {note}")?;
            }
        }
        writeln!(
            into,
            "{}: about ${:.2} a month (${:.2} with nothing going on, ${:.2} with everything busy)",
            plan.receiver,
            plan.likely(Level::None),
            plan.least(),
            plan.most()
        )?;
        if plan.budget > 0.0 {
            let (level, fits) = plan.demotion();
            let verdict = if fits { "kept" } else { "NOT kept" };
            writeln!(
                into,
                "{}: the budget of ${:.2} is {verdict}: {} (${:.2} a month)",
                plan.receiver,
                plan.budget,
                level.describe(),
                plan.likely(level)
            )?;
        }
    }
    if plans.len() > 1 {
        let all: f64 = plans.iter().map(|plan| plan.likely(Level::None)).sum();
        writeln!(into, "all receivers: about ${all:.2} a month")?;
    }
    Ok(())
}

fn to_json(plans: &[Plan], traces: &[TracesPlan]) -> Json {
    let receivers: Vec<Json> = plans
        .iter()
        .map(|plan| {
            let places = plan.places.iter().map(place_json);
            let (level, fits) = plan.demotion();
            json!({
                "receiver": plan.receiver,
                "places": places.collect::<Vec<_>>(),
                "usd_per_month": plan.likely(Level::None),
                "usd_per_month_least": plan.least(),
                "usd_per_month_most": plan.most(),
                "budget_usd_per_month": plan.budget,
                "fits_budget": fits,
                "demotion": level.describe(),
                "usd_per_month_demoted": plan.likely(level),
            })
        })
        .collect();
    let sum: f64 = plans.iter().map(|plan| plan.likely(Level::None)).sum();
    let of_traces: f64 = traces.iter().map(TracesPlan::usd).sum();
    json!({"receivers": receivers, "traces": plan_xray::to_json(traces), "usd_per_month": sum + of_traces})
}

fn place_json(place: &Forecast) -> Json {
    let classes = place.classes.iter().map(|(class, cost)| {
        json!({
            "class": class.name(),
            "series": cost.series,
            "units_per_poll": cost.units,
            "units_per_month": cost.units_per_hour * MONTH_HOURS,
            "free_requests_per_month": cost.requests_per_hour * MONTH_HOURS,
            "usd_per_month": cost.units_per_hour * MONTH_HOURS * USD_PER_UNIT,
        })
    });
    json!({
        "account": place.account, "region": place.region,
        "resources": place.resources, "busy": place.busy,
        "classes": classes.collect::<Vec<_>>(), "notes": place.notes,
    })
}
