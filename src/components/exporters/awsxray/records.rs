//! Telemetry records: what X-Ray's console shows of the health of whoever sends segments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_xray::types::{BackendConnectionErrors, TelemetryRecord};
use aws_smithy_types::DateTime;
use tokio_util::sync::CancellationToken;

use super::config::TelemetryConfig;
use super::far_end::FarEnd;
use super::verdict::Backend;
use crate::component::{ComponentId, ComponentKind, Counter, Instruments, Registry};

const EVERY: Duration = Duration::from_secs(60);
/// Records that wait for X-Ray, and records a call.
const MOST_WAITING: usize = 30;
const MOST_A_CALL: usize = 10;

/// Counts since the last record.
pub(super) struct Records {
    /// Who tells what was received; empty: the exporter itself.
    contributors: Vec<Contributor>,
    received: AtomicI32,
    sent: AtomicI32,
    spillover: AtomicI32,
    rejected: AtomicI32,
    errors: [AtomicI32; 6],
}

fn add(counter: &AtomicI32, n: usize) {
    let n = i32::try_from(n).unwrap_or(i32::MAX);
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
        Some(count.saturating_add(n))
    });
}

/// What an `awsxray` receiver counts, read from its metrics: no component knows another.
struct Contributor {
    ok: Told,
    rejected: Told,
    dropped: Told,
}

/// A counter, and what of it has been told.
struct Told(Counter, AtomicU64);

impl Told {
    fn new(counter: Counter) -> Self {
        // What was counted before this exporter was built is another's to tell.
        let before = AtomicU64::new(counter.value());
        Self(counter, before)
    }

    fn take(&self) -> i32 {
        let now = self.0.value();
        let before = self.1.swap(now, Ordering::Relaxed);
        i32::try_from(now.saturating_sub(before)).unwrap_or(i32::MAX)
    }
}

impl Contributor {
    fn new(id: &ComponentId, registry: &Registry) -> Self {
        let instruments = Instruments::new(registry.clone(), ComponentKind::Receiver, id.as_str());
        let outcome = |outcome| {
            let help = "X-Ray datagrams by what became of them.";
            Told::new(instruments.counter("xray_udp_datagrams_total", help, &[("outcome", outcome)]))
        };
        Self {
            ok: outcome("ok"),
            rejected: outcome("rejected"),
            dropped: outcome("dropped"),
        }
    }

    /// Adds what came since the last record.
    fn add_to(&self, records: &Records) {
        let [ok, rejected, dropped] = [&self.ok, &self.rejected, &self.dropped].map(Told::take);
        for (counter, n) in [
            (&records.received, ok),
            (&records.received, rejected),
            (&records.received, dropped),
            (&records.rejected, rejected),
            (&records.spillover, dropped),
        ] {
            add(counter, usize::try_from(n).unwrap_or_default());
        }
    }
}

impl Records {
    pub(super) fn new(config: Option<&TelemetryConfig>, instruments: &Instruments) -> Self {
        let ids = config.map(|config| config.contributors.as_slice()).unwrap_or_default();
        Self {
            contributors: ids
                .iter()
                .map(|id| Contributor::new(id, instruments.registry()))
                .collect(),
            received: AtomicI32::default(),
            sent: AtomicI32::default(),
            spillover: AtomicI32::default(),
            rejected: AtomicI32::default(),
            errors: Default::default(),
        }
    }

    /// Documents that the exporter was given: the receivers have counted them where there are contributors.
    pub(super) fn received(&self, n: usize) {
        if self.contributors.is_empty() {
            add(&self.received, n);
        }
    }

    pub(super) fn sent(&self, n: usize) {
        add(&self.sent, n);
    }

    /// Documents that go back to the queue.
    pub(super) fn spilled(&self, n: usize) {
        add(&self.spillover, n);
    }

    pub(super) fn rejected(&self, n: usize) {
        add(&self.rejected, n);
    }

    pub(super) fn failed(&self, kind: Backend) {
        add(&self.errors[kind as usize], 1);
    }

