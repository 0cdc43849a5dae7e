//! Protobuf without schema: varints, the field iterator, OTLP views, splicing.
//!
//! Knows neither tokio nor prost nor any other module of this crate.
