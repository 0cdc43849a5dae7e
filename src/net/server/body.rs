//! Bodies: reading a request's within its limits, and the small answers of ours.
