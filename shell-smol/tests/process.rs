//! The binary as a process. The scenarios are those of every shell.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

const BINARY: &str = env!("CARGO_BIN_EXE_peerage-smol");

#[path = "../../shell/tests/process/mod.rs"]
mod process;
