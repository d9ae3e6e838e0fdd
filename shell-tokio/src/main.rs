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
        // A task of its own: woken by another it follows at once, and the system is not asked between the two.
        let outcome = tokio.block_on(async { tokio::spawn(work(Arc::new(runtime::Tokio))).await });
        tokio.shutdown_background();
        outcome.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    })
}
