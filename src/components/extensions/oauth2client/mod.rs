//! `oauth2client`: exporters prove who they are with a token of an OAuth 2 server, by client credentials (RFC 6749, 4.4).
//! The token is asked for once for all requests, and again before it expires.

#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};

use self::token::{OAuth2Client, Settings};
use super::watched_file::Part;
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, ExtensionPlan, Factory, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::config::types::{GoDuration, Secret};
use crate::net::server::refuse_unbuilt;
use crate::net::tls::client::ClientTls;
use crate::pdata::Signal;

/// For a request to the token server where `timeout` is not set.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tokens are renewed so long before they expire.
const EXPIRY_BUFFER: Duration = Duration::from_secs(300);

/// The registry's entry.
pub struct OAuth2ClientFactory;

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    client_id: String,
    client_id_file: String,
    client_secret: Secret,
    client_secret_file: String,
    token_url: String,
    scopes: Vec<String>,
    timeout: Option<GoDuration>,
    expiry_buffer: Option<GoDuration>,
}

/// A checked section.
struct Config {
    keys: Keys,
    token_url: Uri,
    parameters: Vec<(String, Secret)>,
    tls: ClientTls,
}

impl Factory for OAuth2ClientFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "oauth2client"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["oauth2_client"]
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Tokens of an OAuth 2 server for exporters, by client credentials."
    }

    fn example(&self) -> &'static str {
        "client_id: shop\nclient_secret: correct-horse\ntoken_url: https://login.example/oauth2/token\nscopes: [metrics]\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        refuse_unbuilt(
            section,
            &["grant_type", "client_certificate_key", "client_certificate_key_file"],
        );
        let parameters = section.take("endpoint_params").map(|params| read_parameters(&params));
        let tls = ClientTls::read(section);
        let keys: Keys = section.read()?;
        if keys.client_id.is_empty() && keys.client_id_file.is_empty() {
            section.error("no client: give `client_id` or `client_id_file`");
            return None;
        }
        if keys.client_secret.reveal().is_empty() && keys.client_secret_file.is_empty() {
            section.error("no secret: give `client_secret` or `client_secret_file`");
            return None;
        }
        for (key, path) in [
            ("client_id_file", &keys.client_id_file),
            ("client_secret_file", &keys.client_secret_file),
        ] {
            if let Err(problem) = Part::open(Secret::default(), path) {
                section.error_at(key, problem);
                return None;
            }
        }
        let token_url = read_url(section, &keys.token_url)?;
        Some(Plan::Extension(Box::new(Config {
            keys,
            token_url,
            parameters: parameters.unwrap_or_default(),
            tls,
        })))
    }
}

fn read_url(section: &Section, text: &str) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
    match uri.as_ref().and_then(Uri::scheme_str) {
        Some("https") => uri,
        Some("http") => {
            let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
            if !matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
                section.warn_at("token_url", "the client's secret goes there in plain text");
            }
            uri
        }
        _ => {
            section.error_at("token_url", "must be a URL, e.g. `https://login.example/oauth2/token`");
            None
        }
    }
}

/// Values, or lists of values, as Go's `url.Values`.
fn read_parameters(section: &Section) -> Vec<(String, Secret)> {
    let mut parameters = Vec::new();
    for key in section.keys() {
        let Some(value) = section.take(&key) else { continue };
        let elements = value.elements();
        if elements.is_empty() {
            parameters.extend(value.read::<Secret>().map(|value| (key.clone(), value)));
        }
        for element in elements {
            parameters.extend(element.read::<Secret>().map(|value| (key.clone(), value)));
        }
    }
    parameters
}

impl ExtensionPlan for Config {
    fn authenticates(&self) -> bool {
        true
    }

    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let started = self.open(&context).map(|client| {
            let all = &context.authenticators;
            all.register(&context.id, Some(Arc::new(client)), None)
        });
        Box::pin(std::future::ready(
            started.map_err(|problem| StartError::new(&context, problem)),
        ))
    }
}

impl Config {
    fn open(&self, context: &BuildContext) -> Result<OAuth2Client, String> {
        let keys = &self.keys;
        let settings = Settings {
            id: Part::open(Secret::new(keys.client_id.as_str()), &keys.client_id_file)?,
            secret: Part::open(keys.client_secret.clone(), &keys.client_secret_file)?,
            token_url: self.token_url.clone(),
            scopes: keys.scopes.join(" "),
            parameters: self.parameters.clone(),
            timeout: keys
                .timeout
                .map(|timeout| timeout.0)
                .filter(|timeout| !timeout.is_zero())
                .unwrap_or(TIMEOUT),
            expiry_buffer: keys.expiry_buffer.map_or(EXPIRY_BUFFER, |buffer| buffer.0),
        };
        Ok(OAuth2Client::new(
            settings,
            self.tls.clone(),
            Arc::clone(&context.clock),
        ))
    }
}
