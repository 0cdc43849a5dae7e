//! A simulated AWS endpoint that speaks the real wire protocols, deterministic by seed.
