//! Adapts the number of concurrent requests to a store that throttles them, by AIMD (additive increase, multiplicative
//! decrease): throttling halves the number, at most once per latency, and it then recovers linearly.

use std::time::Duration;

use crate::store::limiter::pace::seconds;

/// Factor by which the limit decreases when a store throttles requests, and the number of requests per second by which
/// it then recovers.
const DECREASE: f64 = 0.5;
const INCREASE: f64 = 32.0;
/// Minimum number of seconds between two decreases.
const PAUSE: f64 = 0.1;

/// The number of concurrent requests that a store accepts. All times are relative to the same instant.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// The number after the last decrease, and the time of that decrease. `None` before the first decrease.
    decreased: Option<(f64, Duration)>,
    /// When a request was last throttled.
    throttled: Option<Duration>,
}

impl Quota {
    /// Returns the number of concurrent requests that the store accepts, at most `max`.
    pub(super) fn limit(&self, max: usize, now: Duration) -> usize {
        let Some((accepted, at)) = self.decreased else { return max };
        ((accepted + INCREASE * seconds(at, now)) as usize).clamp(1, max)
    }

    /// Records that a request was throttled or not answered in time, while `limit` requests were allowed and
    /// `in_flight` requests were pending.
    pub(super) fn throttle(&mut self, limit: usize, in_flight: usize, latency: f64, now: Duration) {
        self.throttled = Some(now);
        let pause = latency.max(PAUSE);
        if self.decreased.is_none_or(|(_, at)| seconds(at, now) >= pause) {
            let accepted = limit.min(in_flight.max(1)) as f64;
            self.decreased = Some((accepted * DECREASE, now));
        }
    }

    /// Returns whether a request that was sent at `started` may have been throttled. Its latency then includes the
    /// pauses before its retries.
    pub(super) fn may_have_throttled(&self, started: Duration) -> bool {
        self.throttled.is_some_and(|throttled| started <= throttled)
    }
}
