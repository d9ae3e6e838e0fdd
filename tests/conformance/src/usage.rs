//! What a process of ours uses, read from outside (Linux).

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Failure;

/// Consumption since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Time on a processor, summed over the living threads.
    pub run: Duration,
    /// Resident memory now, in bytes.
    pub rss_bytes: u64,
    /// The most it has been.
    pub rss_peak_bytes: u64,
    /// Of the memory now: pages of files, which is the program itself.
    pub rss_file_bytes: u64,
}

/// Reads the consumption of a process.
///
/// # Errors
/// If there is no such process.
pub fn of(pid: u32) -> Result<Usage, Failure> {
    let folder = Path::new("/proc").join(pid.to_string());
    let unreadable = |e: std::io::Error| Failure::new(format!("{}: {e}", folder.display()));
    let mut nanos = 0_u64;
    for thread in fs::read_dir(folder.join("task")).map_err(unreadable)? {
        // A thread may end between the listing and the reading.
        let text = thread.and_then(|t| fs::read_to_string(t.path().join("schedstat"))).unwrap_or_default();
        nanos += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    let status = fs::read_to_string(folder.join("status")).map_err(unreadable)?;
    let kib = |name: &str| {
        let row = status.lines().find_map(|l| l.strip_prefix(name));
        row.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(Usage {
        run: Duration::from_nanos(nanos),
        rss_bytes: 1024 * kib("VmRSS:"),
        rss_peak_bytes: 1024 * kib("VmHWM:"),
        rss_file_bytes: 1024 * kib("RssFile:"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_run_time() {
        let before = of(std::process::id()).unwrap();
        let mut x = 0_u64;
        while of(std::process::id()).unwrap().run < before.run + Duration::from_millis(5) {
            x = std::hint::black_box(x + 1);
        }
        let after = of(std::process::id()).unwrap();
        assert!(after.rss_bytes > 0 && after.rss_peak_bytes >= after.rss_bytes);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        assert!(of(u32::MAX).unwrap_err().to_string().contains("/proc/4294967295"));
    }
}
