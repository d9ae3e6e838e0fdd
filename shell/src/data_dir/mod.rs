//! The data directory: one folder for everything that outlives the process (design, decision 15).
//!
//! | File | Holds |
//! |---|---|
//! | `VERSION` | version of this layout |
//! | `lock` | locked while a node runs; its pid |
//! | `p2p.key` | the node's identity: 192 hex characters, mode 0600 |
//! | `admin.key` | the key of the control service, mode 0600 |
//! | `admin.addr` | where the control service of the running node listens |
//! | `teranode_peers.json` | addresses of topic peers |

pub mod files;
pub mod key;
pub mod lock;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, code};
use lock::Lock;

const VERSION_FILE: &str = "VERSION";
const VERSION: &str = "peerage 1\n";

/// An opened and locked data directory. The lock goes with it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: Lock,
}

/// The folder used when none is named: `$XDG_DATA_HOME/peerage`, else `~/.local/share/peerage`.
///
/// # Errors
/// When neither variable is set.
pub fn default_path(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Fault> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("peerage"))
        .ok_or_else(|| {
            Fault::new(
                code::CANNOT_CREATE,
                "no data directory: neither XDG_DATA_HOME nor HOME is set",
                "name one with --data-dir",
            )
        })
}

impl DataDir {
    /// Opens the folder, creating it if needed, and locks it.
    ///
    /// # Errors
    /// When it cannot be created, belongs to another version, or another process has it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        fs::create_dir_all(path).map_err(|error| files::cannot_create(path, &error))?;
        let lock = lock::data_dir(path)?;
        check_version(&path.join(VERSION_FILE))?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Locks the folder of key and address cache, unless it is this one.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock_cache(&self, folder: &Path) -> Result<Option<Lock>, Fault> {
        let same = |a: &Path, b: &Path| fs::canonicalize(a).ok().zip(fs::canonicalize(b).ok());
        match same(&self.path, folder) {
            Some((own, other)) if own == other => Ok(None),
            _ => lock::cache_dir(folder),
        }
    }

    /// Whether the folder still stands where it was opened.
    pub fn stands(&self) -> bool {
        self.lock.stands()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn check_version(path: &Path) -> Result<(), Fault> {
    match fs::read_to_string(path) {
        Ok(text) if text == VERSION => Ok(()),
        Ok(text) => Err(Fault::new(
            code::DATA,
            format!(
                "{}: the data directory has version `{}`, and this program knows `{}`",
                path.display(),
                text.trim(),
                VERSION.trim()
            ),
            "use the program that made it, or another --data-dir",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => files::replace(path, VERSION.as_bytes(), 0o644)
            .map_err(|error| files::cannot_create(path, &error)),
        Err(error) => Err(files::cannot_read(path, &error)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A folder that is removed with its value.
    pub(crate) struct Scratch(pub(crate) PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            let path =
                std::env::temp_dir().join(format!("peerage-test-{}", peerage_proto::hex::encode(&bytes)));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_second_owner_is_told_the_pid_of_the_first() {
        let scratch = Scratch::new();
        let first = DataDir::open(&scratch.0).unwrap();
        let fault = DataDir::open(&scratch.0).unwrap_err();
        assert_eq!(fault.code, code::IN_USE);
        assert!(fault.problem.contains(&std::process::id().to_string()), "{fault}");
        drop(first);
        DataDir::open(&scratch.0).unwrap();
    }

    #[test]
    fn two_data_directories_cannot_share_a_cache_folder() {
        let scratch = Scratch::new();
        let folder = |name: &str| scratch.0.join(name);
        let (one, two) = (DataDir::open(&folder("one")).unwrap(), DataDir::open(&folder("two")).unwrap());
        assert!(one.lock_cache(&folder("one")).unwrap().is_none(), "its own is locked already");
        let held = one.lock_cache(&folder("cache")).unwrap();
        assert!(held.is_some());
        for taken in ["cache", "one"] {
            let fault = two.lock_cache(&folder(taken)).unwrap_err();
            assert_eq!(fault.code, code::IN_USE);
            assert!(fault.problem.contains("p2p_peer_cache_dir"), "{fault}");
        }
    }

    #[test]
    fn a_folder_of_another_version_is_left_alone() {
        let scratch = Scratch::new();
        fs::write(scratch.0.join("VERSION"), "peerage 99\n").unwrap();
        let fault = DataDir::open(&scratch.0).unwrap_err();
        assert_eq!(fault.code, code::DATA);
        assert!(fault.problem.contains("peerage 99"), "{fault}");
    }

    #[test]
    fn the_default_follows_the_base_directory_rules() {
        let path = |pairs: &[(&str, &str)]| {
            default_path(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(path(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")]).unwrap(), Path::new("/x/peerage"));
        assert_eq!(path(&[("HOME", "/h")]).unwrap(), Path::new("/h/.local/share/peerage"));
        assert!(path(&[]).is_err());
    }
}
