//! The HTTP API of dev mode: `/api/v1/...` over the answers, and what guards it.
//!
//! [`api`] serves what the store knows; routers of pages and of other parts of dev mode are merged beside it by
//! whoever runs the admin listener, and [`guarded`] goes around all of them. The `Host` check is the admin listener's.

mod guard;
mod params;
mod routes;
mod stream;
#[cfg(test)]
mod tests;

pub use guard::guarded;
pub use params::{Api, Params, respond};
pub use routes::api;
pub use stream::Texts;

/// What the store adds to `GET /api/v1/status`.
pub fn status_fields(store: &super::store::Store) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(super::answers::status(store)) {
        Ok(serde_json::Value::Object(mut fields)) => {
            fields.extend(store.about());
            fields
        }
        _ => serde_json::Map::new(),
    }
}
