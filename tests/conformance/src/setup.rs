//! Builds the foreign peers into a cache directory outside the checkout.
//!
//! The directory is `PEERAGE_CONFORMANCE_DIR`, else `conformance` in `CARGO_TARGET_DIR`, else
//! `target/conformance` of the workspace. What is there already from the same sources is left.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use crate::Failure;

/// The Go programs, each with the modules whose sources it is made of.
const GO_PROGRAMS: [(&str, &[&str]); 3] = [
    ("bus017", &["bus017", "bus", "line"]),
    ("bus022", &["bus022", "bus", "line"]),
    ("raw", &["raw", "line"]),
];

/// Where the built peers are.
#[derive(Clone, Debug)]
pub struct Peers {
    root: PathBuf,
}

impl Peers {
    /// The program of a Go module: `bus017`, `bus022`, `raw`.
    pub fn go(&self, module: &str) -> PathBuf {
        self.root.join("bin").join(module)
    }

    /// A JS program: `peer.mjs`, `feed.mjs`.
    pub fn js(&self, file: &str) -> PathBuf {
        self.root.join("js").join(file)
    }
}

/// Builds what is missing, once per process; safe to call from many tests and processes at once.
///
/// # Errors
/// If a tool is missing or a build fails, with the command that mends it.
pub fn setup() -> Result<Peers, Failure> {
    static DONE: OnceLock<Result<Peers, String>> = OnceLock::new();
    DONE.get_or_init(|| build().map_err(|e| e.to_string())).clone().map_err(Failure::new)
}

fn build() -> Result<Peers, Failure> {
    let root = cache_dir();
    for folder in ["bin", "js"] {
        let path = root.join(folder);
        fs::create_dir_all(&path).map_err(|e| io(&path, &e))?;
    }
    let lock_path = root.join("lock");
    let lock = File::create(&lock_path).map_err(|e| io(&lock_path, &e))?;
    lock.lock().map_err(|e| io(&lock_path, &e))?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (program, modules) in GO_PROGRAMS {
        let folders: Vec<PathBuf> = modules.iter().map(|m| sources.join("go").join(m)).collect();
        build_once(&root, &format!("go {program}"), &folders, || go_build(sources, &root, program))?;
    }
    let js = sources.join("js");
    build_once(&root, "js", std::slice::from_ref(&js), || npm_ci(&js, &root.join("js")))?;
    Ok(Peers { root })
}

/// The cache directory.
pub fn cache_dir() -> PathBuf {
    if let Some(path) = std::env::var_os("PEERAGE_CONFORMANCE_DIR") {
        return PathBuf::from(path);
    }
    if let Some(path) = std::env::var_os("CARGO_TARGET_DIR") {
        return PathBuf::from(path).join("conformance");
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/conformance")
}

/// Runs the step unless the stamp says that it has run over the same bytes.
fn build_once(
    root: &Path,
    name: &str,
    folders: &[PathBuf],
    step: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let stamp_path = root.join(format!("{}.stamp", name.replace(' ', "-")));
    let stamp = digest(folders)?;
    if fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp) {
        return Ok(());
    }
    let start = Instant::now();
    step()?;
    fs::write(&stamp_path, stamp).map_err(|e| io(&stamp_path, &e))?;
    eprintln!("conformance: {name} ready after {:.2} min", start.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

fn go_build(sources: &Path, root: &Path, program: &str) -> Result<(), Failure> {
    let mut command = Command::new("go");
    command
        .current_dir(sources.join("go").join(program))
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
        .arg(root.join("bin").join(program))
        .arg(".");
    run("go", command)
}

fn npm_ci(sources: &Path, target: &Path) -> Result<(), Failure> {
    for file in files(sources)? {
        let Some(name) = file.file_name() else { continue };
        fs::copy(&file, target.join(name)).map_err(|e| io(&file, &e))?;
    }
    let mut command = Command::new("npm");
    command.current_dir(target).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ]);
    run("npm", command)
}

fn run(tool: &str, mut command: Command) -> Result<(), Failure> {
    let output = command.output().map_err(|e| {
        if e.kind() == ErrorKind::NotFound {
            return Failure::new(format!(
                "`{tool}` is not installed, and the conformance tests need it. \
                 Install: apt-get install --yes golang-go nodejs npm"
            ));
        }
        Failure::new(format!("cannot run {command:?}: {e}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{command:?} in {:?} ended with {}:\n{}{}",
        command.get_current_dir(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// SHA-256 over the names and contents of all files of the folders, in order.
fn digest(folders: &[PathBuf]) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    for folder in folders {
        for file in files(folder)? {
            let content = fs::read(&file).map_err(|e| io(&file, &e))?;
            let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
            hash.update(format!("{name} {}\n", content.len()));
            hash.update(&content);
        }
    }
    Ok(crate::wire::hex(&hash.finalize()))
}

/// The files of a folder, sorted; folders inside it are not looked into.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| io(folder, &e))? {
        let path = entry.map_err(|e| io(folder, &e))?.path();
        if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn io(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_step_runs_again_when_a_source_has_changed() {
        let scratch = Scratch::new().unwrap();
        let sources = scratch.path().join("src");
        fs::create_dir(&sources).unwrap();
        fs::write(sources.join("a"), "1").unwrap();
        let runs = std::cell::Cell::new(0);
        let step = || {
            build_once(scratch.path(), "x", std::slice::from_ref(&sources), || {
                runs.set(runs.get() + 1);
                Ok(())
            })
            .unwrap();
        };
        step();
        step();
        assert_eq!(runs.get(), 1);
        fs::write(sources.join("a"), "2").unwrap();
        step();
        assert_eq!(runs.get(), 2);
    }

    #[test]
    fn a_missing_tool_names_the_command_that_installs_it() {
        let text = run("gone", Command::new("/nonexistent/gone")).unwrap_err().to_string();
        assert!(text.contains("apt-get install --yes golang-go nodejs npm"), "{text}");
    }

    #[test]
    fn a_failed_build_leaves_no_stamp() {
        let scratch = Scratch::new().unwrap();
        let folders = [scratch.path().to_path_buf()];
        assert!(build_once(scratch.path(), "x", &folders, || Err(Failure::new("no"))).is_err());
        assert!(!scratch.path().join("x.stamp").exists());
    }
}
