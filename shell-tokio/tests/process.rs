//! The binary as a process. The scenarios are those of every shell.
#![allow(missing_docs)]

const BINARY: &str = env!("CARGO_BIN_EXE_peerage");

#[path = "../../shell/tests/process/mod.rs"]
mod process;
