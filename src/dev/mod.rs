//! Dev mode: what `radiosonde dev` adds to the production graph. The embedded store, its query language, the answers that
//! page, command line, MCP and lints share, the HTTP API over them, and the web page.
//!
//! `store` keeps telemetry, `query` finds rows, `answers` makes what is shown of them, `http` serves that, `live` tells
//! what comes in, `assets` serves the page. Layers inside: store, live < query < answers < http. Beside them `seen` is what
//! the terminal view and the lints read of what comes in (by a `component::Feed`); `runs` knows the applications that
//! `dev -- CMD` started, and `parts` serves what is not the store's.

pub mod answers;
pub mod assets;
pub mod filter;
pub mod http;
pub mod lints;
pub mod live;
pub mod parts;
pub mod query;
pub mod runs;
pub mod seen;
pub mod store;
pub mod terminal;
