//! The command line.

mod args;
mod client;
mod out;
mod replay;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::data_dir;
use crate::fault::{Fault, code};
use crate::node::report::Format;
use crate::node::{self, recording};
use crate::runtime::Shared;
use crate::settings::{Settings, sources};

/// What a runtime is given to do: to call this with itself and run what comes back to its end.
pub type Work = Box<dyn FnOnce(Shared) -> BoxFuture<'static, Result<(), Fault>>>;

/// The whole program, but for the runtime: `host` makes one and runs the work on it.
pub fn main(program: &'static str, host: impl FnOnce(Work) -> Result<(), Fault>) -> ExitCode {
    flush_recording_on_panic();
    let matches = match args::command(program).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come by here as well.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { code::USAGE } else { code::OK });
        }
    };
    match dispatch(&matches, host) {
        Ok(()) => ExitCode::from(code::OK),
        Err(fault) => {
            if fault.code != code::OK {
                out::complain(&fault);
            }
            ExitCode::from(fault.code)
        }
    }
}

fn dispatch(matches: &ArgMatches, host: impl FnOnce(Work) -> Result<(), Fault>) -> Result<(), Fault> {
    match matches.subcommand() {
        Some(("replay", sub)) => replay::run(sub),
        Some(("announce", sub)) => {
            let (target, request) = (target(matches)?, client::announce_request(sub)?);
            host(Box::new(move |runtime| client::announce(runtime, target, request).boxed()))
        }
        Some(("status", sub)) => {
            let (target, json) = (target(matches)?, sub.get_flag("json") || output(matches) == Format::Json);
            host(Box::new(move |runtime| client::status(runtime, target, json).boxed()))
        }
        Some(("shutdown", _)) => {
            let target = target(matches)?;
            host(Box::new(move |runtime| client::shutdown(runtime, target).boxed()))
        }
        Some(_) | None => {
            let options = options(matches)?;
            host(Box::new(move |runtime| node::run(runtime, options).boxed()))
        }
    }
}

fn options(matches: &ArgMatches) -> Result<node::Options, Fault> {
    let files: Vec<PathBuf> = matches.get_many("config").into_iter().flatten().cloned().collect();
    let flags = matches.get_many::<(String, String)>("set").into_iter().flatten().cloned().collect();
    let sources = sources::collect(&files, flags)?;
    Ok(node::Options {
        data_dir: data_dir(matches)?,
        settings: Settings::load(&sources)?,
        record: matches.get_one::<PathBuf>("record").cloned(),
        output: output(matches),
    })
}

fn data_dir(matches: &ArgMatches) -> Result<PathBuf, Fault> {
    match matches.get_one::<PathBuf>("data-dir") {
        Some(path) => Ok(path.clone()),
        None => data_dir::default_path(|name| std::env::var(name).ok()),
    }
}

fn output(matches: &ArgMatches) -> Format {
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => Format::Json,
        Some(_) | None => Format::Text,
    }
}

fn target(matches: &ArgMatches) -> Result<client::Target, Fault> {
    let patience = matches.get_one::<u64>("timeout").copied().unwrap_or(client::PATIENCE_SECS);
    client::Target::find(&data_dir(matches)?, output(matches), Duration::from_secs(patience))
}

/// A failed assertion is our bug: what was recorded is saved, and the process ends; nothing goes on with a broken core
/// (design, decision 12).
fn flush_recording_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        told(info);
        recording::flush_on_panic();
        out::complain("peerage: this is a bug; a recording, if one was made, ends with what led to it");
        std::process::exit(i32::from(code::PANIC));
    }));
}
