//! Arguments, runtime, exit codes.
