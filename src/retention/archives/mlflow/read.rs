//! Which traces the table holds copies of. A copy is a spans item whose data parse to spans of the trace and whose time
//! has not passed; that an item is there proves nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use serde_json::Value as Json;

use super::keys;
use super::span::{facts, from_dict};
use super::table::{Item, Range, Table, number_of, text_of};
use crate::aws::Failure;
use crate::component::{BoxFuture, UnixNanos};
use crate::net::codec::{Encoding, inflate};
use crate::pdata::{Batch, Decoded, Origin};
use crate::retention::archive::{Archive, ArchiveError, Day, Found, Page, Spent, StoredCopy, TraceId, span_xor};

/// From so many ids on the day is read through its index and not each trace by its key.
const BY_INDEX: usize = 16;
/// Request times are MLflow's, starts X-Ray's: they may differ by this.
const SLACK_MS: u64 = 3_600_000;
/// Bytes of the OTLP form that are read.
const LONGEST: usize = 64 << 20;
const DAY: Duration = Duration::from_secs(86_400);

/// Which experiments are looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Experiments {
    /// Those that the traces are in.
    Auto,
    These(Vec<String>),
}

/// See the module text.
pub struct MlflowArchive {
    name: String,
    table: Table,
    experiments: Experiments,
    /// Said by the configuration, in place of the table's policy. `Some(None)`: for ever.
    lifetime: Option<Option<Duration>>,
    /// Experiments that were met.
    known: Mutex<BTreeSet<String>>,
}

/// A trace's place: partition and the form of its id there.
type Spot = (String, String);

/// The answer for one trace while it is looked for.
#[derive(Default)]
struct Finding {
    /// Where it may be.
    spots: BTreeSet<Spot>,
    best: Option<StoredCopy>,
    unknown: Option<String>,
}

impl MlflowArchive {
    /// Asks nobody yet.
    pub fn new(name: String, table: Table, experiments: Experiments, lifetime: Option<Option<Duration>>) -> Self {
        Self {
            name,
            table,
            experiments,
            lifetime,
            known: Mutex::default(),
        }
    }

    /// The partitions to look into without asking.
    fn partitions(&self) -> Vec<String> {
        match &self.experiments {
            Experiments::These(ids) => ids.iter().map(|id| keys::experiment(id)).collect(),
            Experiments::Auto => {
                let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.iter().cloned().collect()
            }
        }
    }

    async fn probe_all(&self, day: Day, ids: &[TraceId]) -> Vec<Found> {
        let mut findings: BTreeMap<TraceId, Finding> = ids.iter().map(|id| (*id, Finding::default())).collect();
        let by_index = ids.len() >= BY_INDEX;
        if by_index {
            for pk in self.partitions() {
                if let Err(failure) = self.note_day(&pk, day, &mut findings).await {
                    doubt(findings.values_mut(), &failure);
                }
            }
        }
        if self.experiments == Experiments::Auto {
            for (id, finding) in &mut findings {
                if finding.spots.is_empty()
                    && let Err(failure) = self.note_experiments(*id, finding).await
                {
                    doubt(std::iter::once(finding), &failure);
                }
            }
        }
        // A spans item may stand without the item that names it: looked for under every form.
        let partitions = self.partitions();
        for (id, finding) in &mut findings {
            if finding.spots.is_empty() {
                for pk in &partitions {
                    finding.spots.extend(keys::forms(*id).map(|form| (pk.clone(), form)));
                }
            }
        }
        self.read_copies(&mut findings).await;
        let answer = |id: &TraceId| findings.get(id).map_or(Found::Nothing, Finding::answer);
        ids.iter().map(answer).collect()
    }

