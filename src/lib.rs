//! Radiosonde: one binary that takes telemetry in, works on it in pipelines and sends it on.
//!
//! Start with `src/ARCHITECTURE.md`. The modules below stand in the order of their layers: each may use only those
//! above it in this list (`tests/house.rs` holds them to it).

pub mod wire;

pub mod pdata;

pub mod config;

pub mod component;

pub mod net;
pub mod ottl;
pub mod queue;

#[cfg(feature = "aws")]
pub mod aws;

pub mod alert;
#[cfg(feature = "aws")]
pub mod retention;

pub mod dev;

pub mod components;

pub mod graph;

pub mod admin;
pub mod cli;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod telemetry;
