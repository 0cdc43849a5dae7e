//! Slack: an incoming webhook, which only adds messages, or a bot, which edits the message of a group in place.

use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::{Value as Json, json};

use super::super::config::{SlackAccess, SlackOut};
use super::super::outbox::Failed;
use super::super::state::Entry;
use super::super::template::Escape;
use super::http::{Poster, shown};
use super::{Common, Outlet, cut};
use crate::component::BoxFuture;

/// Characters of a text that Slack shows whole.
const MOST_TEXT: usize = 3_000;
const MOST_TITLE: usize = 500;

/// See the module.
pub struct Slack {
    poster: Poster,
    out: SlackOut,
    common: Common,
}

impl Slack {
    pub fn new(out: &SlackOut, common: &Common) -> Self {
        Self {
            poster: Poster::new(&out.http, &common.context),
            out: out.clone(),
            common: common.clone(),
        }
    }

    fn body(&self, entry: &Entry) -> Json {
        let text = |text, escape| self.common.text(text, &entry.message, escape);
        let title = cut(&text(&self.out.title, Escape::Slack), MOST_TITLE);
        let mut attachment = json!({
            "fallback": title,
            "title": title,
            "text": cut(&text(&self.out.text, Escape::Slack), MOST_TEXT),
            "color": text(&self.out.color, Escape::Plain),
            "mrkdwn_in": ["text"],
        });
        let link = text(&self.out.title_link, Escape::Plain);
        if !link.is_empty() {
            attachment["title_link"] = Json::from(link);
        }
        let mut body = json!({"attachments": [attachment]});
        for (name, value) in [
            ("channel", &self.out.channel),
            ("username", &self.out.username),
            ("icon_emoji", &self.out.icon_emoji),
            ("icon_url", &self.out.icon_url),
        ] {
            if !value.is_empty() {
                body[name] = Json::from(value.as_str());
            }
        }
        body
    }

    async fn attempt(&self, entry: &Entry, place: Option<&str>) -> Result<Option<String>, Failed> {
        let mut body = self.body(entry);
        let SlackAccess::Bot(token) = &self.out.access else {
            self.poster
                .post(self.poster.uri.clone(), HeaderMap::new(), body.to_string().into_bytes())
                .await?;
            return Ok(None);
        };
        let mut headers = HeaderMap::new();
        let Ok(mut authorization) = HeaderValue::try_from(format!("Bearer {}", token.reveal())) else {
            let why = "the token holds characters that a header cannot carry".to_owned();
            return Err(Failed::Refused { why });
        };
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
        if let Some((channel, time)) = place.and_then(|place| place.split_once(' ')) {
            let mut edited = body.clone();
            edited["channel"] = Json::from(channel);
            edited["ts"] = Json::from(time);
            match self.call("chat.update", &headers, &edited).await? {
                Ok(place) => return Ok(place),
                // Somebody has deleted it, or it is too old to be edited: a new one.
                Err(error)
                    if matches!(
                        error.as_str(),
                        "message_not_found" | "cant_update_message" | "edit_window_closed"
                    ) => {}
                Err(error) => return Err(judged(&error)),
            }
        }
        body["client_msg_id"] = Json::from(client_id(&entry.message.key()));
        match self.call("chat.postMessage", &headers, &body).await? {
            Ok(place) => Ok(place),
            Err(error) => Err(judged(&error)),
        }
    }

    /// One call of the API: where the message is, or what it says is wrong.
    async fn call(
        &self,
        method: &str,
        headers: &HeaderMap,
        body: &Json,
    ) -> Result<Result<Option<String>, String>, Failed> {
        let base = self.poster.uri.to_string();
        let slash = if base.ends_with('/') { "" } else { "/" };
        let uri = Uri::try_from(format!("{base}{slash}{method}"));
        let uri = uri.map_err(|error| Failed::Refused { why: error.to_string() })?;
        let answer = self
            .poster
            .post(uri, headers.clone(), body.to_string().into_bytes())
            .await?;
        let Ok(said) = serde_json::from_slice::<Json>(&answer.body) else {
            let why = format!("answered what is no JSON: {}", shown(&answer.body));
            return Err(Failed::Retry { after: None, why });
        };
        if said["ok"].as_bool() != Some(true) {
            return Ok(Err(said["error"].as_str().unwrap_or("no reason").to_owned()));
        }
        let place = said["channel"].as_str().zip(said["ts"].as_str());
        Ok(Ok(place.map(|(channel, time)| format!("{channel} {time}"))))
    }
}

fn judged(error: &str) -> Failed {
    let why = format!("Slack said {error:?}");
    match error {
        "ratelimited"
        | "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org" => Failed::Retry { after: None, why },
        _ => Failed::Refused { why },
    }
}

/// The same message has the same UUID.
fn client_id(key: &str) -> String {
    let part = |from: usize, to: usize| key.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

impl Outlet for Slack {
    fn send<'a>(&'a self, entry: &'a Entry, place: Option<&'a str>) -> BoxFuture<'a, Result<Option<String>, Failed>> {
        Box::pin(self.attempt(entry, place))
    }
}
