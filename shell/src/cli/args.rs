//! What the command line understands.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

/// The whole command line.
pub(super) fn command(program: &'static str) -> Command {
    Command::new(program)
        .version(concat!(env!("CARGO_PKG_VERSION"), " (core ", env!("CARGO_PKG_VERSION"), ")"))
        .about("A blockchain peer-to-peer node. Without configuration: a regtest node on loopback.")
        .after_help("Exit codes: docs/exit-codes.md. Settings: docs/settings.md, `--set key=value`.")
        .args(global())
        .args(run_args())
        .subcommand(Command::new("run").about("Runs a node (the default)").args(run_args()))
        .subcommand(announce())
        .subcommand(
            Command::new("status")
                .about("Says what the running node is and does")
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As one JSON object")),
        )
        .subcommand(Command::new("shutdown").about("Stops the running node in good order"))
        .subcommand(
            Command::new("replay")
                .about("Runs a recording again and says which state it leads to")
                .arg(Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf)))
                .arg(
                    Arg::new("trace")
                        .long("trace")
                        .action(ArgAction::SetTrue)
                        .help("Prints every input and action"),
                ),
        )
}

fn global() -> [Arg; 3] {
    [
        Arg::new("data-dir")
            .long("data-dir")
            .value_name("DIR")
            .global(true)
            .value_parser(value_parser!(PathBuf))
            .help("Folder of key, lock and caches [default: $XDG_DATA_HOME/peerage]"),
        Arg::new("output")
            .long("output")
            .value_name("FORM")
            .global(true)
            .value_parser(["text", "json"])
            .help("How facts are written [default: text]"),
        Arg::new("timeout")
            .long("timeout")
            .value_name("SECONDS")
            .global(true)
            .value_parser(value_parser!(u64).range(1..=3600))
            .help("Longest wait for a running node to connect, and to answer [default: 10]"),
    ]
}

fn run_args() -> [Arg; 3] {
    [
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .global(true)
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
            .help("Settings file, in place of those looked for; later ones override"),
        Arg::new("set")
            .long("set")
            .value_name("KEY=VALUE")
            .global(true)
            .action(ArgAction::Append)
            .value_parser(key_value)
            .help("One setting, over every file and the environment"),
        Arg::new("record")
            .long("record")
            .value_name("FILE")
            .global(true)
            .value_parser(value_parser!(PathBuf))
            .help("Records every input, for `replay`"),
    ]
}

fn announce() -> Command {
    Command::new("announce")
        .about("Lets the running node announce something")
        .arg(Arg::new("kind").value_name("KIND").required(true).value_parser(["block", "subtree"]))
        .arg(Arg::new("hash").value_name("HASH").help("Display order; without it a new one is made"))
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=20_000))
                .help("How many new ones, at most 1000 without --rate [default: 1]"),
        )
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=100_000))
                .help("So many a second [default: all at once]"),
        )
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        Some(_) | None => Err("want KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command("peerage").debug_assert();
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        let parsed = |line: &str| command("peerage").try_get_matches_from(line.split(' ')).unwrap();
        assert_eq!(
            parsed("peerage --data-dir /x").get_one::<PathBuf>("data-dir"),
            Some(&PathBuf::from("/x"))
        );
        let run = parsed("peerage run --set a=b --set c= --data-dir /x");
        let set: Vec<_> = run.get_many::<(String, String)>("set").unwrap().cloned().collect();
        assert_eq!(set, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
        assert!(command("peerage").try_get_matches_from(["peerage", "--set", "nonsense"]).is_err());
        assert!(command("peerage").try_get_matches_from(["peerage", "nonsense"]).is_err());
    }
}