    /// A record of what was counted; `None` when nothing was.
    fn take(&self, now: DateTime) -> Option<TelemetryRecord> {
        self.contributors
            .iter()
            .for_each(|contributor| contributor.add_to(self));
        let take = |counter: &AtomicI32| counter.swap(0, Ordering::Relaxed);
        let counts = [&self.received, &self.sent, &self.spillover, &self.rejected].map(take);
        let errors = self.errors.each_ref().map(take);
        if counts.iter().chain(&errors).all(|count| *count == 0) {
            return None;
        }
        let [timeout, refused, status_4xx, status_5xx, host, other] = errors;
        let errors = BackendConnectionErrors::builder()
            .timeout_count(timeout)
            .connection_refused_count(refused)
            .http_code4_xx_count(status_4xx)
            .http_code5_xx_count(status_5xx)
            .unknown_host_count(host)
            .other_count(other)
            .build();
        let [received, sent, spillover, rejected] = counts;
        TelemetryRecord::builder()
            .timestamp(now)
            .segments_received_count(received)
            .segments_sent_count(sent)
            .segments_spillover_count(spillover)
            .segments_rejected_count(rejected)
            .backend_connection_errors(errors)
            .build()
            .ok()
    }
}

/// The task: a record a minute, and one at the end.
pub(super) async fn report(far_end: Arc<FarEnd>, quit: CancellationToken) {
    let Some(config) = far_end.config.telemetry.clone() else {
        return;
    };
    let who = Who::find(&config, far_end.config.local_mode).await;
    let mut waiting = VecDeque::new();
    loop {
        let ended = tokio::select! {
            () = quit.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let now = far_end.clock.now();
        if let Some(record) = far_end
            .records
            .take(DateTime::from_nanos(i128::from(now.0)).unwrap_or(DateTime::from_secs(0)))
        {
            waiting.push_back(record);
        }
        while waiting.len() > MOST_WAITING {
            waiting.pop_front();
        }
        send(&far_end, &who, &mut waiting).await;
        if ended {
            return;
        }
    }
}

async fn send(far_end: &FarEnd, who: &Who, waiting: &mut VecDeque<TelemetryRecord>) {
    while !waiting.is_empty() {
        let Ok(client) = far_end.client().await else { return };
        let records: Vec<TelemetryRecord> = waiting.iter().take(MOST_A_CALL).cloned().collect();
        let sent = records.len();
        let call = client
            .put_telemetry_records()
            .set_telemetry_records(Some(records))
            .set_hostname(who.hostname.clone())
            .set_ec2_instance_id(who.instance_id.clone())
            .set_resource_arn(who.resource_arn.clone());
        if let Err(error) = call.send().await {
            let (failed, _) = super::verdict::of_call(&error);
            tracing::debug!(exporter = %far_end.id, ?failed, "telemetry records wait for the next minute");
            return;
        }
        waiting.drain(..sent);
    }
}

/// Who the records are of.
struct Who {
    hostname: Option<String>,
    instance_id: Option<String>,
    resource_arn: Option<String>,
}

impl Who {
    async fn find(config: &TelemetryConfig, local_mode: bool) -> Self {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let of_process = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let mut who = Self {
            hostname: some(&config.hostname),
            instance_id: some(&config.instance_id),
            resource_arn: some(&config.resource_arn),
        };
        if !config.include_metadata {
            return who;
        }
        who.hostname = who.hostname.or_else(|| of_process("AWS_HOSTNAME"));
        who.instance_id = who.instance_id.or_else(|| of_process("AWS_INSTANCE_ID"));
        if local_mode || (who.hostname.is_some() && who.instance_id.is_some()) {
            return who;
        }
        let instance = aws_config::imds::Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(1))
            .max_attempts(1)
            .build();
        if who.hostname.is_none() {
            who.hostname = instance.get("/latest/meta-data/hostname").await.ok().map(String::from);
        }
        if who.instance_id.is_none() {
            who.instance_id = instance
                .get("/latest/meta-data/instance-id")
                .await
                .ok()
                .map(String::from);
        }
        who
    }
}
