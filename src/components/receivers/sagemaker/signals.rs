//! Signals of our own: from settled points (latency as a client sees it, shares of errors, GPUs in use, live instances)
//! and from what the API says (status, jobs, pipelines, monitoring).

use std::collections::{BTreeMap, HashMap};

use super::discovery::Discovery;
use super::events::job_type;
use super::fleet::{EndpointInfo, Fleet, VariantInfo};
use super::gpus::gpus;
use super::series::{ENDPOINT, ENDPOINTS, INVOCATIONS, VARIANT};
use crate::aws::cloudwatch::{Builder, OwnPoint, Stat, Track, Tracks};

/// Executions of the last hour make the success ratio.
const HOUR: i64 = 3600;
/// Minutes that are made up for after a pause; the poller remembers no more.
const REACH: i64 = 2 * 3600;

/// Up to where each signal of each variant has been sent, unix seconds.
#[derive(Default)]
pub struct Signals {
    sent: HashMap<(String, String, &'static str), i64>,
}

/// A series of a variant, as far as it is decided.
struct View<'a> {
    tracks: &'a Tracks,
    namespace: &'static str,
    metric: &'static str,
    dimensions: [(&'a str, &'a str); 2],
}

impl View<'_> {
    fn track(&self) -> Option<&Track> {
        self.tracks.track(self.namespace, self.metric, &self.dimensions)
    }

    /// Everything before it is settled and handed on; `None`: not polled.
    fn decided(&self) -> Option<i64> {
        Some(self.track()?.history.cursor())
    }

    /// A statistic of a settled minute.
    fn value(&self, at: i64, stat: &Stat) -> Option<f64> {
        let track = self.track()?;
        let position = track.want.shape.statistics.iter().position(|have| have == stat)?;
        track.history.settled_at(at)?.get(position).copied()
    }

    fn period(&self) -> Option<i64> {
        Some(self.track()?.want.shape.period)
    }
}

/// One of the variants.
struct Place<'a> {
    tracks: &'a Tracks,
    endpoint: (&'a str, &'a EndpointInfo),
    variant: (&'a str, &'a VariantInfo),
}

impl<'a> Place<'a> {
    fn view(&self, namespace: &'static str, metric: &'static str) -> View<'a> {
        View {
            tracks: self.tracks,
            namespace,
            metric,
            // Sorted by name.
            dimensions: [(ENDPOINT, self.endpoint.0), (VARIANT, self.variant.0)],
        }
    }
}

impl Signals {
    /// Adds everything new.
    pub fn add(&mut self, discovery: &mut Discovery, now: i64, tracks: &Tracks, into: &mut Builder) {
        let fleet = &discovery.fleet;
        self.sent
            .retain(|(endpoint, ..), _| fleet.endpoints.contains_key(endpoint));
        for (name, info) in &fleet.endpoints {
            status(name, info, now, into);
            for (variant, described) in &info.variants {
                let place = Place {
                    tracks,
                    endpoint: (name, info),
                    variant: (variant, described),
                };
                self.latency(&place, now, into);
                self.errors(&place, now, into);
                self.cache_hits(&place, now, into);
                self.gpu(&place, now, into);
                self.instances(&place, now, into);
            }
        }
        jobs(fleet, now, into);
        pipelines(fleet, now, into);
        checks(discovery, into);
    }

