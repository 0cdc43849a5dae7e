//! The first day: what is usual is learned from what CloudWatch still knows, resource by resource, beside the engine at
//! work.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;

use super::Runtime;
use crate::alert::engine::{Engine, EngineSettings};
use crate::alert::intake::Intake;
use crate::alert::rules::metrics::base_name;
use crate::alert::rules::{Group, aws_metric};
use crate::aws::cloudwatch::Shape;
use crate::aws::cloudwatch::past::{Past, Wishes};

impl Runtime {
    /// Asks for the past of what rules with `anomaly` measure, and learns from each answer.
    pub(super) async fn learn_the_past(&self) {
        let groups: Arc<[Group]> = learning(&self.settings.groups).into();
        let names = names(&groups);
        let span = self.settings.history / 1_000;
        if names.is_empty() || span == 0 {
            return;
        }
        if self
            .quit
            .run_until_cancelled(self.history.loaded.cancelled())
            .await
            .is_none()
        {
            return;
        }
        let wishes = self.context.commons.get::<Wishes>();
        // Held until the engine ends: it is what keeps the wish alive.
        let (_wish, mut answers) = wishes.ask(span, wanted(names), self.asked_before());
        while let Some(Some(past)) = self.quit.run_until_cancelled(answers.recv()).await {
            let (resource, series) = (past.resource, past.series.clone());
            let settings = EngineSettings {
                interval: self.settings.engine.interval,
                ..EngineSettings::default()
            };
            let (groups, labels) = (Arc::clone(&groups), self.settings.resource_labels.clone());
            let work = tokio::task::spawn_blocking(move || rehearsed(&past, settings, &groups, labels));
            let Ok(Some(learned)) = work.await else {
                self.own.unreadable.add(1);
                continue;
            };
            self.core().engine.learn_from(learned, resource);
            self.learned_past_of(resource, series);
            self.own.past_resources.add(1);
        }
    }
}

/// The rules with `anomaly`.
fn learning(groups: &[Group]) -> Vec<Group> {
    let mut found = Vec::new();
    for group in groups {
        let mut group = group.clone();
        group
            .rules
            .retain(|rule| rule.extra.anomaly.is_some() && rule.extra.enabled != Some(false));
        if !group.rules.is_empty() {
            found.push(group);
        }
    }
    found
}

/// The metrics of CloudWatch that they read.
fn names(groups: &[Group]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        rule.expr.selectors(&mut |selector| {
            names.extend(selector.name.as_deref().and_then(aws_metric).map(|metric| metric.base));
        });
    }
    names
}

/// Whether a shape is one of these metrics; asked for every series in every round, so the answer is remembered.
fn wanted(names: BTreeSet<String>) -> impl Fn(&Shape) -> bool + Send + Sync {
    type Answers = HashMap<(Arc<str>, Arc<str>), bool>;
    let known: Mutex<Answers> = Mutex::default();
    move |shape: &Shape| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(&shape.namespace), Arc::clone(&shape.metric));
        *known
            .entry(key)
            .or_insert_with(|| names.contains(&base_name(&shape.namespace, &shape.metric)))
    }
}

/// An engine of its own that has learned from one past. `None`: it cannot be read.
fn rehearsed(past: &Past, settings: EngineSettings, groups: &[Group], labels: Vec<String>) -> Option<Engine> {
    let mut engine = Engine::new(settings, groups);
    let mut intake = Intake::new(labels);
    let (from, to) = (past.from * 1_000, past.to * 1_000);
    intake.metrics(&past.request.encode_to_vec(), to, &mut engine).ok()?;
    engine.rehearse(from, to);
    Some(engine)
}
