//! What ends the process: an exit code (documented in `docs/exit-codes.md`), what is wrong, where, and the remedy.

use std::fmt;

use peerage_core::error::ConfigError;

/// Exit codes.
pub mod code {
    /// All went well.
    pub const OK: u8 = 0;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// A file is broken: the key, or a recording.
    pub const DATA: u8 = 65;
    /// A file that was named is not there.
    pub const NO_INPUT: u8 = 66;
    /// No node answers.
    pub const UNAVAILABLE: u8 = 69;
    /// A bug: an assertion failed.
    pub const PANIC: u8 = 70;
    /// The system refused: an address is in use, randomness is missing.
    pub const SYSTEM: u8 = 71;
    /// A file cannot be created or written: the disk is full, or the folder is read-only.
    pub const CANNOT_CREATE: u8 = 73;
    /// Another process has the data directory.
    pub const IN_USE: u8 = 75;
    /// A key was refused, or a key file may be read by others.
    pub const PERMISSION: u8 = 77;
    /// A setting is wrong.
    pub const CONFIG: u8 = 78;
    /// A second signal came while stopping.
    pub const INTERRUPTED: u8 = 130;
}

/// Why the process ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Its exit code: one of [`code`].
    pub code: u8,
    /// What is wrong, and where.
    pub problem: String,
    /// What to do; empty: nothing that we know of.
    pub remedy: String,
}

impl Fault {
    /// A fault.
    pub fn new(code: u8, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, problem: problem.into(), remedy: remedy.into() }
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        let origin = if error.origin.is_empty() { String::new() } else { format!(" ({})", error.origin) };
        let problem = format!("setting `{}` = `{}`{origin}: {}", error.key, shown(&error), error.problem);
        Self { code: code::CONFIG, problem, remedy: error.remedy }
    }
}

/// The value, unless it is a secret.
fn shown(error: &ConfigError) -> &str {
    if error.key.contains("key") && !error.key.contains("File") { "(secret)" } else { &error.value }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peerage: {}", self.problem)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  remedy: {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_told_with_its_origin_and_remedy_but_never_a_secret() {
        let mut error = ConfigError::new("p2p_port", "x", "not a number", "use a number");
        error.origin = "settings.conf:3".to_owned();
        let text = Fault::from(error.clone()).to_string();
        assert_eq!(
            text,
            "peerage: setting `p2p_port` = `x` (settings.conf:3): not a number\n  remedy: use a number"
        );
        error.key = "p2p_private_key".to_owned();
        assert!(Fault::from(error).to_string().contains("`(secret)`"));
    }
}
