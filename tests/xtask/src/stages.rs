//! The stages of `cargo xtask test`, in order, each timed.

use std::time::{Duration, Instant};

use crate::run::{Totals, cargo, command, need, read, run};
use crate::workspace::Workspace;
use crate::{checklist, deny, laws, nostd, plain, size, wasm};

/// The package that starts foreign peers: a stage of its own.
const FOREIGN: &str = "peerage-conformance";

type Body = fn(&Workspace, &mut Totals) -> Result<(), String>;

/// Name, what it checks, how.
const STAGES: [(&str, &str, Body); 14] = [
    ("fmt", "the code is formatted", fmt),
    ("laws", "dependency graphs and files obey the design", laws::stage),
    ("deny", "licences, sources and minimum versions of dependencies", deny::stage),
    ("checklist", "every item of the specification that is due has its test", checklist_stage),
    ("clippy", "no lint speaks, package by package", clippy),
    ("nostd", "the core and its wire formats build without std", nostd::stage),
    ("unit", "the tests of each package, built alone", unit),
    ("plain", "`cargo test` passes offline with Rust and a C compiler alone, in three minutes", plain::stage),
    ("doc", "the documentation builds without a warning", doc),
    ("fuzz-build", "the fuzz targets build on nightly", fuzz_build),
    ("wasm", "the core builds for wasm32 and computes the same there", wasm::stage),
    ("binaries", "each binary builds alone", binaries),
    (
        "size",
        "the binaries of small hosts are small: two whole builds, six minutes where nothing else runs",
        size::stage,
    ),
    ("conformance", "both binaries against peers not written here", conformance),
];

/// Prints the stages.
pub(crate) fn list() {
    for (name, what, _) in STAGES {
        println!("{name:<12} {what}");
    }
}

/// Runs every stage up to the first that fails.
///
/// # Errors
/// If a stage fails; the message names it.
pub(crate) fn run_all() -> Result<(), String> {
    run_these(&STAGES)
}

/// Runs the stage of this name.
///
/// # Errors
/// If there is none, or it fails.
pub(crate) fn run_one(name: &str) -> Result<(), String> {
    let stage = STAGES.iter().find(|(n, ..)| *n == name);
    let stage = stage.ok_or_else(|| format!("no stage is called {name}; see cargo xtask test --list"))?;
    run_these(std::slice::from_ref(stage))
}

fn run_these(stages: &[(&str, &str, Body)]) -> Result<(), String> {
    let workspace = Workspace::load()?;
    let mut totals = Totals::default();
    let mut times: Vec<(&str, Duration)> = Vec::new();
    let mut outcome = Ok(());
    for (name, what, body) in stages {
        println!("\n== {name}: {what}");
        let start = Instant::now();
        let said = body(&workspace, &mut totals);
        times.push((name, start.elapsed()));
        if let Err(message) = said {
            totals.failed = totals.failed.max(1);
            outcome = Err(format!("stage {name} failed: {message}"));
            break;
        }
    }
    println!("\nstage        minutes");
    for (name, time) in &times {
        println!("{name:<12} {:>7.2}", time.as_secs_f64() / 60.0);
    }
    let whole: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("{:<12} {:>7.2}", "all", whole.as_secs_f64() / 60.0);
    println!("{} passed, {} failed", totals.passed, totals.failed);
    outcome
}

/// Runs one command that is one check.
fn check(mut it: std::process::Command, workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    run(it.current_dir(&workspace.root), totals)?;
    totals.passed += 1;
    Ok(())
}

fn fmt(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    check(cargo(["fmt", "--all", "--check"]), workspace, totals)
}

fn checklist_stage(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    checklist::print_and_judge(workspace, false)?;
    totals.passed += 1;
    Ok(())
}

fn clippy(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    workspace.members.iter().try_for_each(|package| {
        let args = ["clippy", "--locked", "-p", package, "--all-targets", "--", "-D", "warnings"];
        check(cargo(args), workspace, totals)
    })
}

fn unit(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    workspace.members.iter().filter(|package| *package != FOREIGN).try_for_each(|package| {
        run(cargo(["test", "--locked", "-p", package]).current_dir(&workspace.root), totals)
    })
}

fn doc(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    workspace.members.iter().try_for_each(|package| {
        let mut doc = cargo(["doc", "--locked", "--no-deps", "--document-private-items", "-p", package]);
        doc.env("RUSTDOCFLAGS", "-Dwarnings");
        check(doc, workspace, totals)
    })
}

fn fuzz_build(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    if !workspace.has("fuzz/Cargo.toml") {
        println!("nothing yet: fuzz/Cargo.toml");
        return Ok(());
    }
    need("g++", "g++")?;
    read(&mut command("rustup", ["run", "nightly", "rustc", "--version"]))
        .map_err(|e| format!("{e}\nmend it with: rustup toolchain install nightly"))?;
    // Whether they compile and link is the question: that needs neither cargo-fuzz nor its instrumentation.
    let mut build =
        command("rustup", ["run", "nightly", "cargo", "build", "--manifest-path", "fuzz/Cargo.toml"]);
    build.env("CARGO_TARGET_DIR", workspace.scratch("fuzz")?);
    build.env("RUSTFLAGS", "--cfg fuzzing");
    build.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    check(build, workspace, totals)
}

/// One package at a time: a workspace build would unify features and hand smol a libp2p with tokio.
fn binaries(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    ["peerage-tokio", "peerage-smol"]
        .into_iter()
        .try_for_each(|package| check(cargo(["build", "--locked", "-p", package]), workspace, totals))
}

fn conformance(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    if !workspace.has("tests/conformance/tests") {
        println!("nothing yet: tests/conformance/tests");
        return Ok(());
    }
    need("go", "golang-go")?;
    need("node", "nodejs")?;
    need("npm", "npm")?;
    let setup = ["run", "--locked", "-p", FOREIGN, "--bin", "conformance-setup"];
    check(cargo(setup), workspace, totals)?;
    let built = workspace.target_dir.join("debug");
    let mut test = cargo(["test", "--locked", "-p", FOREIGN]);
    test.env("PEERAGE_BIN", built.join("peerage")).env("PEERAGE_SMOL_BIN", built.join("peerage-smol"));
    run(test.current_dir(&workspace.root), totals)
}
