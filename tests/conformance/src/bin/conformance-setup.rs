//! Builds the foreign peers and says where they are.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match peerage_conformance::setup::setup() {
        Ok(_) => {
            println!("{}", peerage_conformance::setup::cache_dir().display());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
