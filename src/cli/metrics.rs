//! Duration, throughput and memory use of a run, for `--json`.

use std::fs;
use std::sync::OnceLock;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use crate::convert::tally::Tally;

/// Measurements of a run in progress.
pub(super) struct Metrics {
    pub(super) began: Instant,
    listed: OnceLock<Instant>,
    planned: OnceLock<Instant>,
    converts: OnceLock<Instant>,
}

/// A tally with the metrics of its run and, if the dataset was published, the Iceberg tables.
#[derive(Serialize)]
pub(super) struct Measured<'a> {
    #[serde(flatten)]
    tally: &'a Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    iceberg: Option<Value>,
    metrics: Snapshot,
}

#[derive(Serialize)]
struct Snapshot {
    threads: usize,
    /// Until all sources were listed.
    listing_seconds: f64,
    /// From then until everything was planned.
    planning_seconds: f64,
    /// Since the first batch was planned. Overlaps with the listing and the planning.
    converting_seconds: f64,
    rows_per_second: f64,
    decompressed_bytes_per_second: f64,
    /// `None` if the kernel does not report the peak.
    peak_memory_bytes: Option<u64>,
}

impl Metrics {
    pub(super) fn begin() -> Self {
        let (listed, planned, converts) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { began: Instant::now(), listed, planned, converts }
    }

    /// Records that the sources have been listed.
    pub(super) fn listed(&self) {
        self.listed.get_or_init(Instant::now);
    }

    /// Records that the batches have been planned.
    pub(super) fn planned(&self) {
        self.planned.get_or_init(Instant::now);
    }

    /// Records that a batch can be converted.
    pub(super) fn converts(&self) {
        self.converts.get_or_init(Instant::now);
    }

    /// Returns a tally with the metrics collected so far, and the result of publishing the dataset.
    pub(super) fn summary<'a>(
        &self,
        tally: &'a Tally,
        threads: usize,
        iceberg: Option<Value>,
    ) -> Measured<'a> {
        let now = Instant::now();
        let listed = self.listed.get().copied().unwrap_or(now);
        let planned = self.planned.get().copied().unwrap_or(now);
        let converts = self.converts.get().copied().unwrap_or(planned);
        let converting_seconds = (now - converts).as_secs_f64();
        let per_second = |count: u64| (count as f64 / converting_seconds.max(1e-9)).round();
        let metrics = Snapshot {
            threads,
            listing_seconds: (listed - self.began).as_secs_f64(),
            planning_seconds: (planned - listed).as_secs_f64(),
            converting_seconds,
            rows_per_second: per_second(tally.rows),
            decompressed_bytes_per_second: per_second(tally.bytes_decompressed),
            peak_memory_bytes: peak_memory(),
        };
        Measured { tally, iceberg, metrics }
    }
}

/// Returns the peak resident memory of this process in bytes, if the kernel reports it (`VmHWM` in
/// proc_pid_status(5)).
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
