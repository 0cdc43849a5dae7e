//! A peer of an Alertmanager, which is told again and again what fires: what it is not told for four minutes is over.

use http::HeaderMap;

use super::super::config::AlertmanagerOut;
use super::super::message::Facts;
use super::super::outbox::Failed;
use super::super::payload;
use super::Common;
use super::http::Poster;

/// Nanoseconds from one telling to the end of what is told.
const LASTS: u64 = 4 * 60 * 1_000_000_000;
/// Alerts in one request.
const MOST: usize = 256;

/// See the module.
pub struct Alertmanager {
    poster: Poster,
    common: Common,
}

impl Alertmanager {
    pub fn new(out: &AlertmanagerOut, common: &Common) -> Self {
        Self {
            poster: Poster::new(&out.http, &common.context),
            common: common.clone(),
        }
    }

    /// Tells everything. What was refused for good is left out the next time only when it has ended.
    ///
    /// # Errors
    /// The first failure.
    pub async fn tell(&self, alerts: &[Facts]) -> Result<(), Failed> {
        for part in alerts.chunks(MOST) {
            let until = self.poster.now() + LASTS;
            let body = payload::alertmanager(part, &self.common.settings.links, until);
            let body = body.to_string().into_bytes();
            self.poster
                .post(self.poster.uri.clone(), HeaderMap::new(), body)
                .await?;
        }
        Ok(())
    }
}
