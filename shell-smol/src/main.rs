#![forbid(unsafe_code)]
//! Peerage on smol: the binary `peerage-smol`.

use std::process::ExitCode;
use std::sync::Arc;

use peerage_shell::cli;
use peerage_smol::runtime::{Smol, run};

fn main() -> ExitCode {
    cli::main("peerage-smol", |work| run(work(Arc::new(Smol))))
}
