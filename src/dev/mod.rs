//! Dev mode: what `radiosonde dev` adds to the production graph.

pub mod assets;
