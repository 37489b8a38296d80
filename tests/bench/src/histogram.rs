//! Durations in steps of under two in a hundred, however many there are.

use std::time::Duration;

/// Steps of an octave.
const STEPS: usize = 64;

/// Counts of nanoseconds, log-linear.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    pub(crate) total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; STEPS * 60], total: 0 }
    }

    pub(crate) fn add(&mut self, duration: Duration) {
        self.add_many(duration, 1);
    }

    pub(crate) fn add_many(&mut self, duration: Duration, count: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let shift = (nanos.max(1).ilog2() as usize).saturating_sub(STEPS.ilog2() as usize);
        let step = shift * STEPS + (nanos >> shift) as usize;
        if let Some(counted) = self.counts.get_mut(step) {
            *counted += count;
        }
        self.total += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *ours += theirs;
        }
        self.total += other.total;
    }

    /// Microseconds below which this share of the samples lies; 0 without samples.
    pub(crate) fn us(&self, share: f64) -> f64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let Some(step) = step else { return 0.0 };
        let shift = (step / STEPS).saturating_sub(1);
        (((step - shift * STEPS) as u64) << shift) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_step() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.add(Duration::from_micros(us)));
        assert!((histogram.us(0.5) - 500.0).abs() < 10.0, "{}", histogram.us(0.5));
        assert!((histogram.us(0.99) - 990.0).abs() < 18.0, "{}", histogram.us(0.99));
        assert_eq!(Histogram::new().us(0.5), 0.0);
    }
}
