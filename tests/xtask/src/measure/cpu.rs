//! Time on a processor, from outside (Linux): each thread's own run time, and the process's accounting beside it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The clock ticks of `/proc/PID/stat`, which Linux gives to programs in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A reading.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    threads: BTreeMap<String, u64>,
    ticks: u64,
}

impl Cpu {
    /// Reads a process.
    ///
    /// # Errors
    /// If there is none of that id.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let folder = format!("/proc/{pid}");
        let unreadable = |e: std::io::Error| format!("{folder}: {e}");
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("{folder}/task")).map_err(unreadable)? {
            let Ok(thread) = thread else { continue };
            // A thread may end between the listing and the reading.
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            threads.insert(thread.file_name().to_string_lossy().into_owned(), nanos);
        }
        let text = fs::read_to_string(format!("{folder}/stat")).map_err(unreadable)?;
        // The name of the program, in brackets, may hold anything.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        Ok(Self { threads, ticks: field(11) + field(12) })
    }

    /// Time used between two readings, threads born in between included.
    ///
    /// # Errors
    /// If the process's accounting saw clearly more, so that threads must have ended in between.
    pub(crate) fn since(&self, before: &Self) -> Result<Duration, String> {
        let used = |(id, nanos): (&String, &u64)| nanos.saturating_sub(*before.threads.get(id).unwrap_or(&0));
        let run = Duration::from_nanos(self.threads.iter().map(used).sum());
        let ticks = u32::try_from(self.ticks.saturating_sub(before.ticks)).unwrap_or(u32::MAX);
        let accounted = TICK * ticks;
        if accounted > run.mul_f64(1.05) + 5 * TICK {
            return Err(format!("threads ended: {accounted:?} accounted, {run:?} in living threads"));
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(threads: &[(&str, u64)], ticks: u64) -> Cpu {
        Cpu { threads: threads.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect(), ticks }
    }

    #[test]
    fn a_thread_born_in_between_counts_in_full() {
        let before = reading(&[("1", 1_000)], 0);
        let after = reading(&[("1", 1_500), ("2", 300)], 0);
        assert_eq!(after.since(&before), Ok(Duration::from_nanos(800)));
    }

    #[test]
    fn an_idle_thread_that_ended_takes_nothing_away() {
        let before = reading(&[("1", 1_000), ("2", 9_000)], 0);
        assert_eq!(reading(&[("1", 1_500)], 0).since(&before), Ok(Duration::from_nanos(500)));
    }

    #[test]
    fn a_busy_thread_that_ended_is_noticed() {
        let before = reading(&[("1", 0)], 0);
        assert!(reading(&[("1", 100_000_000)], 20).since(&before).is_err());
        assert!(reading(&[("1", 100_000_000)], 11).since(&before).is_ok());
    }

    #[test]
    fn this_process_can_be_read() {
        let before = Cpu::of(std::process::id()).unwrap();
        let mut x = 0_u64;
        while Cpu::of(std::process::id()).unwrap().since(&before).unwrap_or_default()
            < Duration::from_millis(2)
        {
            x = std::hint::black_box(x + 1);
        }
    }
}
