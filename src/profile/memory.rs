//! What memory the system can give.

use std::fs::read_to_string;

/// Bytes of memory that this process can still have, where the system says so (on Linux): what is free or can be
/// freed, within the limit of the container.
pub fn available() -> Option<u64> {
    let system = free(&read_to_string("/proc/meminfo").ok()?)?;
    let group = |name: &str| read_to_string(format!("/sys/fs/cgroup/memory.{name}")).unwrap_or_default();
    let container = left(&group("max"), &group("current"), &group("stat"));
    Some(container.map_or(system, |left| left.min(system)))
}

/// `MemAvailable` of `/proc/meminfo`.
fn free(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// What a control group leaves: its limit less what is in use, but for cached files. `None` without a limit.
fn left(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
    Some(max.saturating_sub(current.saturating_sub(cached.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_and_containers_are_understood() {
        let meminfo =
            "MemTotal:       24684092 kB\nMemFree:        12676588 kB\nMemAvailable:   23100756 kB\n";
        assert_eq!(free(meminfo), Some(23_100_756 * 1024));
        assert_eq!(free("MemTotal: 1 kB\n"), None);
        assert_eq!(free("MemAvailable: many kB\n"), None);
        assert_eq!(left("max\n", "5\n", ""), None);
        assert_eq!(left("", "", ""), None);
        assert_eq!(left("1000\n", "600\n", "anon 1\ninactive_file 200\n"), Some(600));
        assert_eq!(left("1000", "1600", ""), Some(0));
    }
}
