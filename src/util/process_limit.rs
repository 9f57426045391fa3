//! Reads the resource limits of this process.

use std::fs;

/// Returns a soft limit by its name in proc_pid_limits(5), such as `Max open files`. Returns `None` if the system sets
/// or reports no such limit.
pub(crate) fn soft(name: &str) -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
