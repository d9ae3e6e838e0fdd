//! `cargo xtask measure`: what our binaries cost beside the Go message bus, on this machine and in this hour.

mod ceiling;
mod contract;
mod cpu;
mod feed;
mod figures;
mod gossip;
mod mesh;
mod ours;
mod peers;
mod publish;
mod publisher;
mod soak;
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
    profile: Profile,
}

/// Which profile of the workspace our binaries are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// Each binary in its own: the one in which it is shipped.
    Shipped,
    /// Both in this one.
    One(&'static str),
}

impl Profile {
    fn parse(word: &str) -> Option<Self> {
        if word == "shipped" {
            return Some(Self::Shipped);
        }
        ["release", "dist", "small"].into_iter().find(|name| *name == word).map(Self::One)
    }

    /// Our binaries, and where cargo puts them. The folder has the name of the profile (only `dev` has another).
    fn binaries(self, target_dir: &Path) -> [Binary; 2] {
        [("peerage-tokio", "peerage", "dist"), ("peerage-smol", "peerage-smol", "small")].map(
            |(package, name, shipped)| {
                let profile = match self {
                    Self::Shipped => shipped,
                    Self::One(profile) => profile,
                };
                Binary { package, name, profile, path: target_dir.join(profile).join(name) }
            },
        )
    }
}

/// One of our binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binary {
    package: &'static str,
    /// Its name, also in tables.
    name: &'static str,
    profile: &'static str,
    path: PathBuf,
}

impl Binary {
    /// What cargo is told so that exactly this file is up to date.
    fn build_args(&self) -> [&'static str; 6] {
        ["build", "--locked", "--profile", self.profile, "-p", self.package]
    }
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self { runs: 5, quick: false, profile: Profile::Shipped };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.quick = true,
                "--profile" => {
                    let profile = words.next().and_then(|word| Profile::parse(word));
                    options.profile = profile.ok_or("--profile wants shipped, release, dist or small")?;
                }
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
    ours: [Binary; 2],
}

impl Kinds {
    /// The file of ours of this name; `None` for a foreign peer.
    fn binary(&self, name: &str) -> Option<&Path> {
        self.ours.iter().find(|ours| ours.name == name).map(|ours| ours.path.as_path())
    }
}

/// Builds what is measured, then measures.
///
/// # Errors
/// If it cannot be built or run. A target that is missed is no error; it stands in the table.
pub(crate) fn measure(what: &str, words: &[&str]) -> Result<(), String> {
    let options = Options::parse(words)?;
    let body = match what {
        "ceiling" => ceiling::measure,
        "gossip" => gossip::measure,
        "mesh" => mesh::measure,
        "peers" => peers::measure,
        "contract" => contract::measure,
        "soak" => soak::measure,
        "publish" => publish::measure,
        "start" => start::measure,
        other => {
            return Err(format!(
                "measure ceiling, contract, gossip, mesh, peers, publish, size, soak or start, not {other}"
            ));
        }
    };
    let workspace = Workspace::load()?;
    need("go", "golang-go")?;
    let kinds = Kinds { ours: options.profile.binaries(&workspace.target_dir) };
    let mut totals = Totals::default();
    for binary in &kinds.ours {
        // One at a time: together they would share features.
        run(cargo(binary.build_args()).current_dir(&workspace.root), &mut totals)?;
    }
    peerage_conformance::setup().map_err(|e| e.to_string())?;
    heading(what, &options, &kinds);
    body(&kinds, &options)
}

fn heading(what: &str, options: &Options, kinds: &Kinds) {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let kernel = read(&mut crate::run::command("uname", ["-r"])).unwrap_or_default();
    let built = kinds.ours.each_ref().map(|ours| format!("{} in profile {}", ours.name, ours.profile));
    println!(
        "measure {what}: {} runs{}, {}, {processors} processors, load {load}, Linux {}",
        options.runs,
        if options.quick { ", quick (too short to be quoted)" } else { "" },
        built.join(", "),
        kernel.trim()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let options = |runs, quick, profile| Ok(Options { runs, quick, profile });
        assert_eq!(Options::parse(&[]), options(5, false, Profile::Shipped));
        assert_eq!(Options::parse(&["--quick", "--runs", "3"]), options(3, true, Profile::Shipped));
        assert_eq!(Options::parse(&["--profile", "shipped"]), options(5, false, Profile::Shipped));
        for name in ["release", "dist", "small"] {
            assert_eq!(Options::parse(&["--profile", name]), options(5, false, Profile::One(name)));
        }
        assert!(Options::parse(&["--profile", "dev"]).is_err() && Options::parse(&["--profile"]).is_err());
        assert!(Options::parse(&["--runs"]).is_err() && Options::parse(&["--runs", "0"]).is_err());
        assert!(Options::parse(&["--fast"]).is_err());
    }

    #[test]
    fn a_quick_load_lasts_two_seconds() {
        let seconds = |words: &[&str]| Options::parse(words).map(|options| options.seconds());
        assert_eq!((seconds(&["--quick"]), seconds(&[])), (Ok(2), Ok(4)));
    }

    #[test]
    fn each_binary_is_by_default_in_the_profile_in_which_it_is_shipped() {
        let [tokio, smol] = Profile::Shipped.binaries(Path::new("/t"));
        assert_eq!((tokio.package, tokio.path), ("peerage-tokio", PathBuf::from("/t/dist/peerage")));
        assert_eq!((smol.package, smol.path), ("peerage-smol", PathBuf::from("/t/small/peerage-smol")));
    }

    #[test]
    fn what_is_built_is_what_is_measured() {
        for profile in
            [Profile::Shipped, Profile::One("release"), Profile::One("dist"), Profile::One("small")]
        {
            for binary in profile.binaries(Path::new("/t")) {
                let args = binary.build_args();
                assert_eq!(args, ["build", "--locked", "--profile", binary.profile, "-p", binary.package]);
                assert_eq!(binary.path, Path::new("/t").join(args[3]).join(binary.name));
            }
        }
        let both = Profile::One("small").binaries(Path::new("/t"));
        assert!(both.iter().all(|binary| binary.profile == "small"));
    }
}
