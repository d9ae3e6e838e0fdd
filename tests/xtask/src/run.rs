//! Commands: printed before they run, their test results counted.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// What the test runners said, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Tests and checks that passed.
    pub(crate) passed: u64,
    /// Tests and checks that failed.
    pub(crate) failed: u64,
}

impl Totals {
    /// Adds the figures of a runner's closing line (`test result: ok. 3 passed; 0 failed; …`).
    fn count(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result:") else { return };
        self.passed += number_before(rest, " passed");
        self.failed += number_before(rest, " failed");
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    let Some(end) = text.find(word) else { return 0 };
    text[..end].rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Runs a command to its end, its output passed on and its test results added to `totals`.
///
/// # Errors
/// If it cannot be started or ends with another status than 0.
pub(crate) fn run(command: &mut Command, totals: &mut Totals) -> Result<(), String> {
    println!("$ {}", shown(command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", shown(command)))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(|e| format!("cannot read the output of {}: {e}", shown(command)))?;
            println!("{line}");
            totals.count(&line);
        }
    }
    let status = child.wait().map_err(|e| format!("cannot wait for {}: {e}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// Runs a command and gives its standard output.
///
/// # Errors
/// As [`run`]; the message carries the end of its standard error.
pub(crate) fn read(command: &mut Command) -> Result<String, String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|e| format!("cannot start {}: {e}", shown(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} ended with {}: {}", shown(command), output.status, said.trim()))
}

/// A command that names a program and its arguments.
pub(crate) fn command<I, S>(program: &str, args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// `cargo` with these arguments: the one that runs us, if any. What it told us about our own package is taken back:
/// build scripts that look at it would run again, and ever again when called from elsewhere.
pub(crate) fn cargo<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = command(&cargo, args);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Makes sure that a program is there: from Debian's package where we may install it.
///
/// # Errors
/// If it is missing and cannot be installed; the message is the one command that mends it.
pub(crate) fn need(program: &str, package: &str) -> Result<(), String> {
    if read(&mut command(program, ["--version"])).is_ok() || read(&mut command(program, ["version"])).is_ok()
    {
        return Ok(());
    }
    let remedy = format!("`{program}` is missing; mend it with: apt-get install -y {package}");
    let root = read(&mut command("id", ["-u"])).is_ok_and(|id| id.trim() == "0");
    if !root || read(&mut command("apt-get", ["--version"])).is_err() {
        return Err(remedy);
    }
    let ignored = &mut Totals::default();
    run(&mut command("apt-get", ["update", "-qq"]), ignored)?;
    let mut install = command("apt-get", ["install", "-y", "-qq", "--no-install-recommends", package]);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"), ignored).map_err(|e| format!("{e}\n{remedy}"))
}

fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(key, value)| {
        value.map(|value| format!("{}={:?}", key.to_string_lossy(), value.to_string_lossy()))
    });
    let program = std::iter::once(command.get_program().to_string_lossy().into_owned());
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    variables.chain(program).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_test_runners_are_summed() {
        let mut totals = Totals::default();
        totals.count("test result: ok. 12 passed; 0 failed; 0 ignored; finished in 0.00s");
        totals.count("test result: FAILED. 3 passed; 2 failed; 0 ignored");
        totals.count("a line of 7 passed; 9 failed");
        assert_eq!(totals, Totals { passed: 15, failed: 2 });
    }

    #[test]
    fn a_command_that_fails_is_named_in_the_error() {
        let said = run(&mut command("sh", ["-c", "exit 3"]), &mut Totals::default());
        assert!(said.is_err_and(|e| e.starts_with("sh -c exit 3 ended with")));
    }
}
