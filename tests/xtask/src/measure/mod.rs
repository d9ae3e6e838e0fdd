//! `cargo xtask measure`: what our binaries cost beside the Go message bus, on this machine and in this hour.

mod cpu;
mod feed;
mod figures;
mod gossip;
mod ours;
mod publish;
mod start;

use std::path::{Path, PathBuf};

use crate::run::{Totals, cargo, need, read, run};
use crate::workspace::Workspace;

/// What a measurement is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    /// Runs that must count.
    runs: usize,
    /// Shorter: to see whether it works, not for figures to be quoted.
    quick: bool,
    /// How our binaries are built.
    profile: String,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self { runs: 5, quick: false, profile: "release".to_owned() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.quick = true,
                "--profile" => match words.next() {
                    Some(profile @ (&"release" | &"dist")) => options.profile = (*profile).to_owned(),
                    _ => return Err("--profile wants release or dist".to_owned()),
                },
                "--runs" => {
                    let runs = words.next().and_then(|n| n.parse().ok()).filter(|n| (1..=99).contains(n));
                    options.runs = runs.ok_or("--runs wants a number from 1 to 99")?;
                }
                other => return Err(format!("measure does not know {other}")),
            }
        }
        Ok(options)
    }

    /// How long a load lasts.
    fn seconds(&self) -> u32 {
        if self.quick { 2 } else { 4 }
    }
}

/// The kinds of peers side by side.
#[derive(Clone, Debug)]
struct Kinds {
    tokio: PathBuf,
    smol: PathBuf,
}

impl Kinds {
    /// Ours, with the names they have in tables.
    fn ours(&self) -> [(&'static str, &Path); 2] {
        [("peerage", &self.tokio), ("peerage-smol", &self.smol)]
    }
}

/// Builds what is measured, then measures.
///
/// # Errors
/// If it cannot be built or run. A target that is missed is no error; it stands in the table.
pub(crate) fn measure(what: &str, words: &[&str]) -> Result<(), String> {
    let options = Options::parse(words)?;
    let body = match what {
        "gossip" => gossip::measure,
        "publish" => publish::measure,
        "start" => start::measure,
        other => return Err(format!("measure gossip, publish or start, not {other}")),
    };
    let workspace = Workspace::load()?;
    need("go", "golang-go")?;
    let mut totals = Totals::default();
    for package in ["peerage-tokio", "peerage-smol"] {
        // One at a time: together they would share features.
        run(
            cargo(["build", "--release", "--locked", "-p", package]).current_dir(&workspace.root),
            &mut totals,
        )?;
    }
    peerage_conformance::setup().map_err(|e| e.to_string())?;
    let built = workspace.target_dir.join(&options.profile);
    let kinds = Kinds { tokio: built.join("peerage"), smol: built.join("peerage-smol") };
    heading(what, &options);
    body(&kinds, &options)
}

fn heading(what: &str, options: &Options) {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let kernel = read(&mut crate::run::command("uname", ["-r"])).unwrap_or_default();
    println!(
        "measure {what}: {} runs{}, profile {}, {processors} processors, load {load}, Linux {}",
        options.runs,
        if options.quick { ", quick (too short to be quoted)" } else { "" },
        options.profile,
        kernel.trim()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let options = |runs, quick, profile: &str| Ok(Options { runs, quick, profile: profile.to_owned() });
        assert_eq!(Options::parse(&[]), options(5, false, "release"));
        assert_eq!(Options::parse(&["--quick", "--runs", "3"]), options(3, true, "release"));
        assert_eq!(Options::parse(&["--profile", "dist"]), options(5, false, "dist"));
        assert!(Options::parse(&["--profile", "dev"]).is_err());
        assert!(Options::parse(&["--runs"]).is_err() && Options::parse(&["--runs", "0"]).is_err());
        assert!(Options::parse(&["--fast"]).is_err());
    }
}
