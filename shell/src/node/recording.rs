//! The file side of a recording.
//!
//! Records are gathered and written to the system at the latest when [`FLUSH_BYTES`] have come together or
//! [`FLUSH_INTERVAL`] has passed and something happens; the file is flushed to the disk when the node stops. A stop or a panic loses
//! nothing, a killed process what was gathered, a power cut what the system had not written yet. Whatever is lost is a
//! tail: a reader cuts it at the last whole record.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use peerage_core::config::Config;
use peerage_core::input::Input;
use peerage_core::record::Recorder;
use peerage_core::time::Now;

use crate::data_dir::files;
use crate::fault::{Fault, code};

/// Bytes gathered before they are written.
pub const FLUSH_BYTES: usize = 64 * 1024;
/// Longest time that a record waits to be written.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A recording being made.
#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    tail: Tail,
    path: PathBuf,
}

/// The open file and what is not yet in it. The panic hook has a share of it.
type Tail = Arc<Mutex<Sink>>;

#[derive(Debug)]
struct Sink {
    file: File,
    gathered: Vec<u8>,
    /// Bytes in the file: whole records only.
    written: u64,
    last_flush: Instant,
}

impl Sink {
    fn flush(&mut self) -> io::Result<()> {
        self.last_flush = Instant::now();
        if let Err(error) = self.file.write_all(&self.gathered) {
            // What was written of a record is cut off again, so that the file ends with a whole one.
            let _ = self.file.set_len(self.written);
            return Err(error);
        }
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

/// The tail that a panic flushes.
static PANIC_TAIL: Mutex<Option<Tail>> = Mutex::new(None);

impl Recording {
    /// Makes the file, which must not exist yet, and writes its header.
    ///
    /// # Errors
    /// When it exists or cannot be written.
    pub fn create(path: &Path, config: &Config, seed: [u8; 32], start: Now) -> Result<Self, Fault> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return files::cannot_create(path, &error);
            }
            Fault::new(
                code::CANNOT_CREATE,
                format!("{} exists already; a recording overwrites nothing", path.display()),
                "name a new file, or move the old one away",
            )
        })?;
        let mut recorder = Recorder::default();
        let gathered = recorder.begin(config, seed, start).to_vec();
        let mut sink = Sink { file, gathered, written: 0, last_flush: Instant::now() };
        sink.flush().map_err(|error| files::cannot_create(path, &error))?;
        let tail = Arc::new(Mutex::new(sink));
        *PANIC_TAIL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&tail));
        Ok(Self { recorder, tail, path: path.to_owned() })
    }

    /// Records one input, before it is applied.
    ///
    /// # Errors
    /// When the file cannot be written: the recording has ended with its last whole record.
    pub fn input(
        &mut self,
        now: Now,
        input: &Input,
        state_hash: impl FnOnce() -> [u8; 32],
    ) -> Result<(), Fault> {
        let bytes = self.recorder.input(now, input, state_hash);
        let mut sink = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        sink.gathered.extend_from_slice(bytes);
        if sink.gathered.len() >= FLUSH_BYTES || sink.last_flush.elapsed() >= FLUSH_INTERVAL {
            sink.flush().map_err(|error| ended(&self.path, &error))?;
        }
        Ok(())
    }

    /// Ends the recording of a node that stopped cleanly.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(mut self, state_hash: [u8; 32]) -> Result<u64, Fault> {
        let bytes = self.recorder.end(state_hash);
        let mut sink = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        sink.gathered.extend_from_slice(bytes);
        let done = sink.flush().and_then(|()| sink.file.sync_all());
        done.map_err(|error| ended(&self.path, &error))?;
        Ok(self.recorder.inputs())
    }
}

fn ended(path: &Path, error: &io::Error) -> Fault {
    let fault = files::cannot_create(path, error);
    Fault { problem: format!("the recording ends here: {}", fault.problem), ..fault }
}

/// Writes what a panicking process still holds. Called by the panic hook.
pub fn flush_on_panic() {
    let Ok(tail) = PANIC_TAIL.try_lock() else { return };
    let Some(tail) = tail.as_ref() else { return };
    let mut sink = match tail.try_lock() {
        Ok(sink) => sink,
        Err(TryLockError::Poisoned(sink)) => sink.into_inner(),
        // The panic came out of writing itself.
        Err(TryLockError::WouldBlock) => return,
    };
    let _ = sink.flush().and_then(|()| sink.file.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::tests::Scratch;
    use peerage_core::record::replay;
    use peerage_core::teranode;
    use peerage_proto::{Network, PeerId};

    fn config() -> Config {
        Config::new(PeerId::from_ed25519(&[1; 32]), teranode::Config::new(Network::Regtest))
    }

    fn record(path: &Path) -> Recording {
        let mut recording = Recording::create(path, &config(), [7; 32], Now::at_secs(0)).unwrap();
        for second in 1..4 {
            recording.input(Now::at_secs(second), &Input::Timeout, || [0; 32]).unwrap();
        }
        recording
    }

    #[test]
    fn what_was_recorded_is_replayed() {
        let scratch = Scratch::new();
        let path = scratch.0.join("recording");
        let recording = record(&path);
        let mut node = peerage_core::Node::new(config(), [7; 32], Now::at_secs(0)).unwrap();
        for second in 1..4 {
            peerage_core::Core::handle(&mut node, Now::at_secs(second), Input::Timeout, &mut Vec::new());
        }
        assert_eq!(recording.end(node.state_hash()).unwrap(), 3);
        let replayed = replay(&std::fs::read(&path).unwrap(), |_, _, _| {}).unwrap();
        assert_eq!((replayed.inputs, replayed.state_hash), (3, node.state_hash()));
        assert!(replayed.is_complete);
    }

    #[test]
    fn a_panic_loses_nothing_that_was_recorded() {
        let scratch = Scratch::new();
        let path = scratch.0.join("recording");
        let _recording = record(&path);
        let tail = Arc::clone(&_recording.tail);
        *PANIC_TAIL.lock().unwrap_or_else(PoisonError::into_inner) = Some(tail);
        flush_on_panic();
        let replayed = replay(&std::fs::read(&path).unwrap(), |_, _, _| {}).unwrap();
        assert_eq!((replayed.inputs, replayed.is_complete), (3, false));
    }

    #[test]
    fn a_full_disk_ends_the_recording_with_the_reason() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sink = Sink { file, gathered: Vec::new(), written: 0, last_flush: Instant::now() };
        let mut recording = Recording {
            recorder: Recorder::default(),
            tail: Arc::new(Mutex::new(sink)),
            path: PathBuf::from("/dev/full"),
        };
        recording.recorder.begin(&config(), [7; 32], Now::at_secs(0));
        let fault = (0..10_000)
            .find_map(|_| recording.input(Now::at_secs(1), &Input::Timeout, || [0; 32]).err())
            .expect("the disk is full");
        assert!(fault.problem.starts_with("the recording ends here"), "{fault}");
        assert!(fault.remedy.contains("make room"), "{fault}");
    }

    #[test]
    fn a_recording_overwrites_nothing() {
        let scratch = Scratch::new();
        let path = scratch.0.join("recording");
        std::fs::write(&path, "precious").unwrap();
        let fault = Recording::create(&path, &config(), [7; 32], Now::at_secs(0)).unwrap_err();
        assert!(fault.problem.contains("overwrites nothing"), "{fault}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
