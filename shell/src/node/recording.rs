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

/// What a recording is written to.
trait Disk: io::Write + Send + std::fmt::Debug {
    /// Cuts the file to `length` bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Waits until everything is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

#[derive(Debug)]
struct Sink {
    file: Box<dyn Disk>,
    gathered: Vec<u8>,
    /// Where each gathered record ends.
    ends: Vec<usize>,
    /// Bytes in the file: whole records only.
    written: u64,
    last_flush: Instant,
}

impl Sink {
    fn new(file: impl Disk + 'static) -> Self {
        Self {
            file: Box::new(file),
            gathered: Vec::new(),
            ends: Vec::new(),
            written: 0,
            last_flush: Instant::now(),
        }
    }

    fn gather(&mut self, record: &[u8]) {
        self.gathered.extend_from_slice(record);
        self.ends.push(self.gathered.len());
    }

    fn flush(&mut self) -> io::Result<()> {
        self.last_flush = Instant::now();
        let (went_in, outcome) = self.write();
        // What went in of a record that did not fit is cut off again, so that the file ends with a whole one.
        let whole = self.ends.iter().rfind(|end| **end <= went_in).copied().unwrap_or(0);
        self.written += whole as u64;
        if outcome.is_err() {
            let _ = self.file.cut(self.written);
        }
        self.gathered.drain(..whole);
        self.ends.retain(|end| *end > whole);
        self.ends.iter_mut().for_each(|end| *end -= whole);
        outcome
    }

    /// Writes what is gathered; how much of it went in, and what stopped it.
    fn write(&mut self) -> (usize, io::Result<()>) {
        let mut at = 0;
        while at < self.gathered.len() {
            match self.file.write(&self.gathered[at..]) {
                Ok(0) => return (at, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => at += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (at, Err(error)),
            }
        }
        (at, Ok(()))
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
        let mut sink = Sink::new(file);
        sink.gather(recorder.begin(config, seed, start));
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
        sink.gather(bytes);
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
        sink.gather(bytes);
        let done = sink.flush().and_then(|()| sink.file.sync());
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
    let _ = sink.flush().and_then(|()| sink.file.sync());
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
        let sink = Sink::new(file);
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

    /// A disk with room for so many bytes.
    #[derive(Clone, Debug)]
    struct Small(Arc<Mutex<Vec<u8>>>, usize);

    impl Small {
        fn file(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }
    }

    impl io::Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.1 - self.file().len());
            self.file().extend_from_slice(&bytes[..fits]);
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk for Small {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.file().truncate(length as usize);
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_keeps_the_whole_records_that_fit_and_no_part_of_one() {
        let disk = Small(Arc::default(), 25);
        let mut sink = Sink::new(disk.clone());
        [&b"aaaaaaaaaa"[..], b"bbbbbbbbbb", b"cccccccccc"].iter().for_each(|record| sink.gather(record));
        assert_eq!(sink.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.file().as_slice(), b"aaaaaaaaaabbbbbbbbbb");
        assert_eq!((sink.written, sink.gathered.as_slice()), (20, &b"cccccccccc"[..]));
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
