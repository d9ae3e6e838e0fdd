//! Errors by culprit. What follows from an error is decided by its type, never by its text. What peers do wrong stands in
//! the table of `teranode/verdict.rs`.

use alloc::string::String;
use core::fmt;

/// The caller's fault: returned to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApiMisuse {
    /// A completion for an operation that is not pending.
    UnknownOp(crate::op::OpId),
}

/// The operator's fault: which key, which value, from where, and the remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The setting's name.
    pub key: String,
    /// Its value as given.
    pub value: String,
    /// Where the value came from: a file and line, the environment, a flag, the default.
    pub origin: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl ConfigError {
    /// An error about a value that the core refuses; the shell fills in the origin.
    pub fn new(
        key: &str,
        value: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            origin: String::new(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.key, self.value)?;
        if !self.origin.is_empty() {
            write!(f, " ({})", self.origin)?;
        }
        write!(f, ": {}; {}", self.problem, self.remedy)
    }
}

impl core::error::Error for ConfigError {}

impl fmt::Display for ApiMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOp(op) => write!(f, "a completion for {op:?}, which is not pending"),
        }
    }
}

impl core::error::Error for ApiMisuse {}
