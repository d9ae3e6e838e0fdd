//! Errors by culprit. What follows from an error is decided by its type, never by its text.

use alloc::string::String;
use core::fmt;

use crate::codec::codec_enum;

/// The peer's fault: scored. Only what every honest node can prove wrong stands here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Misbehaviour {
    /// The gossip payload is not the JSON (or envelope) of its topic.
    NotJson,
    /// Longer than the topic's limit.
    TooLarge,
    /// The claimed peer id is not the signed author.
    ForeignClaim,
    /// A field breaks its length or form.
    BadField,
    /// The header does not hash to `Hash`, or misses its own or the chain's target.
    BadHeader,
}

/// Nobody's fault: two honest programs that do not fit. Never scored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Incompatible {
    /// Bare JSON without the message bus's envelope: an older honest node.
    NoEnvelope,
    /// The peer speaks none of our pubsub protocols.
    NoPubsub,
}

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

codec_enum!(Misbehaviour { 0 => NotJson, 1 => TooLarge, 2 => ForeignClaim, 3 => BadField, 4 => BadHeader });
