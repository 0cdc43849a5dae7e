//! What polling will cost, before anything is paid for: only free calls are made.
//!
//! ListMetrics says which series had a point within three hours. What answers requests or has machines that report is
//! taken for busy, and what is listed of it for active; what is not listed is silent. The schedule that will run says how
//! often each series is then asked.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use aws_sdk_cloudwatch::types::RecentlyActive;

use super::{Blueprint, Desk, judging};
use crate::aws::access::account_of_arn;
use crate::aws::catalogue::Kind;
use crate::aws::cloudwatch::bill::{
    ClassCost, Level, MONTH_HOURS, Rates, Role, Schedule, Supposed, free_per_hour, usd,
};
use crate::aws::cloudwatch::tracks::Tracks;
use crate::aws::cloudwatch::want::{Class, Name, Want, identity};
use crate::aws::rate::Limits;
use crate::aws::{Access, Failure, Place};
use crate::component::BuildContext;

/// What one account and region will cost.
#[derive(Clone, Debug)]
pub struct Forecast {
    pub account: String,
    pub region: String,
    /// As it will probably be; per hour.
    pub classes: BTreeMap<Class, ClassCost>,
    /// Billed units and free requests per hour at each level of the budget: probably, with nothing going on, with
    /// everything busy.
    pub likely: Rates,
    pub least: Rates,
    pub most: Rates,
    /// Tables or endpoints, and how many of them are busy.
    pub resources: usize,
    pub busy: usize,
    /// Permissions that are missing, and what could not be asked.
    pub notes: Vec<String>,
}

/// USD a month of several places together: they share one free number of requests.
pub fn usd_per_month(rates: &[(f64, f64)], free: u64) -> f64 {
    let (mut units, mut requests) = (0.0, 0.0);
    for (more_units, more_requests) in rates {
        units += more_units * MONTH_HOURS;
        requests += more_requests * MONTH_HOURS;
    }
    usd(units, requests, free as f64)
}

/// How often discovery is tried again after a passing failure.
const TRIES: usize = 3;

/// Requests an hour of the free part that are planned already, by account: its receivers share one number.
pub type Taken = BTreeMap<String, f64>;

/// Looks at every place of a receiver; adds to `taken` what it will use of the free requests.
///
/// # Errors
/// Why a place cannot be looked at at all.
pub async fn forecast(
    blueprint: &dyn Blueprint,
    context: &BuildContext,
    taken: &mut Taken,
) -> Result<Vec<Forecast>, String> {
    let settings = blueprint.settings();
    let access = Arc::new(Access::load(settings.access.clone(), Arc::clone(&context.clock)).await);
    let places = access.places();
    if places.is_empty() {
        return Err("no region: set `regions`, AWS_REGION or a profile".to_owned());
    }
    let mut forecasts = Vec::new();
    for place in places {
        let found = look_at(blueprint, context, &access, &place, taken).await;
        let found = found.map_err(|failure| format!("{}: {failure}", place.name()))?;
        *taken.entry(found.account.clone()).or_default() += found.likely[Level::None as usize].1;
        forecasts.push(found);
    }
    Ok(forecasts)
}

