//! Chance that depends on nothing but what is asked: the same question has the same answer in any order.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A source of numbers for one series and minute.
#[derive(Clone, Copy)]
pub struct Dice(u64);

impl Dice {
    /// For `what` (scenario and series) at `minute`.
    pub fn new(seed: u64, what: &str, minute: i64) -> Self {
        Self(xxh3_64_with_seed(
            what.as_bytes(),
            seed ^ (minute as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        ))
    }

    /// Uniform in 0..1 for the `n`-th throw.
    pub fn uniform(self, n: u64) -> f64 {
        let bits = xxh3_64_with_seed(&n.to_le_bytes(), self.0);
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal for the `n`-th throw (Box-Muller).
    pub fn normal(self, n: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(2 * n)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(2 * n + 1)).cos()
    }

    /// A whole number near `mean`: its fraction is the chance of one more.
    pub fn count(self, n: u64, mean: f64) -> u64 {
        let whole = mean.max(0.0).floor();
        whole as u64 + u64::from(self.uniform(n) < mean - whole)
    }
}
