//! Arguments, runtime, exit codes.

pub mod run;
pub mod status;
