//! What the README promises of plain `cargo test`: no network, no tool but Rust and a C compiler, three minutes at most.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run::{Totals, command, read, run};
use crate::workspace::Workspace;

/// Rust, from the toolchain's own folder: what stands on the way to it may be no more than a switch.
const RUST: [&str; 3] = ["cargo", "rustc", "rustdoc"];
/// A C compiler: itself, and what it calls to assemble, link and archive.
const C_COMPILER: [&str; 4] = ["cc", "as", "ld", "ar"];
/// The system's own.
const SYSTEM: [&str; 1] = ["sh"];
/// Variables that are passed on: how crates are built, and how it is told.
const KEPT: [&str; 3] = ["CARGO_PROFILE_DEV_DEBUG", "CARGO_PROFILE_TEST_DEBUG", "CARGO_TERM_COLOR"];
/// Longest run of the tests, built before.
const TEST_TIME_MAX: Duration = Duration::from_secs(180);

/// Builds and runs the tests with nothing else to be found, in a home that is empty.
///
/// # Errors
/// If a tool is missing, a test fails, or they take too long.
pub(crate) fn stage(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    let folder = workspace.scratch("plain")?;
    let (tools, home) = (fresh(&folder, "bin")?, fresh(&folder, "home")?);
    let sysroot = PathBuf::from(read(&mut command("rustc", ["--print", "sysroot"]))?.trim());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    link(&tools, &RUST, &[sysroot.join("bin")])?;
    link(&tools, &C_COMPILER, &folders)?;
    link(&tools, &SYSTEM, &folders)?;
    let plain = |last: &[&str]| {
        let mut cargo = Command::new(tools.join("cargo"));
        cargo.args(["test", "--offline", "--locked"]).args(last).current_dir(&workspace.root).env_clear();
        cargo.envs(KEPT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        cargo.env("PATH", &tools).env("HOME", &home).env("CARGO_TARGET_DIR", folder.join("target"));
        // Crates that were fetched once are all that is taken from the user's home.
        cargo.env("CARGO_HOME", cargo_home());
        cargo
    };
    run(&mut plain(&["--no-run"]), totals)?;
    let start = Instant::now();
    run(&mut plain(&[]), totals)?;
    let took = start.elapsed();
    println!("the tests ran for {:.0} s", took.as_secs_f64());
    if took > TEST_TIME_MAX {
        return Err(format!("plain cargo test took {took:.0?}; {TEST_TIME_MAX:?} are promised"));
    }
    Ok(())
}

fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

/// An empty folder of this name.
fn fresh(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = folder.join(name);
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|e| format!("cannot empty {}: {e}", path.display()))?;
    }
    fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    Ok(path)
}

/// Links each program, from the first of the folders that has it.
fn link(tools: &Path, programs: &[&str], folders: &[PathBuf]) -> Result<(), String> {
    programs.iter().try_for_each(|program| {
        let found = folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file());
        let found = found.ok_or_else(|| format!("`{program}` is missing"))?;
        symlink(&found, tools.join(program)).map_err(|e| format!("cannot link {}: {e}", found.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_what_is_named_is_linked_and_what_is_missing_is_told() {
        let folder = std::env::temp_dir().join(format!("peerage-plain-{}", std::process::id()));
        let (from, tools) = (fresh(&folder, "from").unwrap(), fresh(&folder, "tools").unwrap());
        fs::write(from.join("cc"), "").unwrap();
        fs::write(from.join("python3"), "").unwrap();
        link(&tools, &["cc"], &[folder.join("gone"), from.clone()]).unwrap();
        let said = link(&tools, &["ld"], &[from]).unwrap_err();
        let names: Vec<_> = fs::read_dir(&tools).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, ["cc"]);
        assert_eq!(said, "`ld` is missing");
    }
}