    /// The minutes that all of these series have decided since the last time.
    fn new_minutes(&mut self, place: &Place<'_>, signal: &'static str, views: &[&View<'_>], now: i64) -> Vec<i64> {
        let Some(period) = views.first().and_then(|view| view.period()) else {
            return Vec::new();
        };
        // `None` is less than any: a series that is not polled decides nothing.
        let Some(until) = views.iter().map(|view| view.decided()).min().flatten() else {
            return Vec::new();
        };
        let key = (place.endpoint.0.to_owned(), place.variant.0.to_owned(), signal);
        let sent = self.sent.entry(key).or_insert(i64::MIN);
        let from = (*sent).max(now - REACH);
        let mut minutes = Vec::new();
        let mut at = from - from.rem_euclid(period);
        while at < until {
            if at >= *sent {
                minutes.push(at);
            }
            at += period;
        }
        *sent = until.max(*sent);
        minutes
    }

    /// ModelLatency and OverheadLatency add up to what a client waits; means do, percentiles do not.
    fn latency(&mut self, place: &Place<'_>, now: i64, into: &mut Builder) {
        let model = place.view(INVOCATIONS, "ModelLatency");
        let overhead = place.view(INVOCATIONS, "OverheadLatency");
        for at in self.new_minutes(place, "latency", &[&model, &overhead], now) {
            let sums = (model.value(at, &Stat::Sum), overhead.value(at, &Stat::Sum));
            let count = model.value(at, &Stat::SampleCount).filter(|count| *count > 0.0);
            if let ((Some(model), Some(overhead)), Some(count)) = (sums, count) {
                let mean = (model + overhead) / count;
                point(
                    place,
                    into,
                    ("aws.sagemaker.latency.total_mean", "us"),
                    (at, 60),
                    mean,
                    &[],
                );
            }
            let p99 = model.value(at, &Stat::Percentile("p99".to_owned()));
            let most = overhead
                .value(at, &Stat::Percentile("p99".to_owned()))
                .or_else(|| overhead.value(at, &Stat::Maximum));
            if let Some((model, overhead)) = p99.zip(most) {
                let name = ("aws.sagemaker.latency.total_p99_upper", "us");
                point(place, into, name, (at, 60), model + overhead, &[]);
            }
        }
    }

    fn errors(&mut self, place: &Place<'_>, now: i64, into: &mut Builder) {
        for (metric, signal, kind) in [
            ("Invocation4XXErrors", "errors 4xx", "4xx"),
            ("Invocation5XXErrors", "errors 5xx", "5xx"),
            ("InvocationModelErrors", "errors of the model", "model"),
        ] {
            let view = place.view(INVOCATIONS, metric);
            for at in self.new_minutes(place, signal, &[&view], now) {
                if let Some(ratio) = view.value(at, &Stat::Average) {
                    let name = ("aws.sagemaker.error_ratio", "1");
                    point(place, into, name, (at, 60), ratio, &[("Type", kind)]);
                }
            }
        }
    }

    fn cache_hits(&mut self, place: &Place<'_>, now: i64, into: &mut Builder) {
        let view = place.view(INVOCATIONS, "ModelCacheHit");
        for at in self.new_minutes(place, "cache", &[&view], now) {
            if let Some(ratio) = view.value(at, &Stat::Average) {
                point(
                    place,
                    into,
                    ("aws.sagemaker.cache_hit_ratio", "1"),
                    (at, 60),
                    ratio,
                    &[],
                );
            }
        }
    }

    /// Percent of all GPUs: without normalisation an instance with four shows up to 400.
    fn gpu(&mut self, place: &Place<'_>, now: i64, into: &mut Builder) {
        let normal = place.view(ENDPOINTS, "GPUUtilizationNormalized");
        let plain = place.view(ENDPOINTS, "GPUUtilization");
        let (view, of) = if normal.decided().is_some() {
            (&normal, Some(1))
        } else {
            (&plain, place.variant.1.instance_type.as_deref().and_then(gpus))
        };
        let Some(of) = of.filter(|of| *of > 0) else { return };
        let period = view.period().unwrap_or(60);
        for at in self.new_minutes(place, "gpu", &[view], now) {
            if let Some(percent) = view.value(at, &Stat::Average) {
                let name = ("aws.sagemaker.gpu.utilization", "%");
                point(place, into, name, (at, period), percent / f64::from(of), &[]);
            }
        }
    }

    fn instances(&mut self, place: &Place<'_>, now: i64, into: &mut Builder) {
        let name = ("aws.sagemaker.instances", "{instance}");
        let described = [
            ("current", place.variant.1.current),
            ("desired", place.variant.1.desired),
        ];
        for (state, count) in described {
            if let Some(count) = count {
                point(place, into, name, (now, 0), count, &[("State", state)]);
            }
        }
        let view = place.view(ENDPOINTS, "CPUUtilization");
        let Some(period) = view.period() else { return };
        // Each instance gives one sample a publication.
        let publications = (period as f64 / place.endpoint.1.publish_s as f64).max(1.0);
        for at in self.new_minutes(place, "instances", &[&view], now) {
            if let Some(samples) = view.value(at, &Stat::SampleCount) {
                let count = samples / publications;
                point(place, into, name, (at, period), count, &[("State", "observed")]);
            }
        }
    }
}

/// A point of a variant; `when` is start and length, no length: a moment.
fn point(
    place: &Place<'_>,
    into: &mut Builder,
    name: (&str, &str),
    when: (i64, i64),
    value: f64,
    more: &[(&str, &str)],
) {
    let mut attributes = vec![(ENDPOINT, place.endpoint.0), (VARIANT, place.variant.0)];
    attributes.extend_from_slice(more);
    let (at, period) = when;
    let own = OwnPoint {
        name: name.0,
        unit: name.1,
        attributes: &attributes,
        start: if period > 0 { at } else { 0 },
        time: at + period,
        value,
    };
    into.add_derived(&place.endpoint.1.arn, &own);
}

/// A gauge of this moment.
fn now_is(into: &mut Builder, resource: &str, name: (&str, &str), attributes: &[(&str, &str)], at: i64, value: f64) {
    let own = OwnPoint {
        name: name.0,
        unit: name.1,
        attributes,
        start: 0,
        time: at,
        value,
    };
    into.add_derived(resource, &own);
}

fn status(name: &str, info: &EndpointInfo, now: i64, into: &mut Builder) {
    let attributes = [(ENDPOINT, name), ("Status", info.status.as_str())];
    now_is(
        into,
        &info.arn,
        ("aws.sagemaker.endpoint.status", "1"),
        &attributes,
        now,
        1.0,
    );
}

fn jobs(fleet: &Fleet, now: i64, into: &mut Builder) {
    for (kind, jobs) in &fleet.jobs {
        for (name, job) in jobs {
            let identity = [("JobType", job_type(*kind)), ("JobName", name.as_str())];
            let mut attributes = identity.to_vec();
            attributes.push(("Status", job.status.as_str()));
            now_is(into, &job.arn, ("aws.sagemaker.job.status", "1"), &attributes, now, 1.0);
            let seconds = (job.ended.unwrap_or(now) - job.created).max(0);
            now_is(
                into,
                &job.arn,
                ("aws.sagemaker.job.duration", "s"),
                &identity,
                now,
                seconds as f64,
            );
        }
    }
}

fn pipelines(fleet: &Fleet, now: i64, into: &mut Builder) {
    for (name, info) in &fleet.pipelines {
        let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
        let ended = info.executions.values();
        for execution in ended.filter(|execution| execution.ended.is_some_and(|ended| now - ended < HOUR)) {
            *ends.entry(execution.status.as_str()).or_default() += 1;
        }
        let all: u32 = ["Succeeded", "Failed", "Stopped"]
            .iter()
            .filter_map(|status| ends.get(status))
            .sum();
        if all > 0 {
            let ratio = f64::from(ends.get("Succeeded").copied().unwrap_or(0)) / f64::from(all);
            let attributes = [("PipelineName", name.as_str())];
            let signal = ("aws.sagemaker.pipeline.success_ratio", "1");
            now_is(into, &info.arn, signal, &attributes, now, ratio);
        }
    }
}

/// One point for each execution of monitoring: 1 where it found violations.
fn checks(discovery: &mut Discovery, into: &mut Builder) {
    for check in std::mem::take(&mut discovery.checks) {
        let Some(info) = discovery.fleet.schedules.get(&check.schedule) else {
            continue;
        };
        let own = OwnPoint {
            name: "aws.sagemaker.monitor.violations",
            unit: "{violation}",
            attributes: &[("ScheduleName", check.schedule.as_str())],
            start: check.scheduled,
            time: check.ended,
            value: f64::from(u8::from(check.violates)),
        };
        into.add_derived(&info.arn, &own);
    }
}
