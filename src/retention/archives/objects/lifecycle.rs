//! How long a bucket keeps what is written into it: its lifecycle rules.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, Uri};
use serde::Deserialize;

use crate::aws::Failure;
use crate::aws::sign::{SignError, Signer};
use crate::component::UnixNanos;
use crate::net::client::http::HttpClient;

const LONGEST_ANSWER: usize = 1 << 20;
const ACTION: &str = "s3:GetLifecycleConfiguration";
const DAY: Duration = Duration::from_secs(86_400);
/// Of the whole exchange.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks a bucket for its rules.
pub struct Rules {
    http: Arc<HttpClient>,
    signer: Arc<Signer>,
    url: String,
}

/// What deletes objects: after how long, or when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    After(Duration),
    At(UnixNanos),
}

/// One rule that deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    prefix: String,
    expiry: Expiry,
}

impl Rules {
    pub(super) fn new(http: Arc<HttpClient>, signer: Arc<Signer>, url: String) -> Self {
        Self { http, signer, url }
    }

    pub(super) async fn forget_credentials(&self) {
        self.signer.forget().await;
    }

    /// The rules that delete. None where the bucket has no rules.
    pub(super) async fn read(&self) -> Result<Vec<Rule>, Failure> {
        let uri: Uri = self
            .url
            .parse()
            .map_err(|error| Failure::Unreachable(format!("{}: {error}", self.url)))?;
        let mut headers = HeaderMap::new();
        let signed = self.signer.sign("GET", &uri, &mut headers, b"").await;
        signed.map_err(|error| match error {
            SignError::NoCredentials(why) => Failure::NoCredentials(why),
            SignError::NotSignable(why) => Failure::Unreachable(why),
        })?;
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let answered = tokio::time::timeout(PATIENCE, self.http.exchange(request, LONGEST_ANSWER)).await;
        let answer = answered
            .map_err(|_late| Failure::Timeout)?
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let text = String::from_utf8_lossy(&answer.body);
        match answer.status {
            StatusCode::OK => parse(&text),
            StatusCode::NOT_FOUND if text.contains("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(Failure::Denied {
                action: ACTION.to_owned(),
                message: "set `lifetime` where the rules may not be read".to_owned(),
            }),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(Failure::Throttled {
                code: "SlowDown".to_owned(),
            }),
            status => Err(Failure::Server {
                status: status.as_u16(),
                code: "GetBucketLifecycleConfiguration".to_owned(),
            }),
        }
    }
}

/// The shortest life that the rules allow to what is written below `prefix` at `now`; `None`: for ever.
pub(super) fn lifetime(rules: &[Rule], prefix: &str, now: UnixNanos) -> Option<Duration> {
    rules
        .iter()
        // One for a part of what is below counts for all of it: the safe side.
        .filter(|rule| prefix.starts_with(&rule.prefix) || rule.prefix.starts_with(prefix))
        .map(|rule| match rule.expiry {
            Expiry::After(duration) => duration,
            Expiry::At(at) => Duration::from_nanos(at.0.saturating_sub(now.0)),
        })
        .min()
}

/// When the rules delete an object; `None`: never. S3 waits for the next midnight, which is not counted.
pub(super) fn expires(rules: &[Rule], key: &str, written: UnixNanos) -> Option<UnixNanos> {
    rules
        .iter()
        .filter(|rule| key.starts_with(&rule.prefix))
        .map(|rule| match rule.expiry {
            Expiry::After(duration) => {
                let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                UnixNanos(written.0.saturating_add(nanos))
            }
            Expiry::At(at) => at,
        })
        .min()
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "Rule", default)]
    rules: Vec<RuleXml>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuleXml {
    status: String,
    /// The old place of the prefix.
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    filter: Option<FilterXml>,
    #[serde(default)]
    expiration: Option<ExpirationXml>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct FilterXml {
    prefix: Option<String>,
    and: Option<AndXml>,
    /// Objects of ours have no tags.
    tag: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct AndXml {
    prefix: Option<String>,
    tag: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ExpirationXml {
    days: Option<u32>,
    date: Option<String>,
}

fn parse(text: &str) -> Result<Vec<Rule>, Failure> {
    let read: Configuration = quick_xml::de::from_str(text).map_err(|error| Failure::Server {
        status: 200,
        code: format!("unreadable lifecycle rules: {error}"),
    })?;
    let mut rules = Vec::new();
    for rule in read.rules {
        let filter = rule.filter.unwrap_or_default();
        let and = filter.and.unwrap_or_default();
        let needs_tag = filter.tag.is_some() || !and.tag.is_empty();
        let Some(expiration) = rule.expiration.filter(|_| rule.status == "Enabled" && !needs_tag) else {
            continue;
        };
        let prefix = filter.prefix.or(and.prefix).or(rule.prefix).unwrap_or_default();
        let at = expiration.date.and_then(|date| date.parse::<jiff::Timestamp>().ok());
        let expiry = match (expiration.days, at) {
            (Some(days), _) => Expiry::After(DAY * days),
            (None, Some(at)) => Expiry::At(UnixNanos::from_seconds(
                u64::try_from(at.as_second()).unwrap_or_default(),
            )),
            // Of delete markers only.
            (None, None) => continue,
        };
        rules.push(Rule { prefix, expiry });
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Rule><ID>a</ID><Filter><Prefix>traces/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>90</Days></Expiration></Rule>
  <Rule><ID>b</ID><Filter/><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>
  <Rule><ID>c</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><Expiration><Days>2</Days></Expiration></Rule>
  <Rule><ID>d</ID><Filter><And><Prefix>traces/old</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status>
    <Expiration><Days>30</Days></Expiration><Transition><Days>3</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>
  <Rule><ID>e</ID><Prefix>logs/</Prefix><Status>Enabled</Status><Expiration><Date>2026-12-01T00:00:00Z</Date></Expiration></Rule>
  <Rule><ID>f</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>4</NoncurrentDays></NoncurrentVersionExpiration></Rule>
</LifecycleConfiguration>"#;

    #[test]
    fn the_shortest_rule_that_can_delete_an_object_counts() {
        let rules = parse(RULES).unwrap();
        let now = UnixNanos::from_seconds(1_795_219_200); // 2026-11-21
        let days = |days: u32| Some(DAY * days);
        assert_eq!(lifetime(&rules, "traces/new/", now), days(90));
        assert_eq!(lifetime(&rules, "traces/", now), days(30));
        assert_eq!(lifetime(&rules, "logs/", now), days(10));
        assert_eq!(lifetime(&rules, "other/", now), None);
        let written = UnixNanos::from_seconds(1_000);
        let after = |days: u64| Some(UnixNanos::from_seconds(1_000 + days * 86_400));
        assert_eq!(expires(&rules, "traces/old/a.binpb", written), after(30));
        assert_eq!(expires(&rules, "traces/b.binpb", written), after(90));
        assert_eq!(expires(&rules, "x", written), None);
    }

    #[test]
    fn rules_that_cannot_be_read_are_no_promise() {
        assert!(parse("<LifecycleConfiguration><Rule></LifecycleConfiguration>").is_err());
        assert_eq!(parse("<LifecycleConfiguration/>").unwrap(), []);
    }
}
