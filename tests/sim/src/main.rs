//! `sim run`, `sim replay`, `sim steps`, `sim shrink`, `sim scenario`, `sim speed`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use peerage_core::record;
use peerage_sim::fuzz::node_steps;
use peerage_sim::generator::script;
use peerage_sim::run::{Outcome, run, run_recorded};
use peerage_sim::scenario;
use peerage_sim::shrink::shrink;
use peerage_sim::speed::measure;
use peerage_sim::step::{self, Script};

const USAGE: &str = "usage:
  sim run [--seed N] [--nodes N] [--secs N] [--runs N] [--record DIR]
      Runs the script of a seed (and of the seeds after it). DIR gets the steps and a recording of each life of a node.
  sim replay FILE
      Replays a file of steps, or the recording of a node.
  sim steps FILE
      Prints the steps that a case of the fuzz target node_steps stands for.
  sim shrink FILE
      Prints the shortest list of steps that fails as FILE does.
  sim speed [--seed N] [--nodes N] [--secs N]
      Prints how fast a calm world of nodes is, and how well messages spread in it: a failure is a message that
      does not arrive everywhere, and more or fewer duplicates than the protocol's analysis has.
  sim scenario [--seed N]
      Prints the hash of the fixed scenario of one node, to compare with other machines.
exit codes: 0 nothing found, 1 a failure was found, 2 the command cannot be carried out";

/// What the command line asks for.
struct Arguments {
    seed: u64,
    nodes: u32,
    secs: u64,
    runs: u64,
    record: Option<PathBuf>,
    file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let result = parse(words).and_then(|arguments| match command.as_str() {
        "run" => run_seeds(&arguments),
        "replay" => replay(&arguments),
        "shrink" => shrink_file(&arguments),
        "steps" => steps_of_case(&arguments),
        "speed" => {
            let speed = measure(arguments.seed, arguments.nodes, arguments.secs);
            println!("{speed}");
            Ok(speed.is_formed && speed.delivered == 1.0 && speed.spread.is_as_analysed())
        }
        "scenario" => {
            println!("{}", hex(&scenario::run(arguments.seed, false)));
            Ok(true)
        }
        _ => Err(USAGE.into()),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("sim: {problem}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { seed: 0, nodes: 5, secs: 120, runs: 1, record: None, file: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number\n{USAGE}"));
        match word.as_str() {
            "--seed" => arguments.seed = number(value()?)?,
            "--nodes" => {
                let nodes = number(value()?)?;
                let in_range = u32::try_from(nodes).ok().filter(|nodes| (1..=2000).contains(nodes));
                arguments.nodes = in_range.ok_or("--nodes is 1 to 2000")?;
            }
            "--secs" => arguments.secs = number(value()?)?,
            "--runs" => arguments.runs = number(value()?)?,
            "--record" => arguments.record = Some(value()?.into()),
            other if !other.starts_with('-') && arguments.file.is_none() => {
                arguments.file = Some(other.into());
            }
            other => return Err(format!("unknown argument {other:?}\n{USAGE}")),
        }
    }
    Ok(arguments)
}

fn run_seeds(arguments: &Arguments) -> Result<bool, String> {
    let mut clean = true;
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.runs) {
        let script = script(seed, arguments.nodes, arguments.secs);
        let started = Instant::now();
        let (outcome, recordings) = match &arguments.record {
            Some(_) => run_recorded(&script),
            None => (run(&script), Vec::new()),
        };
        if let Some(dir) = &arguments.record {
            keep(dir, seed, &script, &recordings)?;
        }
        print!("seed {seed}: ");
        clean &= tell(&outcome, started);
    }
    Ok(clean)
}

fn keep(dir: &Path, seed: u64, script: &Script, recordings: &[(String, Vec<u8>)]) -> Result<(), String> {
    let write = |name: String, content: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    write(format!("seed-{seed}.steps"), script.to_string().as_bytes())?;
    recordings.iter().try_for_each(|(name, file)| write(format!("seed-{seed}-{name}.rec"), file))
}

fn tell(outcome: &Outcome, started: Instant) -> bool {
    let secs = started.elapsed().as_secs_f64();
    match outcome {
        Outcome::Clean { hash, inputs } => {
            let rate = *inputs as f64 / secs.max(1e-9);
            println!("clean {} ({inputs} inputs, {rate:.0} inputs/s)", hex(hash));
            true
        }
        Outcome::Violated(violation) => {
            println!("violated {violation}");
            false
        }
        Outcome::Panicked(text) => {
            println!("panicked {text}");
            false
        }
    }
}

fn read(arguments: &Arguments) -> Result<Vec<u8>, String> {
    let path = arguments.file.as_ref().ok_or(USAGE)?;
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_script(bytes: &[u8]) -> Result<Script, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| format!("no file that begins with {:?}", step::MAGIC))?;
    Script::parse(text)
}

fn replay(arguments: &Arguments) -> Result<bool, String> {
    let (bytes, started) = (read(arguments)?, Instant::now());
    if !bytes.starts_with(record::MAGIC) {
        return Ok(tell(&run(&read_script(&bytes)?), started));
    }
    let replayed = record::replay(&bytes, |_, _, _| {}).map_err(|error| error.to_string())?;
    let end = match (replayed.is_complete, replayed.torn_at) {
        (true, _) => "complete".into(),
        (false, Some(at)) => format!("torn tail cut at byte {at}"),
        (false, None) => "without a clean end".into(),
    };
    println!("replayed {} ({} inputs, {end})", hex(&replayed.state_hash), replayed.inputs);
    Ok(true)
}

fn steps_of_case(arguments: &Arguments) -> Result<bool, String> {
    print!("{}", node_steps::script(&read(arguments)?));
    Ok(true)
}

fn shrink_file(arguments: &Arguments) -> Result<bool, String> {
    let script = read_script(&read(arguments)?)?;
    // Panics of the core are expected here, by the hundred.
    std::panic::set_hook(Box::new(|_| {}));
    if run(&script).failure().is_none() {
        println!("nothing fails");
        return Ok(true);
    }
    print!("{}", shrink(&script));
    Ok(false)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
