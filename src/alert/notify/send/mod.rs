//! The ways out: a message as each kind of receiver wants it, one attempt at a time.

mod alertmanager;
mod http;
mod pagerduty;
mod slack;
#[cfg(feature = "aws")]
mod sns;
#[cfg(test)]
mod tests;
mod webhook;

pub use alertmanager::Alertmanager;

use std::sync::Arc;

use super::config::{Out, Settings, Target};
use super::message::Message;
use super::outbox::Failed;
use super::payload;
use super::state::Entry;
use super::template::{Escape, Text};
use crate::component::{BoxFuture, BuildContext};

/// One attempt to deliver a message.
pub trait Outlet: Send + Sync {
    /// `place`: what the last delivery of this lane answered. Answers where the message can be found again, if it can.
    fn send<'a>(&'a self, entry: &'a Entry, place: Option<&'a str>) -> BoxFuture<'a, Result<Option<String>, Failed>>;
}

/// What all ways out share.
#[derive(Clone)]
pub struct Common {
    pub settings: Arc<Settings>,
    pub context: BuildContext,
}

impl Common {
    /// A text of the configuration for a message. One that fails is replaced by what matters.
    fn text(&self, text: &Text, message: &Message, escape: Escape) -> String {
        let data = payload::template_data(message, &self.settings.links);
        match self.settings.templates.render(text, &data, escape) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(%error, "A template of a notification failed. A plain text is sent instead.");
                let names: Vec<&str> = message.lines.iter().take(10).map(|line| line.facts.name()).collect();
                super::template::escaped(&format!("[{}] {}", message.status(), names.join(", ")), escape)
            }
        }
    }
}

/// The way out of an outlet that is told message by message; `None`: it is synced.
pub fn outlet(out: &Out, common: &Common) -> Option<Arc<dyn Outlet>> {
    match &out.target {
        Target::Alertmanager(_) => None,
        Target::Webhook(hook) => Some(Arc::new(webhook::Webhook::new(hook, common))),
        Target::Slack(slack) => Some(Arc::new(slack::Slack::new(slack, common))),
        Target::PagerDuty(service) => Some(Arc::new(pagerduty::PagerDuty::new(service, common))),
        #[cfg(feature = "aws")]
        Target::Sns(sns) => Some(Arc::new(sns::Sns::new(sns, common))),
        // The configuration refuses it where there is no AWS.
        #[cfg(not(feature = "aws"))]
        Target::Sns(_) => None,
    }
}

/// At most so many characters, with an ellipsis where some were cut off.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(3)).collect();
    short.push_str("...");
    short
}
