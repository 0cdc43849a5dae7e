//! What objects hold, told from their manifests; and the spans, from the objects.
//!
//! A manifest is believed only while its object is there. What could not be read makes the answer unknown for every
//! trace that it may be about.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;

use super::body::{Marshaler, decode};
use super::lifecycle::{self, Rule};
use super::manifest::{ENDING, FOLDER, Manifest, Row};
use super::store::Objects;
use crate::aws::Failure;
use crate::component::{BoxFuture, Clock, UnixNanos};
use crate::pdata::{Batch, Edit, Place as At, Rewriter, Signal, Visit};
use crate::retention::archive::{
    Archive, ArchiveError, Batches, Day, Found, Page, Spent, StoredCopy, TraceId, span_xor,
};
use crate::wire::{Span, View, WireError};

/// Manifests read at the same time.
const AT_ONCE: usize = 8;
/// Rules are asked for again after this.
const RULES_KEPT: Duration = Duration::from_secs(3_600);

/// How an archive is read.
#[derive(Clone, Debug)]
pub struct ReadSettings {
    pub name: String,
    /// Objects of other formats do not count; `None`: all do.
    pub format: Option<Marshaler>,
    /// Days after that of its start on which parts of a trace are looked for.
    pub days_after: u32,
    /// Said by the configuration, in place of the bucket's rules. `Some(None)`: for ever.
    pub lifetime: Option<Option<Duration>>,
}

/// See the module text.
pub struct ObjectArchive {
    settings: ReadSettings,
    objects: Objects,
    clock: Arc<dyn Clock>,
    rules: Mutex<Option<(UnixNanos, Vec<Rule>)>>,
}

/// The answer for one trace while manifests are read.
#[derive(Default)]
struct Finding {
    row: Option<Row>,
    expires_at: Option<Option<UnixNanos>>,
    unknown: Option<String>,
}

