//! A dispatcher, its state and its receivers on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::super::config::{Settings, SilenceRequest};
use super::super::super::counts::Counts;
use super::super::super::dispatch_testing::S;
use super::super::super::outbox::Failed;
use super::super::super::state::{Entry, Kept};
use super::super::{Dispatcher, Kind};
use crate::alert::Told;
use crate::component::{ComponentKind, Instruments, MemoryState, StateStore};
use crate::config::Section;

pub struct Sim {
    pub dispatcher: Dispatcher,
    settings: Arc<Settings>,
    counts: Counts,
    pub instruments: Instruments,
    state: MemoryState,
    /// Seconds.
    pub now: u64,
    delivered: Vec<String>,
    /// Outlets that do not answer.
    pub down: BTreeSet<String>,
    /// Outlets that refuse for good.
    pub refusing: BTreeSet<String>,
    /// By key: what an idempotent receiver has taken.
    pub taken: BTreeMap<String, Entry>,
    pub attempts: usize,
}

impl Sim {
    /// With a webhook for each receiver.
    pub fn new(config: &str, receivers: &[&str]) -> Self {
        let receivers: Vec<String> = receivers
            .iter()
            .map(|name| format!("{{name: {name}, webhook_configs: [{{url: 'http://{name}/'}}]}}"))
            .collect();
        Self::from(&format!("{config}\nreceivers: [{}]", receivers.join(", ")))
    }

    pub fn from(config: &str) -> Self {
        let section = Section::from_yaml(config);
        let settings = Arc::new(Settings::read(&section));
        assert_eq!(section.problems(), Vec::<String>::new());
        let instruments = Instruments::standalone(ComponentKind::Processor, "alerts");
        let counts = Counts::new("alerts", &instruments, &settings);
        Self {
            dispatcher: Dispatcher::load(Arc::clone(&settings), counts.clone(), Kept::default(), 0),
            settings,
            counts,
            instruments,
            state: MemoryState::default(),
            now: 0,
            delivered: Vec::new(),
            down: BTreeSet::new(),
            refusing: BTreeSet::new(),
            taken: BTreeMap::new(),
            attempts: 0,
        }
    }

    /// What is in memory is gone.
    pub fn restart(&mut self) {
        let kept = Kept::load(&self.state, "alerts").unwrap();
        assert_eq!(kept.unreadable, 0);
        self.dispatcher = Dispatcher::load(Arc::clone(&self.settings), self.counts.clone(), kept, self.now * S);
    }

    pub fn commit(&mut self) {
        self.state
            .commit(self.dispatcher.changes().to_commit("alerts"))
            .unwrap();
        self.dispatcher.committed();
    }

    /// Lets the time pass until then, and tells.
    pub fn tell(&mut self, seconds: u64, alerts: &[&Told]) {
        self.run_until(seconds);
        let alerts: Vec<Told> = alerts.iter().map(|told| (*told).clone()).collect();
        self.dispatcher.tell(self.now * S, &alerts);
        self.dispatcher.tick(self.now * S);
        self.commit();
        self.deliver();
    }

    pub fn run_until(&mut self, seconds: u64) {
        while let Some(due) = self.next_due().filter(|due| *due <= seconds) {
            self.now = self.now.max(due);
            self.dispatcher.tick(self.now * S);
            self.commit();
            self.deliver();
        }
        self.now = self.now.max(seconds);
        self.dispatcher.tick(self.now * S);
        self.commit();
    }

    fn outs(&self) -> Vec<String> {
        let outs = self.settings.receivers.iter().flat_map(|receiver| &receiver.outs);
        outs.map(|out| out.id.clone()).collect()
    }

    fn next_due(&self) -> Option<u64> {
        let outs = self.outs();
        let outs = outs.iter().filter_map(|out| self.dispatcher.out_due(out));
        let due = outs.chain(self.dispatcher.next_due()).min()?;
        Some(due.div_ceil(S).max(self.now))
    }

    fn deliver(&mut self) {
        for out in self.outs() {
            while let Some(entry) = self.dispatcher.take(&out, self.now * S) {
                self.attempt(&entry);
                self.commit();
            }
        }
    }

    pub fn attempt(&mut self, entry: &Entry) {
        self.attempts += 1;
        let now = self.now * S;
        if self.down.contains(&entry.out) {
            let why = "down".to_owned();
            self.dispatcher.failed(entry, &Failed::Retry { after: None, why }, now);
        } else if self.refusing.contains(&entry.out) {
            let why = "no".to_owned();
            self.dispatcher.failed(entry, &Failed::Refused { why }, now);
        } else {
            self.take(entry);
            self.dispatcher.delivered(entry, None);
        }
    }

    /// The receiver has it.
    pub fn take(&mut self, entry: &Entry) {
        let key = format!("{} {}", entry.out, entry.message.key());
        if self.taken.insert(key, entry.clone()).is_none() {
            self.delivered.push(format!("{} {}", self.now, shown(entry)));
        }
    }

    /// Every message, as `seconds outlet kind alert+ alert-`.
    pub fn told(&self) -> Vec<String> {
        self.delivered.clone()
    }

    pub fn told_to(&self, out: &str) -> Vec<String> {
        let of_out = self.delivered.iter().filter(|line| line.split(' ').nth(1) == Some(out));
        of_out.cloned().collect()
    }

    pub fn silence(&mut self, matcher: &str, from: u64, to: u64) -> String {
        let time = |seconds: u64| jiff::Timestamp::from_second(seconds as i64).unwrap().to_string();
        let request = SilenceRequest {
            matchers: vec![matcher.to_owned()],
            starts_at: time(from),
            ends_at: time(to),
            created_by: "me".to_owned(),
            comment: "test".to_owned(),
            ..SilenceRequest::default()
        };
        let id = self.dispatcher.silence(request, self.now * S).unwrap();
        self.commit();
        id
    }

    pub fn acknowledge(&mut self, fingerprint: u64) {
        self.dispatcher
            .acknowledge(fingerprint, "ann", "", self.now * S)
            .unwrap();
        self.commit();
        self.deliver();
    }

    pub fn incidents(&self) -> usize {
        self.dispatcher.incidents().count()
    }

    pub fn counted(&self, name: &str, label: &str) -> u64 {
        let samples = self.instruments.registry().gather();
        let of_name = samples.iter().filter(|sample| sample.name == name);
        let of_label = of_name.filter(|sample| sample.labels.iter().any(|(_, value)| value == label));
        of_label
            .map(|sample| match sample.value {
                crate::component::SampleValue::Counter(count) => count,
                _ => 0,
            })
            .sum()
    }
}

fn shown(entry: &Entry) -> String {
    let message = &entry.message;
    let mut line = format!("{} {}", entry.out, message.kind.name());
    let mut lines: Vec<_> = message.lines.iter().collect();
    lines.sort_by_key(|line| (!line.facts.fires(), line.facts.name().to_owned()));
    for one in lines {
        let sign = if one.facts.fires() { '+' } else { '-' };
        let acknowledged = if one.acknowledged_by.is_empty() { "" } else { "(ack)" };
        line.push_str(&format!(" {}{sign}{acknowledged}", one.facts.name()));
    }
    if message.kind == Kind::Escalation {
        line.push_str(&format!(" step{}", message.step));
    } else if message.kind == Kind::Alert && message.repeat > 0 {
        line.push_str(&format!(" repeat{}", message.repeat));
    }
    line
}
