//! Exclusive locks of folders. The system lets go of them with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files;
use crate::fault::{Fault, code};

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// A client looks at the lock for a moment by taking it: whoever wants to keep it tries again.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

impl Lock {
    /// Takes the lock and writes our pid into its file. None: another process holds it, and this is its pid.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn take(path: &Path) -> io::Result<Result<Self, String>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if !try_lock(&file)? {
            return Ok(Err(holder(&mut file)));
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Ok(Self { file, path: path.to_owned() }))
    }

    /// Whether the file that is locked still stands where it was made.
    pub fn stands(&self) -> bool {
        let (Ok(held), Ok(there)) = (self.file.metadata(), std::fs::metadata(&self.path)) else {
            return false;
        };
        (held.dev(), held.ino()) == (there.dev(), there.ino())
    }
}

/// Whether a process holds the lock.
///
/// # Errors
/// When the file is there and cannot be looked at.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if attempt == ATTEMPTS => break,
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    // Without a readable pid the fault still says what matters.
    let _ = file.read_to_string(&mut pid);
    match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("the process {pid}"),
    }
}

/// Locks the data directory.
///
/// # Errors
/// When another process has it; the fault names its pid.
pub fn data_dir(path: &Path) -> Result<Lock, Fault> {
    let lock = path.join("lock");
    match Lock::take(&lock).map_err(|error| files::cannot_create(&lock, &error))? {
        Ok(lock) => Ok(lock),
        Err(holder) => Err(Fault::new(
            code::IN_USE,
            format!("the data directory {} is in use by {holder}", path.display()),
            "stop that process (`peerage shutdown`), or use another --data-dir",
        )),
    }
}

/// Locks the folder that `p2p_peer_cache_dir` names. In one that is read-only there is nothing to spoil.
///
/// # Errors
/// When another process has it; the fault names its pid.
pub fn cache_dir(path: &Path) -> Result<Option<Lock>, Fault> {
    let create = |error: &io::Error| {
        let remedy = "make the folder writable for this user, or name another in p2p_peer_cache_dir";
        Fault { remedy: remedy.to_owned(), ..files::cannot_create(path, error) }
    };
    std::fs::create_dir_all(path).map_err(|error| create(&error))?;
    match Lock::take(&path.join("lock")) {
        Ok(Ok(lock)) => Ok(Some(lock)),
        Ok(Err(holder)) => Err(Fault::new(
            code::IN_USE,
            format!("the folder {} (p2p_peer_cache_dir) is in use by {holder}", path.display()),
            "two nodes cannot share a key and an address cache: name another folder in p2p_peer_cache_dir",
        )),
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Ok(None)
        }
        Err(error) => Err(create(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::tests::Scratch;

    #[test]
    fn a_lock_is_held_as_long_as_its_value_lives() {
        let scratch = Scratch::new();
        let path = scratch.0.join("lock");
        assert!(!is_held(&path).unwrap(), "there is none yet");
        let lock = Lock::take(&path).unwrap().unwrap();
        assert!(is_held(&path).unwrap() && lock.stands());
        drop(lock);
        assert!(!is_held(&path).unwrap());
    }

    #[test]
    fn a_lock_whose_file_was_removed_or_replaced_stands_no_more() {
        let scratch = Scratch::new();
        let path = scratch.0.join("lock");
        let lock = Lock::take(&path).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!lock.stands());
        std::fs::write(&path, "").unwrap();
        assert!(!lock.stands());
    }
}
