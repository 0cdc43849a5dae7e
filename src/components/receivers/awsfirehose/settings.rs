//! The receiver's section of the configuration.

use serde::{Deserialize, Serialize};

use super::convert::{Convert, Form};
use crate::config::Section;
use crate::config::types::Secret;
use crate::net::server::HttpGroup;

const ENDPOINT: &str = "localhost:4433";

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    /// The older name of `encoding`.
    record_type: Option<String>,
    encoding: Option<String>,
    access_key: Secret,
    convert: Convert,
}

/// A checked receiver.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) http: HttpGroup,
    pub(super) form: Form,
    pub(super) convert: Convert,
    pub(super) access_key: Secret,
}

impl Settings {
    pub(super) fn check(section: &Section) -> Option<Self> {
        let keys: Keys = section.read()?;
        let http = HttpGroup::check(section, ENDPOINT);
        if http.as_ref().is_some_and(|http| http.cors.is_some()) {
            section.warn_at("cors", "`cors` has no effect here: Firehose is no browser");
        }
        let form = form(section, keys.record_type.as_deref(), keys.encoding.as_deref());
        if keys.access_key.reveal().is_empty() {
            section.error(
                "`access_key` is required: the text that Firehose sends as X-Amz-Firehose-Access-Key; without it anybody \
                 could send",
            );
            return None;
        }
        Some(Self {
            http: http?,
            form: form?,
            convert: keys.convert,
            access_key: keys.access_key,
        })
    }
}

fn form(section: &Section, record_type: Option<&str>, encoding: Option<&str>) -> Option<Form> {
    if let (Some(record_type), Some(encoding)) = (record_type, encoding)
        && record_type != encoding
    {
        section.error_at(
            "record_type",
            "`record_type` is the older name of `encoding`: set one of them",
        );
        return None;
    }
    let (key, name) = match (encoding, record_type) {
        (Some(name), _) => ("encoding", name),
        (None, Some(name)) => ("record_type", name),
        (None, None) => return Some(Form::CwMetrics),
    };
    match name {
        "cwmetrics" => Some(Form::CwMetrics),
        "otlp_v1" => Some(Form::OtlpV1),
        "cwlogs" | "firehoselogs" => {
            section.error_at(key, format!("\"{name}\" is not built yet; known: cwmetrics, otlp_v1"));
            None
        }
        _ => {
            section.error_at(key, format!("unknown encoding \"{name}\"; known: cwmetrics, otlp_v1"));
            None
        }
    }
}
