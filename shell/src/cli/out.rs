//! Standard output of the commands that answer and end.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use crate::fault::{Fault, code};

/// Writes one line.
///
/// # Errors
/// When it cannot be written. Whoever closed the pipe has read enough: that fault has exit code 0 and says nothing.
pub(super) fn line(text: impl Display) -> Result<(), Fault> {
    let mut out = io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| fault(&error))
}

fn fault(error: &io::Error) -> Fault {
    if error.kind() == ErrorKind::BrokenPipe {
        return Fault::new(code::OK, "", "");
    }
    let problem = format!("standard output cannot be written: {error}");
    Fault::new(code::CANNOT_CREATE, problem, "check where the output goes")
}

/// Tells on standard error, if anybody is there.
pub(super) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