impl ObjectArchive {
    /// Asks nobody yet.
    pub fn new(settings: ReadSettings, objects: Objects, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            objects,
            clock,
            rules: Mutex::new(None),
        }
    }

    /// The bucket's rules, an hour old at most.
    async fn rules(&self) -> Result<Vec<Rule>, Failure> {
        let Some(source) = &self.objects.rules else {
            return Ok(Vec::new());
        };
        let mut known = self.rules.lock().await;
        let now = self.clock.now();
        if let Some((at, rules)) = &*known
            && now.0.saturating_sub(at.0) < RULES_KEPT.as_nanos() as u64
        {
            return Ok(rules.clone());
        }
        let read = source.read().await;
        let outcome = read.as_ref().map_or_else(Failure::outcome, |_| "ok");
        self.objects.note("GetBucketLifecycleConfiguration", outcome);
        let rules = read?;
        *known = Some((now, rules.clone()));
        Ok(rules)
    }

    async fn expires_at(&self, object: &str, written: UnixNanos) -> Result<Option<UnixNanos>, Failure> {
        match self.settings.lifetime {
            Some(lifetime) => Ok(lifetime.map(|lifetime| {
                let nanos = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
                UnixNanos(written.0.saturating_add(nanos))
            })),
            None => {
                let rules = self.rules().await?;
                Ok(lifecycle::expires(&rules, &self.objects.key(object), written))
            }
        }
    }

    fn folder(day: Day) -> String {
        format!("{FOLDER}/day={day}")
    }

    /// The paths of the manifests of a day.
    async fn manifests_of(&self, day: Day) -> Result<Vec<String>, Failure> {
        let folder = Self::folder(day);
        let names = self.objects.names(&folder).await?;
        let names = names.into_iter().filter(|name| name.ends_with(ENDING));
        Ok(names.map(|name| format!("{folder}/{name}")).collect())
    }

    /// `None`: it went meanwhile, or is about objects of another format.
    async fn manifest(&self, path: &str) -> Result<Option<Manifest>, ArchiveError> {
        let Some(bytes) = self.objects.get(path).await.map_err(|failure| error_of(&failure))? else {
            return Ok(None);
        };
        let read = Manifest::decode(&bytes);
        let manifest = read.map_err(|bad| ArchiveError::Unreadable(format!("{path} {bad}")))?;
        let wanted = self.settings.format.is_none_or(|format| {
            let name = &manifest.header.object;
            name.split('.').any(|part| part == format.ending())
        });
        Ok(wanted.then_some(manifest))
    }

    /// Looks into the manifests of one day.
    async fn look(&self, day: Day, findings: &mut HashMap<TraceId, Finding>) {
        let paths = match self.manifests_of(day).await {
            Ok(paths) => paths,
            Err(failure) => return doubt(findings.values_mut(), &failure.to_string()),
        };
        for some in paths.chunks(AT_ONCE) {
            let read = join_all(some.iter().map(|path| self.manifest(path))).await;
            for manifest in read {
                match manifest {
                    Ok(Some(manifest)) => self.merge(&manifest, findings).await,
                    Ok(None) => {}
                    // Any trace may be in it.
                    Err(error) => doubt(findings.values_mut(), &error.to_string()),
                }
            }
        }
    }

    /// Adds what one manifest says of the traces that are asked for, if its object is still there.
    async fn merge(&self, manifest: &Manifest, findings: &mut HashMap<TraceId, Finding>) {
        let held: Vec<(&[u8; 16], &Row)> = if manifest.rows.len() < findings.len() {
            let rows = manifest.rows.iter();
            rows.filter(|(id, _)| findings.contains_key(&TraceId(**id))).collect()
        } else {
            let ids = findings.keys();
            ids.filter_map(|id| manifest.rows.get_key_value(&id.0)).collect()
        };
        if held.is_empty() {
            return;
        }
        let object = &manifest.header.object;
        let kept = match self.objects.written(object).await {
            Ok(None) => return,
            Ok(Some(written)) => self.expires_at(object, written).await,
            Err(failure) => Err(failure),
        };
        for (id, row) in held {
            let Some(finding) = findings.get_mut(&TraceId(*id)) else {
                continue;
            };
            match &kept {
                // Not deleted yet, and gone for those who count on it.
                Ok(Some(expires_at)) if *expires_at <= self.clock.now() => {}
                Ok(expires_at) => finding.add(row, *expires_at),
                Err(failure) => doubt(std::iter::once(finding), &failure.to_string()),
            }
        }
    }

    async fn probe_all(&self, day: Day, ids: &[TraceId]) -> Vec<Found> {
        let mut findings: HashMap<TraceId, Finding> = ids.iter().map(|id| (*id, Finding::default())).collect();
        for after in 0..=self.settings.days_after {
            self.look(Day(day.0.saturating_add(after)), &mut findings).await;
        }
        // X-Ray's start and that of the spans may lie on two sides of midnight.
        let mut missing: HashMap<TraceId, Finding> = HashMap::new();
        for (id, finding) in &findings {
            if finding.row.is_none() {
                missing.insert(*id, Finding::default());
            }
        }
        if !missing.is_empty() && day.0 > 0 {
            self.look(Day(day.0 - 1), &mut missing).await;
        }
        ids.iter()
            .map(|id| {
                let found = findings.get(id).map_or(Found::Nothing, Finding::answer);
                let before = missing.get(id).map_or(Found::Nothing, Finding::answer);
                match (found, before) {
                    (Found::Nothing, before) => before,
                    (found, _) => found,
                }
            })
            .collect()
    }

    /// The days that have manifests, latest first.
    async fn days(&self) -> Result<Vec<Day>, Failure> {
        let folders = self.objects.folders(FOLDER).await?;
        let days = folders.iter().filter_map(|name| Day::parse(name.strip_prefix("day=")?));
        let mut days: Vec<Day> = days.collect();
        days.sort();
        days.reverse();
        Ok(days)
    }

    /// The manifests that name a trace, latest first. Stops looking some days after it was found.
    async fn manifests_with(&self, id: TraceId) -> Result<Vec<Manifest>, ArchiveError> {
        let mut days = self.days().await.map_err(|failure| error_of(&failure))?;
        // Ids born in X-Ray begin with their time; others with anything. It says where to look first, no more.
        let [a, b, c, d, ..] = id.0;
        let born = Day::of(UnixNanos::from_seconds(u64::from(u32::from_be_bytes([a, b, c, d]))));
        days.sort_by_key(|day| day.0.abs_diff(born.0) > 1);
        let mut found: Vec<Manifest> = Vec::new();
        let mut found_on: Option<Day> = None;
        for day in days {
            if found_on.is_some_and(|on| on.0.abs_diff(day.0) > self.settings.days_after.max(1)) {
                continue;
            }
            for path in self.manifests_of(day).await.map_err(|failure| error_of(&failure))? {
                let manifest = self.manifest(&path).await?;
                if let Some(manifest) = manifest.filter(|manifest| manifest.rows.contains_key(&id.0)) {
                    found_on = Some(day);
                    found.push(manifest);
                }
            }
        }
        found.sort_by_key(|manifest| std::cmp::Reverse(manifest.header.written_unix_nano));
        Ok(found)
    }

    /// The spans of an object; `None`: it is gone.
    async fn object(&self, path: &str) -> Result<Option<Batch>, ArchiveError> {
        let read = self.objects.get(path).await.map_err(|failure| error_of(&failure))?;
        let Some(bytes) = read else { return Ok(None) };
        let path = path.to_owned();
        let decoding = tokio::task::spawn_blocking(move || {
            decode(&path, Signal::Traces, &bytes).map_err(|error| format!("{path}: {error}"))
        });
        match decoding.await {
            Ok(batch) => Ok(Some(batch.map_err(ArchiveError::Unreadable)?)),
            Err(_) => Err(ArchiveError::Unreadable("decoding was interrupted".to_owned())),
        }
    }

    async fn read_trace(&self, id: TraceId) -> Result<Option<Batch>, ArchiveError> {
        let mut keep = Keep {
            traces: HashSet::from([id.0]),
            seen: Some(HashSet::new()),
        };
        let mut batches = Vec::new();
        for manifest in self.manifests_with(id).await? {
            if let Some(batch) = self.object(&manifest.header.object).await? {
                batches.extend(keep.of(batch)?);
            }
        }
        let first = batches.first().map(|batch: &Batch| Arc::clone(batch.origin()));
        Ok(first.map(|origin| Batch::join(Signal::Traces, batches, origin)))
    }

    /// The manifest after `page` (the first without), and whether there are more.
    async fn page(&self, day: Day, page: Option<&str>) -> Result<(Option<Manifest>, Option<String>), ArchiveError> {
        let paths = self.manifests_of(day).await.map_err(|failure| error_of(&failure))?;
        let mut left = paths.iter().filter(|path| page.is_none_or(|page| path.as_str() > page));
        let Some(path) = left.next() else {
            return Ok((None, None));
        };
        let manifest = self.manifest(path).await?;
        Ok((manifest, left.next().map(|_| path.clone())))
    }
}

