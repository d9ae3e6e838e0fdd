//! `replay`: runs a recording again.

use std::path::PathBuf;

use clap::ArgMatches;
use peerage_core::record::{Frame, ReplayError, replay};
use serde_json::json;

use crate::data_dir::files;
use crate::fault::{Fault, code};

/// Replays the named file and prints what it came to.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let Some(path) = matches.get_one::<PathBuf>("file") else {
        return Err(Fault::new(code::USAGE, "which recording?", "name its file"));
    };
    let bytes = std::fs::read(path).map_err(|error| files::cannot_read(path, &error))?;
    let trace = matches.get_flag("trace");
    let replayed = replay(&bytes, |now, frame, actions| {
        if let (true, Frame::Input(_, input)) = (trace, frame) {
            println!("{:?} {input:?}", now.mono);
            actions.iter().for_each(|action| println!("    {action:?}"));
        }
    })
    .map_err(|error| fault(path, &error))?;
    let hash = peerage_proto::hex::encode(&replayed.state_hash);
    if matches.get_one::<String>("output").is_some_and(|form| form == "json") {
        println!(
            "{}",
            json!({
                "event": "replayed",
                "inputs": replayed.inputs,
                "hashes_met": replayed.hashes_met,
                "state_hash": hash,
                "complete": replayed.is_complete,
                "torn_at": replayed.torn_at,
            })
        );
    } else {
        println!("{hash} after {} inputs, {} recorded hashes met", replayed.inputs, replayed.hashes_met);
        match (replayed.torn_at, replayed.is_complete) {
            (Some(at), _) => println!("the tail was torn: cut at byte {at}, the last whole record"),
            (None, false) => println!("the recording does not end with a clean stop"),
            (None, true) => {}
        }
    }
    Ok(())
}

fn fault(path: &std::path::Path, error: &ReplayError) -> Fault {
    let remedy = match error {
        ReplayError::OtherCore { .. } => "use the program that recorded it",
        ReplayError::Unreadable(_) | ReplayError::Config(_) => "use a recording made by --record",
        ReplayError::Diverged { .. } => {
            "this is a bug, of the core or of the machine: please report it with the recording"
        }
    };
    Fault::new(code::DATA, format!("{}: {error}", path.display()), remedy)
}
