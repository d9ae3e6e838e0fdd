//! Directories that vanish with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Failure;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh directory, removed on drop.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory.
    ///
    /// # Errors
    /// If the temporary directory cannot be written to.
    pub fn new() -> Result<Self, Failure> {
        let name = format!("peerage-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)
            .map_err(|e| Failure::new(format!("cannot make {}: {e}", path.display())))?;
        Ok(Self(path))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
