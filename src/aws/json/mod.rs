//! A thin awsJson 1.1 client for the services whose SDK crate would cost more than it gives: SageMaker (its crate has
//! 409 operations, we need 15), tagging, CloudWatch Logs. Signs, sends one attempt through the SDK's own HTTP client, reads a capped
//! answer, follows NextToken. Knows no retries: rate and back-off are [`Calls`]' and its callers'.

mod client;
pub mod logs;
pub mod sagemaker;
pub mod tagging;

#[cfg(test)]
mod tests;

pub use client::{JsonClient, Service};

use std::future::Future;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Calls, Failure};

/// Pages of one listing; more than this is an answer gone wrong, or a fleet that wants filters.
pub const MAX_PAGES: usize = 500;

/// One page of a listing.
pub trait Page: DeserializeOwned + Send {
    type Item: Send;
    /// What the page holds, and where the next one begins.
    fn open(self) -> (Vec<Self::Item>, Option<String>);
}

/// A listing: everything, or what came before the bound on pages.
pub struct Listing<T> {
    pub items: Vec<T>,
    /// There was more than [`MAX_PAGES`] pages.
    pub cut: bool,
}

impl JsonClient {
    /// One call: waits for its turn in `calls`, which also counts it.
    ///
    /// # Errors
    /// The classified failure.
    pub fn call<'a, A>(
        &'a self,
        calls: &'a Calls,
        operation: &'a str,
        request: &'a Map<String, Value>,
    ) -> impl Future<Output = Result<A, Failure>> + Send + 'a
    where
        A: DeserializeOwned + Send + 'a,
    {
        calls.send(move || self.send::<A>(operation, request))
    }

    /// A listing to its end. `token` is the member that names the next page, `NextToken` in most APIs. A page that fails
    /// fails the listing: the caller keeps what it knew.
    ///
    /// # Errors
    /// That of the first page that failed.
    pub async fn list<P: Page>(
        &self,
        calls: &Calls,
        operation: &str,
        mut request: Map<String, Value>,
        token: &str,
    ) -> Result<Listing<P::Item>, Failure> {
        let mut items = Vec::new();
        for _ in 0..MAX_PAGES {
            let page: P = self.call(calls, operation, &request).await?;
            let (more, next) = page.open();
            items.extend(more);
            match next.filter(|next| !next.is_empty()) {
                Some(next) => request.insert(token.to_owned(), Value::String(next)),
                None => return Ok(Listing { items, cut: false }),
            };
        }
        tracing::warn!(
            operation,
            pages = MAX_PAGES,
            items = items.len(),
            "an AWS listing does not end; its rest is left out"
        );
        Ok(Listing { items, cut: true })
    }
}

/// A request's members.
pub fn request<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// awsJson times: seconds since the epoch with a fraction.
pub(crate) fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let value: Option<f64> = serde::Deserialize::deserialize(deserializer)?;
    Ok(value
        .filter(|seconds| seconds.is_finite())
        .map(|seconds| seconds.floor() as i64))
}