impl Finding {
    fn add(&mut self, row: &Row, expires_at: Option<UnixNanos>) {
        match &mut self.row {
            Some(have) => have.add(row),
            None => self.row = Some(row.clone()),
        }
        // The trace is whole as long as its first part to go is there.
        let first = match (self.expires_at.flatten(), expires_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.expires_at = Some(first);
    }

    /// What is there is there, even if more could not be read.
    fn answer(&self) -> Found {
        match (&self.row, &self.unknown) {
            (Some(row), _) => {
                let ids = row.closed.iter().chain(&row.open).copied();
                Found::Copy(StoredCopy {
                    spans: u32::try_from(row.closed.len() + row.open.len()).unwrap_or(u32::MAX),
                    span_xor: Some(span_xor(ids)),
                    revision: None,
                    in_progress: !row.open.is_empty(),
                    limit_exceeded: row.limit_exceeded,
                    expires_at: self.expires_at.flatten(),
                })
            }
            (None, Some(why)) => Found::Unknown(why.clone()),
            (None, None) => Found::Nothing,
        }
    }
}

fn doubt<'a>(findings: impl Iterator<Item = &'a mut Finding>, why: &str) {
    for finding in findings {
        finding.unknown.get_or_insert_with(|| why.to_owned());
    }
}

