//! Computes how many objects to read ahead: the *window*.
//!
//! By Little's law, a queue that is emptied at `rate` and filled after `latency` contains `rate x latency`
//! objects. The window is
//!
//! ```text
//! rate x (MARGIN x latency + RESERVE)
//! ```
//!
//! `rate` is the highest rate at which workers took objects in recent rounds. If workers wait for objects, they take
//! the whole window once per latency, so the window grows by the factor [`MARGIN`] or more per round until the workers
//! or the network are saturated. `latency` is the latency of an idle network, as in BBR congestion control. If it
//! included queueing, the window would grow without limit on a saturated network. Therefore, the lowest mean is kept.
//! If no round confirms it for [`STALE`] seconds, it is measured again in one round with a third of the window.

use std::collections::VecDeque;
use std::time::Duration;

/// Factor by which the window exceeds the number of objects that arrive within one latency.
const MARGIN: f64 = 2.0;
/// Workers take objects in bursts. The window contains the objects for this many additional seconds.
const RESERVE: f64 = 0.05;
/// Size of the window before the first measurement.
const FIRST: usize = 64;
/// Smallest and largest window.
const SMALLEST: usize = 4;
const LARGEST: usize = 1 << 17;
/// Minimum duration of a round in seconds. A round lasts at least as long as the latency of one request.
const ROUND: f64 = 0.05;
/// Number of rounds for which a rate is remembered. Workers take no objects while they write files.
const ROUNDS: usize = 20;
/// A mean latency of at most this factor times the lowest mean confirms the lowest mean.
const CONFIRMED: f64 = 1.25;
/// Seconds without confirmation after which the latency is measured again.
const STALE: f64 = 10.0;
/// Divisor of the window while the latency is measured again.
const PROBE: f64 = 3.0;
/// Minimum number of latencies in a mean.
const SAMPLES: u32 = 4;

/// Measures rate and latency. All times are relative to the same instant.
#[derive(Debug, Default)]
pub(super) struct Pace {
    round: Round,
    /// Rates of the last rounds, in objects per second.
    rates: VecDeque<f64>,
    /// Latency of an idle network in seconds, and when a round last confirmed it.
    latency: Option<(f64, Duration)>,
    /// When the current measurement of the latency began.
    probe: Option<Duration>,
}

#[derive(Debug, Default)]
struct Round {
    begun: Duration,
    taken: u32,
    /// Sum of the latencies, and their number.
    latencies: (f64, u32),
}

impl Pace {
    /// Returns how many objects may be requested or in memory before workers take them. [`Admission`] exceeds this number
    /// for lanes that have less than their share.
    ///
    /// [`Admission`]: super::admission::Admission
    pub(super) fn window(&self) -> usize {
        let Some((latency, _)) = self.latency else { return FIRST };
        let window = self.rate() * (MARGIN * latency + RESERVE);
        let window = if self.is_probing() { window / PROBE } else { window };
        (window.ceil() as usize).clamp(SMALLEST, LARGEST)
    }

    /// Returns whether the latency is being measured again. The window is smaller then, so that queues drain.
    pub(super) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// Returns the rate at which workers take objects, per second.
    pub(super) fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// Returns the latency of an idle network in seconds, if it has been measured.
    pub(super) fn latency(&self) -> Option<f64> {
        self.latency.map(|(latency, _)| latency)
    }

    /// Records the arrival of an object that was requested at `started`.
    pub(super) fn arrive(&mut self, started: Duration, now: Duration) {
        let is_before_probe = self.probe.is_some_and(|probe| started < probe);
        if !is_before_probe {
            self.round.latencies.0 += seconds(started, now);
            self.round.latencies.1 += 1;
        }
        self.end_round(now);
    }

    /// Records that a worker has taken an object.
    pub(super) fn take(&mut self, now: Duration) {
        self.round.taken += 1;
        self.end_round(now);
    }

    /// Ends the round if it is long enough.
    fn end_round(&mut self, now: Duration) {
        let length = seconds(self.round.begun, now);
        let (sum, samples) = self.round.latencies;
        let is_measured = self.latency.is_none() || self.probe.is_some();
        if length < self.latency().unwrap_or_default().max(ROUND)
            || self.round.taken == 0
            || is_measured && samples < SAMPLES.min(self.round.taken)
        {
            return;
        }
        // Workers wait during a probe, so its rate is not the rate at which they work.
        if !self.is_probing() {
            self.rates.push_back(f64::from(self.round.taken) / length);
            if self.rates.len() > ROUNDS {
                self.rates.pop_front();
            }
        }
        if samples > 0 {
            self.measure(sum / f64::from(samples), now);
        }
        self.round = Round { begun: now, ..Round::default() };
    }

    /// Updates the latency with the mean of a round.
    fn measure(&mut self, mean: f64, now: Duration) {
        match self.latency {
            Some((latency, _)) if mean <= latency * CONFIRMED => {
                self.latency = Some((latency.min(mean), now));
                self.probe = None;
            }
            Some((_, confirmed)) if self.probe.is_none() => {
                self.probe = (seconds(confirmed, now) >= STALE).then_some(now);
            }
            _ => {
                self.latency = Some((mean, now));
                self.probe = None;
            }
        }
    }
}

pub(super) fn seconds(from: Duration, to: Duration) -> f64 {
    to.saturating_sub(from).as_secs_f64()
}
