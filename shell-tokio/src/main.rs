#![forbid(unsafe_code)]
//! Peerage on tokio: the binary `peerage`.

mod runtime;

use std::process::ExitCode;
use std::sync::Arc;

use peerage_shell::cli;
use peerage_shell::fault::{Fault, code};
use peerage_shell::runtime::POOL_THREADS;

fn main() -> ExitCode {
    cli::main("peerage", |work| {
        // One thread: a second costs a quarter more CPU per message.
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(POOL_THREADS)
            .thread_name("pool")
            .build()
            .map_err(|error| Fault::new(code::SYSTEM, format!("tokio: {error}"), ""))?;
        let outcome = tokio.block_on(async { work(Arc::new(runtime::Tokio)).await });
        tokio.shutdown_background();
        outcome
    })
}
