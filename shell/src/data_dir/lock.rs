//! The exclusive lock of the data directory. The system lets go of it with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::files;
use crate::fault::{Fault, code};

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock and writes our pid into its file.
    ///
    /// # Errors
    /// When another process holds it; the fault names its pid.
    pub fn take(path: &Path) -> Result<Self, Fault> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| files::cannot_create(path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(files::cannot_create(path, &error)),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| files::cannot_create(path, &error))?;
        Ok(Self { _file: file })
    }
}

fn taken(path: &Path, file: &mut File) -> Fault {
    let mut pid = String::new();
    // Without a readable pid the fault still says what matters.
    let _ = file.read_to_string(&mut pid);
    let folder = path.parent().unwrap_or(path).display();
    let who = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("the process {pid}"),
    };
    Fault::new(
        code::IN_USE,
        format!("the data directory {folder} is in use by {who}"),
        "stop that process (`peerage shutdown`), or use another --data-dir",
    )
}
