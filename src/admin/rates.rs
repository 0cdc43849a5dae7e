//! Items a second, from samples of the counters taken once a second.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::component::{Registry, Sample, SampleValue};

/// Time between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Rates are taken over the samples kept: five seconds.
const KEPT: usize = 6;

/// A series: its name, and its labels in their fixed order.
pub type Series = (&'static str, Vec<(&'static str, String)>);

/// The last samples.
#[derive(Default)]
pub struct Rates(Mutex<VecDeque<(Instant, HashMap<Series, u64>)>>);

impl Rates {
    /// Takes a sample of the counters of telemetry items.
    pub fn sample(&self, registry: &Registry) {
        let mut counts = HashMap::new();
        for Sample {
            name, labels, value, ..
        } in registry.gather()
        {
            if let SampleValue::Counter(count) = value {
                counts.insert((name, labels), count);
            }
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((Instant::now(), counts));
    }

    /// The window between the oldest and the newest sample, and what each series grew by in it.
    pub fn window(&self) -> (Duration, HashMap<Series, u64>) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((from, before)), Some((to, after))) = (kept.front(), kept.back()) else {
            return (Duration::ZERO, HashMap::new());
        };
        let mut grown = HashMap::new();
        for (series, count) in after {
            // A series that was not there before began at zero.
            let growth = count.saturating_sub(before.get(series).copied().unwrap_or(0));
            grown.insert(series.clone(), growth);
        }
        (to.duration_since(*from), grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{ComponentKind, Instruments};

    #[tokio::test(start_paused = true)]
    async fn growth_is_taken_over_the_last_five_seconds_only() {
        let instruments = Instruments::standalone(ComponentKind::Exporter, "nop");
        let counter = instruments.counter("otelcol_exporter_sent_spans", "", &[]);
        let rates = Rates::default();
        for _ in 0..20 {
            counter.add(10);
            rates.sample(instruments.registry());
            tokio::time::advance(SAMPLE_EVERY).await;
        }
        let (window, grown) = rates.window();
        assert_eq!(window, Duration::from_secs(5));
        assert_eq!(grown.values().copied().collect::<Vec<_>>(), [50]);
    }

    #[test]
    fn without_samples_there_is_no_window() {
        assert_eq!(Rates::default().window().0, Duration::ZERO);
    }
}
