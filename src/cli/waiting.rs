//! Says that a store does not answer, while the program waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::store::{Traffic, Wait};

/// How long a store may be silent before that is said; then it is said after twice the time each.
const SILENCE: Duration = Duration::from_secs(10);
/// How often it is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Watches requests until the program ends, and passes a line to `say` for each store that is silent.
pub(super) fn watch(traffic: Arc<Traffic>, say: impl Fn(&str) + Send + 'static) {
    let mut next: BTreeMap<Arc<str>, Duration> = BTreeMap::new();
    let watch = move || {
        loop {
            thread::sleep(TICK);
            let waits = traffic.waits();
            next.retain(|bucket, _| {
                waits.iter().any(|wait| wait.bucket == *bucket && wait.time >= SILENCE)
            });
            for Wait { bucket, time } in waits {
                let due = next.entry(Arc::clone(&bucket)).or_insert(SILENCE);
                if time >= *due {
                    *due *= 2;
                    say(&format!("waiting for {bucket}: no response for {} s", time.as_secs()));
                }
            }
        }
    };
    // Where no thread can be had, the program does its work without.
    let _ = thread::Builder::new().name("waiting".to_owned()).spawn(watch);
}
