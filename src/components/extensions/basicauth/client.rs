//! What an exporter sends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::super::watched_file::Part;
use crate::component::{BoxFuture, ClientAuth, Outgoing, Refused};

/// Adds `Authorization: Basic ...`.
pub struct BasicClient {
    pub user: Part,
    pub password: Part,
}

impl BasicClient {
    fn add(&self, headers: &mut http::HeaderMap) -> Result<(), Refused> {
        let pair = Zeroizing::new(format!("{}:{}", self.user.get().reveal(), self.password.get().reveal()));
        let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut value = value.map_err(|_| Refused::permanent("basicauth: the credentials cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

impl ClientAuth for BasicClient {
    fn authorize<'a>(&'a self, request: Outgoing<'a>) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(std::future::ready(self.add(request.headers)))
    }

    /// What stands in a file may be renewed there.
    fn was_rejected(&self) -> bool {
        matches!((&self.user, &self.password), (Part::File(_), _) | (_, Part::File(_)))
    }
}
