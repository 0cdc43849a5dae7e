//! Where an HTTP receiver is and how it is reached: URL, TLS, proxy, headers, who proves who we are.

use std::time::Duration;

use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde::{Deserialize, Serialize};

use crate::component::ComponentId;
use crate::config::Section;
use crate::config::types::{GoDuration, HeaderMap as HeaderKeys, Secret};
use crate::net::client::proxy::{Proxy, ProxyRules};
use crate::net::tls::client::ClientTls;

/// Checked. The URLs are secrets as often as not: those of Slack are all it takes to write to a channel.
#[derive(Clone)]
pub struct HttpTarget {
    pub uri: Uri,
    /// Sensitive ones are marked.
    pub headers: HeaderMap,
    pub tls: ClientTls,
    /// `None`: the environment says.
    pub proxies: Option<ProxyRules>,
    /// The extension that signs or authorizes.
    pub auth: Option<ComponentId>,
    /// Of one attempt.
    pub timeout: Duration,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    headers: HeaderKeys,
    timeout: Option<GoDuration>,
    proxy_url: Secret,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct AuthKeys {
    authenticator: String,
}

/// Alertmanager's `http_config`, as far as it is known here.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct HttpConfigKeys {
    proxy_url: Secret,
    follow_redirects: Option<bool>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct AuthorizationKeys {
    r#type: String,
    credentials: Secret,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct BasicKeys {
    username: String,
    password: Secret,
}

impl HttpTarget {
    /// Reads what belongs to the connection from the section of a receiver; `key`: that of the URL.
    pub fn read(section: &Section, key: &str, url: &str) -> Option<Self> {
        let keys: Keys = section.read().unwrap_or_default();
        let mut headers = read_headers(section, &keys.headers);
        let mut proxy = ("proxy_url", keys.proxy_url);
        if let Some(config) = section.take("http_config") {
            let more: HttpConfigKeys = config.read().unwrap_or_default();
            if more.follow_redirects == Some(true) {
                config.warn_at("follow_redirects", "has no effect: a redirect counts as a refusal");
            }
            if !more.proxy_url.reveal().is_empty() {
                proxy = ("http_config::proxy_url", more.proxy_url);
            }
            if config.take("tls_config").is_some() {
                config.error_at(
                    "tls_config",
                    "write it as `tls` beside `http_config`, with the keys of the exporters",
                );
            }
            read_authorization(&config, &mut headers);
        }
        let tls = ClientTls::read(section);
        let proxies = read_proxy(section, proxy.0, proxy.1.reveal());
        let auth = read_auth(section);
        let uri = read_url(section, key, url)?;
        Some(Self {
            uri,
            headers,
            tls,
            proxies,
            auth,
            timeout: keys.timeout.map_or(Duration::from_secs(10), |timeout| timeout.0),
        })
    }
}

fn read_url(section: &Section, key: &str, text: &str) -> Option<Uri> {
    let url = url::Url::parse(text.trim()).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    let uri = url.and_then(|mut url| {
        url.set_fragment(None);
        Uri::try_from(url.as_str()).ok()
    });
    if uri.is_none() {
        section.error_at(
            key,
            "must be a URL that begins with http:// or https:// and names a host",
        );
    }
    uri
}

fn read_proxy(section: &Section, key: &str, url: &str) -> Option<ProxyRules> {
    if url.is_empty() {
        return None;
    }
    match Proxy::parse(url) {
        Ok(proxy) => Some(ProxyRules::always(proxy)),
        Err(problem) => {
            section.error_at(key, problem.to_string());
            None
        }
    }
}

/// `auth: {authenticator: ID}`.
fn read_auth(section: &Section) -> Option<ComponentId> {
    let auth = section.take("auth")?;
    let id = auth.read::<AuthKeys>()?.authenticator;
    if id.is_empty() {
        auth.error_at("authenticator", "names no extension");
        return None;
    }
    Some(ComponentId::new(&id))
}

fn read_headers(section: &Section, given: &HeaderKeys) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &given.0 {
        match (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value.reveal()),
        ) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.append(name, value);
            }
            _ => section.error_at(
                "headers",
                format!("{name:?} or its value is nothing a header can carry"),
            ),
        }
    }
    headers
}

fn read_authorization(config: &Section, headers: &mut HeaderMap) {
    let mut set = |key: &str, text: String| match HeaderValue::try_from(text) {
        Ok(mut value) => {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Err(_) => config.error_at(key, "holds characters that a header cannot carry"),
    };
    if let Some(section) = config.take("authorization") {
        let keys: AuthorizationKeys = section.read().unwrap_or_default();
        let kind = if keys.r#type.is_empty() { "Bearer" } else { &keys.r#type };
        set("authorization", format!("{kind} {}", keys.credentials.reveal()));
    }
    if let Some(section) = config.take("basic_auth") {
        let keys: BasicKeys = section.read().unwrap_or_default();
        let pair = format!("{}:{}", keys.username, keys.password.reveal());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        set("basic_auth", format!("Basic {pair}"));
    }
}
