//! `cargo xtask test | measure | checklist`: every check of the repository, with what each needs on a fresh machine.
#![forbid(unsafe_code)]

mod checklist;
mod deny;
mod laws;
mod measure;
mod nostd;
mod plain;
mod run;
mod size;
mod stages;
mod wasm;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask test [--list | --stage NAME]
       cargo xtask measure gossip [--runs N] [--quick] [--profile shipped|release|dist|small]   CPU a message, loss and memory beside the Go message bus
       cargo xtask measure mesh [--runs N] [--quick] [--profile shipped|release|dist|small]     CPU a message in a mesh of 6, beside the same
       cargo xtask measure publish [--runs N] [--quick] [--profile shipped|release|dist|small]  CPU a message published, and loss, beside the same
       cargo xtask measure ceiling [--runs N] [--quick] [--profile shipped|release|dist|small]  messages a second without loss between two of ours
       cargo xtask measure peers [--runs N] [--quick] [--profile shipped|release|dist|small]    memory of a connected peer, beside the same
       cargo xtask measure start [--runs N] [--quick] [--profile shipped|release|dist|small]    start to listening, idle memory and CPU, beside the same
       cargo xtask measure soak [--quick] [--profile shipped|release|dist|small]                a mesh of all makes under churn, 10 min; scores, 3 min
       cargo xtask measure contract [--quick] [--profile shipped|release|dist|small]            the memory contract under 500 hostile peers, 1 min each
       cargo xtask measure size                                                                 both binaries in profile small, by feature
       cargo xtask checklist";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => stages::run_all(),
        ["test", "--list"] => {
            stages::list();
            Ok(())
        }
        ["test", "--stage", name] => stages::run_one(name),
        ["measure", "size"] => size::measure(),
        ["measure", what, options @ ..] => measure::measure(what, options),
        ["checklist"] => workspace::Workspace::load().and_then(|w| checklist::print_and_judge(&w, true)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
