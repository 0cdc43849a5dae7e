//! Who sends: the SDKs, for the page's pipeline view.

use std::collections::BTreeMap;

use crate::dev::seen::ServiceSeen;
use crate::pdata::Sent;

/// Clients that are remembered.
const MOST: usize = 500;

/// One service by one SDK and one way of sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub service: String,
    pub sdk: String,
    pub language: String,
    pub version: String,
    pub sent: Sent,
    /// Resource groups that came of it.
    pub requests: u64,
    pub items: u64,
    /// Nanoseconds since the epoch.
    pub last: u64,
}

/// All of them.
#[derive(Default)]
pub struct Clients(BTreeMap<(String, [String; 3], Sent), Client>);

impl Clients {
    /// A group of items came.
    pub fn note(&mut self, service: &ServiceSeen, sent: Sent, items: u64, now: u64) {
        let key = (service.name.to_string(), service.sdk.clone(), sent);
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            return;
        }
        let client = self.0.entry(key).or_insert_with(|| {
            let [sdk, language, version] = service.sdk.clone();
            Client {
                service: service.name.to_string(),
                sdk,
                language,
                version,
                sent,
                ..Client::default()
            }
        });
        client.requests += 1;
        client.items += items;
        client.last = now;
    }

    /// As they are now.
    pub fn all(&self) -> Vec<Client> {
        self.0.values().cloned().collect()
    }
}
