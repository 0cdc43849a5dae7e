//! Dev mode: what `radiosonde dev` adds to the production graph. The embedded store, its query language, the answers that
//! page, command line, MCP and lints share, the HTTP API over them, and the web page.
//!
//! `store` keeps telemetry, `query` finds rows, `answers` makes what is shown of them, `http` serves that, `live` tells
//! what comes in, `assets` serves the page. Layers inside: store, live < query < answers < http.

pub mod answers;
pub mod assets;
pub mod http;
pub mod live;
pub mod query;
pub mod store;