async fn look_at(
    blueprint: &dyn Blueprint,
    context: &BuildContext,
    access: &Arc<Access>,
    place: &Place,
    taken: &Taken,
) -> Result<Forecast, Failure> {
    let settings = blueprint.settings();
    let sdk = access.config(place).await;
    let account = match place.role.as_ref().and_then(|role| account_of_arn(&role.role_arn)) {
        Some(account) => account.to_owned(),
        None => {
            let identity = access.sts(&sdk).get_caller_identity().send().await;
            let identity = identity.map_err(|error| Failure::of("sts:GetCallerIdentity", &error))?;
            identity.account().unwrap_or_default().to_owned()
        }
    };
    let desk = Desk {
        access: Arc::clone(access),
        sdk,
        account,
        region: place.region.clone(),
        context: context.clone(),
        rate: settings.polling.rate.clone(),
    };
    let now = access.now();
    let mut source = blueprint.source(&desk);
    let mut failures = Vec::new();
    for _ in 0..TRIES {
        failures = source.discover(now).await;
        if !failures.iter().any(Failure::is_transient) {
            break;
        }
    }
    let wants = source.wants().unwrap_or_default();
    let listed = listed(&desk, &wants).await?;
    let mut notes = source.denied();
    let others = failures
        .iter()
        .filter(|failure| !matches!(failure, Failure::Denied { .. }));
    notes.extend(others.map(|failure| format!("discovery: {failure}")));
    let busy = busy(&wants, &listed);
    let resources: HashSet<&Name> = wants
        .iter()
        .filter(|want| !want.dimensions.is_empty())
        .map(|want| &want.resource)
        .collect();

    let polling = &settings.polling;
    let before = taken.get(&desk.account).copied().unwrap_or(0.0);
    let room = free_per_hour(polling.free_requests, 0, MONTH_HOURS) - before;
    let suppose = |what: &dyn Fn(&Want) -> Supposed| {
        let schedule = Schedule::new(polling.rhythm, polling.pin.clone());
        let mut tracks = Tracks::new(judging(settings, now, None), false).scheduled(schedule);
        tracks.set_wants(wants.clone(), now);
        tracks.suppose(now, what);
        tracks.choose_free(polling.source, room, now);
        tracks.survey(now)
    };
    let is_listed = |want: &Want| listed.contains(&want.identity());
    let likely = suppose(&|want| supposed(want, is_listed(want), busy.contains(&want.resource)));
    let least = suppose(&|want| match supposed(want, is_listed(want), false) {
        Supposed::Active => Supposed::Unchanged,
        other => other,
    });
    let most = suppose(&|want| match want.shape.class {
        Class::Core => Supposed::Active,
        _ => supposed(want, is_listed(want), true),
    });
    Ok(Forecast {
        resources: resources.len(),
        busy: busy.len(),
        account: desk.account.clone(),
        region: desk.region.clone(),
        classes: likely.classes,
        likely: likely.rates,
        least: least.rates,
        most: most.rates,
        notes,
    })
}

/// The series that had a point within three hours, by identity.
async fn listed(desk: &Desk, wants: &[Want]) -> Result<HashSet<u64>, Failure> {
    let client = desk.access.cloudwatch(&desk.sdk);
    let calls = desk.calls("ListMetrics", "cloudwatch:ListMetrics", Limits::LIST_METRICS);
    let namespaces: HashSet<&Name> = wants.iter().map(|want| &want.shape.namespace).collect();
    let mut found = HashSet::new();
    for namespace in namespaces {
        let mut token: Option<String> = None;
        loop {
            let call = client
                .list_metrics()
                .namespace(&**namespace)
                .recently_active(RecentlyActive::Pt3H)
                .set_next_token(token.take());
            let page = calls.send(|| call.send()).await?;
            for metric in page.metrics() {
                let dimensions = metric.dimensions().iter();
                let mut dimensions: Vec<(&str, &str)> = dimensions
                    .filter_map(|dimension| Some((dimension.name()?, dimension.value()?)))
                    .collect();
                dimensions.sort_unstable();
                let name = metric.metric_name().unwrap_or_default();
                found.insert(identity(namespace, name, dimensions.into_iter()));
            }
            match page.next_token() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
    }
    Ok(found)
}

/// Resources whose core says more than that nothing happens: latency of requests, utilisation of machines.
fn busy(wants: &[Want], listed: &HashSet<u64>) -> HashSet<Name> {
    let telling = |want: &&Want| {
        let shape = &want.shape;
        shape.class == Class::Core && shape.kind != Kind::SumDelta && listed.contains(&want.identity())
    };
    wants
        .iter()
        .filter(telling)
        .map(|want| Arc::clone(&want.resource))
        .collect()
}

fn supposed(want: &Want, listed: bool, busy: bool) -> Supposed {
    let shape = &want.shape;
    let role = Role::of(shape);
    match shape.class {
        // Published also while nothing changes.
        Class::Native => Supposed::Unchanged,
        Class::Core if shape.kind == Kind::SumDelta && busy => Supposed::Active,
        Class::Core if shape.kind == Kind::SumDelta && (listed || shape.heartbeat) => Supposed::Unchanged,
        Class::Core | Class::Detail if listed && !role.explains_trouble() => Supposed::Active,
        // A throttle some hours ago is no throttle now.
        Class::Core | Class::Detail if listed => Supposed::Unchanged,
        Class::Core | Class::Detail | Class::Sentinel => Supposed::Silent,
    }
}
