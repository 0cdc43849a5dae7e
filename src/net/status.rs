//! From a refusal to the status a client sees.
