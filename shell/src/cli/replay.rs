//! `replay`: runs a recording again.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use peerage_core::record::{Frame, MAGIC, RecordError, ReplayError, Replayed, replay};
use serde_json::json;

use super::out;

use crate::data_dir::files;
use crate::fault::{Fault, code};

/// Replays the named file and prints what it came to.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let Some(path) = matches.get_one::<PathBuf>("file") else {
        return Err(Fault::new(code::USAGE, "which recording?", "name its file"));
    };
    let bytes = read(path)?;
    let trace = matches.get_flag("trace");
    let mut told = Ok(());
    let replayed = replay(&bytes, |now, frame, actions| {
        if let (true, Ok(()), Frame::Input(_, input)) = (trace, &told, frame) {
            told = out::line(format_args!("{:?} {input:?}", now.mono));
            let all = || actions.iter().try_for_each(|action| out::line(format_args!("    {action:?}")));
            told = told.clone().and_then(|()| all());
        }
    })
    .map_err(|error| fault(path, &error))?;
    told?;
    let json = matches.get_one::<String>("output").is_some_and(|form| form == "json");
    tell(&replayed, json)
}

fn tell(replayed: &Replayed, json: bool) -> Result<(), Fault> {
    let hash = peerage_proto::hex::encode(&replayed.state_hash);
    if json {
        return out::line(json!({
            "event": "replayed",
            "inputs": replayed.inputs,
            "hashes_met": replayed.hashes_met,
            "state_hash": hash,
            "complete": replayed.is_complete,
            "torn_at": replayed.torn_at,
        }));
    }
    out::line(format_args!(
        "{hash} after {} inputs, {} recorded hashes met",
        replayed.inputs, replayed.hashes_met
    ))?;
    match (replayed.torn_at, replayed.is_complete) {
        (Some(at), _) => {
            out::line(format_args!("the tail was torn: cut at byte {at}, the last whole record"))
        }
        (None, false) => out::line("the recording does not end with a clean stop"),
        (None, true) => Ok(()),
    }
}

/// The whole file, if it begins as a recording does: what does not, may have no end.
fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: &io::Error| files::cannot_read(path, error);
    let mut file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut bytes = Vec::new();
    let head = (&mut file).take(MAGIC.len() as u64).read_to_end(&mut bytes);
    head.map_err(|error| unreadable(&error))?;
    if bytes != MAGIC {
        return Err(fault(path, &ReplayError::Unreadable(RecordError::NotARecording)));
    }
    file.read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

fn fault(path: &Path, error: &ReplayError) -> Fault {
    let remedy = match error {
        ReplayError::OtherCore { .. } => "use the program that recorded it",
        ReplayError::Unreadable(_) | ReplayError::Config(_) => "use a recording made by --record",
        ReplayError::Diverged { .. } => {
            "this is a bug, of the core or of the machine: please report it with the recording"
        }
    };
    Fault::new(code::DATA, format!("{}: {error}", path.display()), remedy)
}