fn error_of(failure: &Failure) -> ArchiveError {
    match failure {
        Failure::Denied { .. } | Failure::NoCredentials(_) | Failure::Expired => {
            ArchiveError::Denied(failure.to_string())
        }
        failure => ArchiveError::Unreachable(failure.to_string()),
    }
}

/// Drops the spans of other traces, and those that were seen before.
struct Keep {
    traces: HashSet<[u8; 16]>,
    seen: Option<HashSet<[u8; 8]>>,
}

impl Keep {
    fn of(&mut self, batch: Batch) -> Result<Option<Batch>, ArchiveError> {
        let rewritten = batch.rewrite(self);
        let rewritten = rewritten.map_err(|error| ArchiveError::Unreadable(error.to_string()))?;
        Ok(rewritten.batch.filter(|batch| batch.items() > 0))
    }
}

impl Rewriter for Keep {
    fn item(&mut self, _at: At<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let span = Span::of(edit.bytes());
        let is_wanted = <[u8; 16]>::try_from(span.trace_id()?).is_ok_and(|id| self.traces.contains(&id));
        let is_new = match (&mut self.seen, <[u8; 8]>::try_from(span.span_id()?)) {
            (Some(seen), Ok(id)) if is_wanted => seen.insert(id),
            _ => true,
        };
        Ok(if is_wanted && is_new { Visit::Keep } else { Visit::Drop })
    }
}

impl Archive for ObjectArchive {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn lifetime(&self) -> BoxFuture<'_, Result<Option<Duration>, ArchiveError>> {
        Box::pin(async move {
            if let Some(lifetime) = self.settings.lifetime {
                return Ok(lifetime);
            }
            let rules = self.rules().await.map_err(|failure| error_of(&failure))?;
            Ok(lifecycle::lifetime(&rules, &self.objects.key(""), self.clock.now()))
        })
    }

    fn probe<'a>(&'a self, day: Day, ids: &'a [TraceId]) -> BoxFuture<'a, Vec<Found>> {
        Box::pin(self.probe_all(day, ids))
    }

    fn read(&self, id: TraceId) -> BoxFuture<'_, Result<Option<Batch>, ArchiveError>> {
        Box::pin(self.read_trace(id))
    }

    fn list(&self, day: Day, page: Option<String>) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(async move {
            let (manifest, next) = self.page(day, page.as_deref()).await?;
            let rows = manifest.map(|manifest| manifest.rows).unwrap_or_default();
            Ok((rows.into_keys().map(TraceId).collect(), next))
        })
    }

    fn batches(&self, day: Day, page: Option<String>) -> BoxFuture<'_, Result<Batches, ArchiveError>> {
        Box::pin(async move {
            let (manifest, next) = self.page(day, page.as_deref()).await?;
            let Some(Manifest { header, rows }) = manifest else {
                return Ok((Vec::new(), next));
            };
            let batch = self.object(&header.object).await?;
            let mut keep = Keep {
                traces: BTreeMap::into_keys(rows).collect(),
                seen: None,
            };
            let kept = batch.map(|batch| keep.of(batch)).transpose()?.flatten();
            Ok((kept.into_iter().collect(), next))
        })
    }

    fn spent(&self) -> Spent {
        Spent {
            calls: self.objects.calls(),
            read_units: 0.0,
        }
    }
}
