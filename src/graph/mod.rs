//! Checked configuration to running stages: fusing, fan-out, start order, drain, reload by difference.

pub mod stages;