    /// The traces of an experiment's day that are asked for.
    async fn note_day(&self, pk: &str, day: Day, findings: &mut BTreeMap<TraceId, Finding>) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let (items, next) = self.day_page(pk, day, SLACK_MS, after).await?;
            for item in items {
                let Some(form) = text_of(&item, keys::SK).and_then(keys::trace_of_meta) else {
                    continue;
                };
                if let Some(finding) = TraceId::parse(form).and_then(|id| findings.get_mut(&id)) {
                    finding.spots.insert((pk.to_owned(), form.to_owned()));
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn day_page(
        &self,
        pk: &str,
        day: Day,
        slack_ms: u64,
        after: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), Failure> {
        let range = Range {
            name: keys::LSI1_SK,
            from: keys::padded((day.start().0 / 1_000_000).saturating_sub(slack_ms)),
            to: keys::padded((day.end().0 / 1_000_000).saturating_sub(1) + slack_ms),
        };
        self.table
            .query(Some(keys::LSI1), (keys::PK, pk), Some(&range), after)
            .await
    }

    /// The experiments that hold a trace, under whichever form.
    async fn note_experiments(&self, id: TraceId, finding: &mut Finding) -> Result<(), Failure> {
        for form in keys::forms(id) {
            let hash = format!("TRACE#{form}");
            let mut after = None;
            loop {
                let (items, next) = self
                    .table
                    .query(Some(keys::GSI1), (keys::GSI1_PK, &hash), None, after)
                    .await?;
                for item in items {
                    let Some(pk) = text_of(&item, keys::GSI1_SK).filter(|pk| pk.starts_with(keys::EXPERIMENT)) else {
                        continue;
                    };
                    finding.spots.insert((pk.to_owned(), form.clone()));
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.insert(pk.to_owned());
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads what stands at the spots: the spans, what names them, and how many there are by its own word.
    async fn read_copies(&self, findings: &mut BTreeMap<TraceId, Finding>) {
        // A hundred keys a call: thirty traces or so.
        let ids: Vec<TraceId> = findings.keys().copied().collect();
        for some in ids.chunks(30) {
            let mut wanted = Vec::new();
            for (pk, form) in some
                .iter()
                .filter_map(|id| findings.get(id))
                .flat_map(|finding| &finding.spots)
            {
                wanted.extend([keys::spans(form), keys::meta(form), keys::size_stats(form)].map(|sk| (pk.clone(), sk)));
            }
            let read = self.table.batch_get(&wanted).await;
            for id in some {
                let Some(finding) = findings.get_mut(id) else {
                    continue;
                };
                match &read {
                    Ok(items) => {
                        for spot in std::mem::take(&mut finding.spots) {
                            finding.take(self.judge(*id, &spot, items));
                        }
                    }
                    Err(failure) => doubt(std::iter::once(finding), failure),
                }
            }
        }
    }

    /// The copy at one spot; `None`: there is none, or its time has passed.
    fn judge(&self, id: TraceId, spot: &Spot, items: &BTreeMap<(String, String), Item>) -> Option<StoredCopy> {
        let (pk, form) = spot;
        let item = |sk: String| items.get(&(pk.clone(), sk));
        let spans = item(keys::spans(form))?;
        let expires_at = match self.live_until(spans) {
            Life::Over => return None,
            Life::Until(at) => Some(at),
            Life::Endless => None,
        };
        let mut seen: BTreeMap<[u8; 8], bool> = BTreeMap::new();
        for dict in dicts_of(spans) {
            if let Some(facts) = facts(&dict, id) {
                let is_open = seen.entry(facts.id).or_insert(true);
                *is_open &= facts.is_open;
            }
        }
        let meta = item(keys::meta(form));
        let is_running = meta.is_some_and(|meta| text_of(meta, "state") == Some("IN_PROGRESS"));
        let expected = item(keys::size_stats(form)).map_or(0, expected_spans);
        Some(StoredCopy {
            spans: u32::try_from(seen.len()).unwrap_or(u32::MAX),
            span_xor: Some(span_xor(seen.keys().copied())),
            revision: None,
            // One that is known to have had more spans is as good as not whole.
            in_progress: !seen.is_empty() && (is_running || seen.values().any(|open| *open) || expected > seen.len()),
            limit_exceeded: false,
            expires_at,
        })
    }

    /// DynamoDB deletes up to two days late: what is past its time is gone although it can be read.
    fn live_until(&self, item: &Item) -> Life {
        match number_of(item, &self.table.ttl_attribute) {
            Some(at) if at > 0.0 => {
                let at = UnixNanos::from_seconds(at as u64);
                if at <= self.table.now() {
                    Life::Over
                } else {
                    Life::Until(at)
                }
            }
            _ => Life::Endless,
        }
    }

    /// What the table's policy says of a trace written now.
    async fn policy(&self) -> Result<Option<Duration>, Failure> {
        policy_of(&self.table).await
    }

    async fn read_trace(&self, id: TraceId) -> Result<Option<Batch>, Failure> {
        let mut finding = Finding::default();
        if self.experiments == Experiments::Auto {
            self.note_experiments(id, &mut finding).await?;
        }
        for pk in self.partitions() {
            finding.spots.extend(keys::forms(id).map(|form| (pk.clone(), form)));
        }
        let spots: Vec<Spot> = finding.spots.into_iter().collect();
        let wanted: Vec<(String, String)> = spots.iter().map(|(pk, form)| (pk.clone(), keys::spans(form))).collect();
        let items = if wanted.is_empty() {
            BTreeMap::new()
        } else {
            self.table.batch_get(&wanted).await?
        };
        let best = spots
            .iter()
            .filter_map(|spot| Some((self.judge(id, spot, &items)?, spot)))
            .filter(|(copy, _)| copy.spans > 0)
            .max_by_key(|(copy, _)| rank(copy));
        let found = best.and_then(|(_, (pk, form))| items.get(&(pk.clone(), keys::spans(form))));
        let request = found.map(|item| spans_of(item, id));
        Ok(request.map(|request| Batch::from_decoded(Decoded::Traces(request), Origin::internal())))
    }

    /// Every experiment of the table: by the listing of the workspace that every table has; where that is empty, by
    /// reading the table.
    async fn all_partitions(&self) -> Result<Vec<String>, Failure> {
        if let Experiments::These(_) = self.experiments {
            return Ok(self.partitions());
        }
        let mut found: BTreeSet<String> = self.partitions().into_iter().collect();
        let mut after = None;
        loop {
            let hash = (keys::GSI2_PK, keys::ACTIVE);
            let (items, next) = self.table.query(Some(keys::GSI2), hash, None, after).await?;
            let partitions = items.iter().filter_map(|item| text_of(item, keys::PK));
            found.extend(
                partitions
                    .filter(|pk| pk.starts_with(keys::EXPERIMENT))
                    .map(str::to_owned),
            );
            after = next;
            if after.is_none() {
                break;
            }
        }
        while found.is_empty() {
            let (items, next) = self.table.scan(after).await?;
            let partitions = items.iter().filter_map(|item| text_of(item, keys::PK));
            found.extend(
                partitions
                    .filter(|pk| pk.starts_with(keys::EXPERIMENT))
                    .map(str::to_owned),
            );
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn list_page(&self, day: Day, page: Option<String>) -> Result<Page, Failure> {
        let partitions = self.all_partitions().await?;
        let (mut at, mut after) = read_page(page.as_deref());
        let Some(pk) = partitions.get(at) else {
            return Ok((Vec::new(), None));
        };
        let (items, next) = self.day_page(pk, day, 0, after.take()).await?;
        let ids = items.iter().filter_map(|item| {
            let form = keys::trace_of_meta(text_of(item, keys::SK)?)?;
            TraceId::parse(form)
        });
        let ids = ids.collect();
        let next = match next {
            Some(key) => Some(write_page(at, &key)),
            None => {
                at += 1;
                (at < partitions.len()).then(|| at.to_string())
            }
        };
        Ok((ids, next))
    }
}

enum Life {
    Over,
    Until(UnixNanos),
    Endless,
}

impl Finding {
    /// One of several copies: the fullest, then the longest kept.
    fn take(&mut self, copy: Option<StoredCopy>) {
        let Some(copy) = copy else { return };
        if self.best.as_ref().is_none_or(|best| rank(best) < rank(&copy)) {
            self.best = Some(copy);
        }
    }

    fn answer(&self) -> Found {
        match (&self.best, &self.unknown) {
            // A copy without spans proves nothing, and what could not be read may hold them.
            (Some(copy), None) => Found::Copy(copy.clone()),
            (Some(copy), Some(_)) if copy.spans > 0 => Found::Copy(copy.clone()),
            (_, Some(why)) => Found::Unknown(why.clone()),
            (None, None) => Found::Nothing,
        }
    }
}

fn rank(copy: &StoredCopy) -> (bool, bool, u32, u64) {
    let kept = copy.expires_at.map_or(u64::MAX, |at| at.0);
    (copy.spans > 0, !copy.in_progress, copy.spans, kept)
}

fn doubt<'a>(findings: impl Iterator<Item = &'a mut Finding>, failure: &Failure) {
    for finding in findings {
        finding.unknown.get_or_insert_with(|| failure.to_string());
    }
}

/// The list in `data`; empty where it is not there, or no list.
pub(super) fn dicts_of(item: &Item) -> Vec<Json> {
    let data = text_of(item, keys::DATA).unwrap_or_default();
    match serde_json::from_str(data) {
        Ok(Json::Array(dicts)) => dicts,
        _ => Vec::new(),
    }
}

fn expected_spans(item: &Item) -> usize {
    let stats: Json = text_of(item, "value")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    stats["num_spans"].as_u64().unwrap_or_default() as usize
}

/// The spans of an item: our own form where it is there and not older than the list, else from the list.
pub(super) fn spans_of(item: &Item, id: TraceId) -> ExportTraceServiceRequest {
    let dicts = dicts_of(item);
    let kept = item.get(keys::OTLP).and_then(|value| value.as_b().ok());
    let kept = kept.and_then(|bytes| {
        let bytes = bytes::Bytes::copy_from_slice(bytes.as_ref());
        let plain = inflate(Encoding::Zstd, &bytes, LONGEST, &mut |_| true).ok()?;
        ExportTraceServiceRequest::decode(plain).ok()
    });
    let mut request = kept.unwrap_or_default();
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    for span in request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
    {
        seen.insert(span.span_id.clone());
    }
    let others: Vec<_> = dicts
        .iter()
        .filter_map(|dict| from_dict(dict, id))
        .filter(|span| seen.insert(span.span_id.clone()))
        .collect();
    if !others.is_empty() {
        request.resource_spans.push(ResourceSpans {
            resource: Some(Resource::default()),
            scope_spans: vec![ScopeSpans {
                spans: others,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        });
    }
    request
}

/// How long a trace written now is kept by the table's policy; `None`: for ever.
pub(super) async fn policy_of(table: &Table) -> Result<Option<Duration>, Failure> {
    let item = table.get(keys::CONFIG, keys::TTL_POLICY).await?;
    let days = item.and_then(|item| number_of(&item, keys::RETENTION_DAYS));
    let days = days.map_or(keys::DEFAULT_DAYS, |days| days.max(0.0) as u32);
    Ok((days > 0).then_some(DAY * days))
}

/// `<experiment's number>` or `<number> <JSON of the key>`.
fn write_page(at: usize, key: &Item) -> String {
    let texts: HashMap<&str, &str> = key
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_s().ok()?.as_str())))
        .collect();
    format!("{at} {}", serde_json::to_string(&texts).unwrap_or_default())
}

fn read_page(page: Option<&str>) -> (usize, Option<Item>) {
    let Some(page) = page else { return (0, None) };
    let (at, key) = page.split_once(' ').unwrap_or((page, ""));
    let texts: Option<HashMap<String, String>> = serde_json::from_str(key).ok();
    let key = texts.map(|texts| {
        let texts = texts.into_iter();
        texts.map(|(name, text)| (name, AttributeValue::S(text))).collect()
    });
    (at.parse().unwrap_or_default(), key)
}

fn error_of(failure: &Failure) -> ArchiveError {
    match failure {
        Failure::Denied { .. } | Failure::NoCredentials(_) | Failure::Expired => {
            ArchiveError::Denied(failure.to_string())
        }
        failure => ArchiveError::Unreachable(failure.to_string()),
    }
}

impl Archive for MlflowArchive {
    fn name(&self) -> &str {
        &self.name
    }

    fn lifetime(&self) -> BoxFuture<'_, Result<Option<Duration>, ArchiveError>> {
        Box::pin(async move {
            match self.lifetime {
                Some(lifetime) => Ok(lifetime),
                None => self.policy().await.map_err(|failure| error_of(&failure)),
            }
        })
    }

    fn probe<'a>(&'a self, day: Day, ids: &'a [TraceId]) -> BoxFuture<'a, Vec<Found>> {
        Box::pin(self.probe_all(day, ids))
    }

    fn read(&self, id: TraceId) -> BoxFuture<'_, Result<Option<Batch>, ArchiveError>> {
        Box::pin(async move { self.read_trace(id).await.map_err(|failure| error_of(&failure)) })
    }

    fn list(&self, day: Day, page: Option<String>) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(async move { self.list_page(day, page).await.map_err(|failure| error_of(&failure)) })
    }

    fn spent(&self) -> Spent {
        self.table.spent()
    }
}
