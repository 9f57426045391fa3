//! Reports stores that keep the program waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::store::{Traffic, Wait};

/// Time without a response before the first report. It doubles with each further report.
const SILENCE: Duration = Duration::from_secs(10);
/// Interval between checks.
const TICK: Duration = Duration::from_secs(1);

/// Starts a thread that monitors requests until the program ends. Calls `say` with a line of text for each store that
/// does not respond.
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
    // If the thread cannot be started, the program still works, but without these reports.
    let _ = thread::Builder::new().name("waiting".to_owned()).spawn(watch);
}
