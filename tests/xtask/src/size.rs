//! How large the binaries are, by feature, in profile `small`; and the bounds that hold for those of small hosts.

use std::path::Path;

use peerage_conformance::node::{self, Node, Shell};

use crate::run::{Totals, cargo, run};
use crate::workspace::Workspace;

const MIB: u64 = 1 << 20;

/// One way to build a binary: package, name, features on top of none, and most bytes if there is a bound.
type Build = (&'static str, &'static str, &'static [&'static str], Option<u64>);

/// Those with a bound: the least `peerage-smol`, and the whole.
const BOUND: [Build; 2] = [
    ("peerage-smol", "peerage-smol", &[], Some(6 * MIB)),
    ("peerage-smol", "peerage-smol", &["dnsaddr", "tls"], Some(10 * MIB)),
];

/// The others that `docs/sizes.md` lists.
const LISTED: [Build; 4] = [
    ("peerage-smol", "peerage-smol", &["dnsaddr"], None),
    ("peerage-smol", "peerage-smol", &["tls"], None),
    ("peerage-tokio", "peerage", &[], None),
    ("peerage-tokio", "peerage", &["tls"], None),
];

/// Builds what has a bound, some minutes each, and looks at the files.
///
/// # Errors
/// If one does not build, or is too large.
pub(crate) fn stage(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    let too_large = print(workspace, totals, &BOUND)?;
    totals.passed += BOUND.len() as u64 - too_large.len() as u64 + 1;
    if too_large.is_empty() { Ok(()) } else { Err(too_large.join("; ")) }
}

/// Builds all and prints the table.
///
/// # Errors
/// As [`stage`].
pub(crate) fn measure() -> Result<(), String> {
    let (workspace, mut totals) = (Workspace::load()?, Totals::default());
    let too_large = print(&workspace, &mut totals, &[&BOUND[..], &LISTED[..]].concat())?;
    if too_large.is_empty() { Ok(()) } else { Err(too_large.join("; ")) }
}

fn print(workspace: &Workspace, totals: &mut Totals, builds: &[Build]) -> Result<Vec<String>, String> {
    let mut rows = Vec::new();
    let mut too_large = Vec::new();
    for (package, name, features, most) in builds {
        let features = features.join(",");
        let words = ["build", "--locked", "--profile", "small", "-p", package, "--no-default-features"];
        let mut build = cargo(words);
        run(build.args(["--features", &features]).current_dir(&workspace.root), totals)?;
        let path = workspace.target_dir.join("small").join(name);
        let bytes = std::fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?.len();
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        let bound = most.map_or_else(String::new, |most| format!(", at most {:.0} MiB", mib(most)));
        if features.is_empty() && *package == "peerage-smol" {
            count_threads(&path)?;
        }
        let features = if features.is_empty() { "minimal" } else { &features };
        rows.push(format!("{name:<13} {features:<14} {:>6.2} MiB{bound}", mib(bytes)));
        if most.is_some_and(|most| bytes >= most) {
            too_large.push(format!("{name} with {features} has {:.2} MiB{bound}", mib(bytes)));
        }
    }
    rows.iter().for_each(|row| println!("{row}"));
    Ok(too_large)
}

/// Most threads of the minimal build, and their names (`docs/shells.md`).
const THREADS_MAX: usize = 5;
const THREADS: [&str; 4] = ["peerage-smol", "async-io", "futures-timer", "report"];

/// Starts the minimal build and looks at its threads.
fn count_threads(binary: &Path) -> Result<(), String> {
    node::use_binaries(binary.to_owned(), binary.to_owned());
    let mut node = Node::start(Shell::Smol, "minimal", &[]).map_err(|e| e.to_string())?;
    let folder = format!("/proc/{}/task", node.process().pid());
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{folder}: {e}"))?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        // One that has just ended has none.
        std::fs::read_to_string(entry.ok()?.path().join("comm")).ok().map(|text| text.trim_end().to_owned())
    };
    let names: Vec<String> = entries.filter_map(name).collect();
    println!("threads of {}: {}", binary.display(), names.join(", "));
    let is_listed = |name: &String| THREADS.contains(&name.as_str()) || name.starts_with("blocking-");
    if names.len() > THREADS_MAX || !names.iter().all(is_listed) {
        return Err(format!(
            "at most {THREADS_MAX} threads were expected, and these: {THREADS:?}, blocking-N"
        ));
    }
    Ok(())
}
