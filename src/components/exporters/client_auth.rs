//! `auth: {authenticator: ID}` of an exporter.

use serde::{Deserialize, Serialize};

use crate::component::ComponentId;
use crate::config::Section;

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct Keys {
    authenticator: String,
}

/// The extension named; whether there is such an extension is checked with the whole configuration.
pub fn read(section: &Section) -> Option<ComponentId> {
    let auth = section.take("auth").filter(|auth| !auth.is_null())?;
    let id = auth.read::<Keys>()?.authenticator;
    if id.is_empty() {
        auth.error_at("authenticator", "names no extension");
        return None;
    }
    Some(ComponentId::new(&id))
}

/// Credentials go out and nothing hides them; on this machine nobody minds.
pub fn warn_of_plain_text(section: &Section, host: &str) {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if !is_local {
        section.warn_at("auth", format!("credentials are sent to {host} in plain text: use TLS"));
    }
}
