//! Files that are never half written and never lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, code};

/// Puts `content` in place of the file's: written beside it, flushed to the disk, renamed.
///
/// # Errors
/// When the system refuses; the old content then stands.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = write_synced(&beside, content, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // A part of a file that nobody reads: not worth a second error.
        let _ = fs::remove_file(&beside);
        return written;
    }
    sync_folder(path)
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

/// Gives a broken file a new name beside the old one, so that nothing overwrites it. Returns that name.
///
/// # Errors
/// When the system refuses.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 0..10_000 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".broken-{number}"));
        let name = PathBuf::from(name);
        // A hard link fails when the name is taken; a rename would overwrite.
        match fs::hard_link(path, &name) {
            Ok(()) => {
                fs::remove_file(path)?;
                return Ok(name);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Not every file system has links, and folders have none. Ours alone is the folder: nobody comes between.
            Err(_) if !name.try_exists()? => {
                fs::rename(path, &name)?;
                return Ok(name);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many broken files of that name"))
}

/// Removes a file, if there is one.
///
/// # Errors
/// When it is there and stays.
pub fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot_create(path, &error)),
        _ => Ok(()),
    }
}

/// Whether there is no room left.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The fault when something cannot be created or written.
pub fn cannot_create(path: &Path, error: &io::Error) -> Fault {
    let forbidden = matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem);
    let remedy = match (is_full(error), forbidden) {
        (true, _) => "make room on the disk, or use another folder",
        (false, true) => "make the folder writable for this user, or use another",
        (false, false) => "check the path, or use another",
    };
    Fault::new(code::CANNOT_CREATE, format!("{} cannot be written: {error}", path.display()), remedy)
}

/// The fault when something cannot be read.
pub fn cannot_read(path: &Path, error: &io::Error) -> Fault {
    let missing = error.kind() == ErrorKind::NotFound;
    let forbidden = error.kind() == ErrorKind::PermissionDenied;
    let code = match (missing, forbidden) {
        (true, _) => code::NO_INPUT,
        (false, true) => code::PERMISSION,
        (false, false) => code::DATA,
    };
    Fault::new(
        code,
        format!("{} cannot be read: {error}", path.display()),
        match (missing, forbidden) {
            (true, _) => "check the path",
            (false, true) => "make it readable for this user",
            (false, false) => "a readable file is wanted there",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::tests::Scratch;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_replaced_whole_and_has_its_mode() {
        let scratch = Scratch::new();
        let path = scratch.0.join("file");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_the_old_content() {
        let full = Path::new("/dev/full");
        let error = write_synced(full, b"x", 0o600).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(cannot_create(full, &error).remedy.contains("make room"));
    }

    #[test]
    fn a_broken_file_gets_a_new_name_each_time() {
        let scratch = Scratch::new();
        let path = scratch.0.join("file");
        for (content, name) in [("a", "file.broken-0"), ("b", "file.broken-1")] {
            fs::write(&path, content).unwrap();
            assert_eq!(set_aside(&path).unwrap(), scratch.0.join(name));
            assert_eq!(fs::read_to_string(scratch.0.join(name)).unwrap(), content);
            assert!(!path.exists());
        }
    }
}
