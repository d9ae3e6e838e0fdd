//! Which crates, and which of their features, a package may stand on.

use crate::nostd::FENCED;
use crate::run::Totals;
use crate::workspace::{Used, Workspace};

/// Crates that do I/O, read clocks or draw entropy, and containers whose order is random by default.
const IMPURE: [&str; 28] = [
    "ahash",
    "async-global-executor",
    "async-io",
    "async-std",
    "chrono",
    "foldhash",
    "futures-timer",
    "getrandom",
    "hashbrown",
    "hyper",
    "indexmap",
    "instant",
    "libp2p",
    "mio",
    "parking_lot",
    "polling",
    "rand",
    "rdkafka",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tonic",
    "tungstenite",
    "wasm-timer",
    "web-time",
];

/// Executors and reactors: only the two shells have one.
const RUNTIMES: [&str; 9] = [
    "async-executor",
    "async-global-executor",
    "async-io",
    "async-std",
    "mio",
    "polling",
    "smol",
    "tokio-rustls",
    "tokio-tungstenite",
];

/// What of tokio is a runtime.
const RUNTIME_FEATURES: [&str; 8] =
    ["fs", "full", "net", "process", "rt", "rt-multi-thread", "signal", "time"];

/// What of tokio is none; the only features that `peerage-smol` may resolve to.
const NEUTRAL_FEATURES: [&str; 4] = ["bytes", "default", "io-util", "sync"];

/// The breaks in the graphs of the members that have a law.
///
/// # Errors
/// If cargo cannot resolve a graph.
pub(super) fn breaks(workspace: &Workspace, totals: &mut Totals) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for package in FENCED.into_iter().chain(["peerage-shell", "peerage-sim", "peerage-smol"]) {
        if !workspace.members.iter().any(|m| m == package) {
            return Err(format!("the workspace has no package {package}: its graph has a law"));
        }
        let graph = workspace.graph(package, FENCED.contains(&package))?;
        let said: Vec<String> = judge(package, &graph);
        println!("{package}: {} packages, {} breaks", graph.len(), said.len());
        totals.passed += u64::from(said.is_empty());
        all.extend(said);
    }
    Ok(all)
}

fn judge(package: &str, graph: &[Used]) -> Vec<String> {
    let banned = |name: &str| match package {
        "peerage-proto" | "peerage-core" => IMPURE.contains(&name) || name.starts_with("libp2p"),
        "peerage-shell" => RUNTIMES.contains(&name),
        "peerage-sim" => name.starts_with("libp2p"),
        "peerage-smol" => name == "mio",
        _ => false,
    };
    let tokio = |feature: &str| match package {
        "peerage-shell" => !RUNTIME_FEATURES.contains(&feature),
        "peerage-smol" => NEUTRAL_FEATURES.contains(&feature),
        _ => true,
    };
    let crates = graph
        .iter()
        .filter(|used| banned(&used.name))
        .map(|used| format!("{package} must not stand on {}", used.name));
    let features = graph.iter().filter(|used| used.name == "tokio").flat_map(|used| {
        let bad = used.features.iter().filter(|f| !tokio(f));
        bad.map(|f| format!("{package} must not stand on tokio's feature {f}"))
    });
    crates.chain(features).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::parse_tree;

    #[test]
    fn a_crate_that_does_io_or_hashes_at_random_is_refused_in_the_core() {
        for name in IMPURE.into_iter().chain(["libp2p-core"]) {
            let graph = parse_tree(&format!("peerage-core v1|\n{name} v1|"));
            assert_eq!(judge("peerage-core", &graph), [format!("peerage-core must not stand on {name}")]);
            assert_eq!(judge("peerage-proto", &graph).len(), 1);
        }
        assert!(judge("peerage-core", &parse_tree("rand_chacha v1|\nrand_core v1|")).is_empty());
    }

    #[test]
    fn a_runtime_is_refused_in_the_shell() {
        let graph = parse_tree("tokio v1|default,io-util,rt\nasync-io v2|");
        assert_eq!(judge("peerage-shell", &graph).len(), 2);
        assert!(judge("peerage-shell", &parse_tree("tokio v1|io-util,sync")).is_empty());
    }

    #[test]
    fn libp2p_is_refused_in_the_simulator() {
        assert_eq!(judge("peerage-sim", &parse_tree("libp2p-gossipsub v1|")).len(), 1);
    }

    #[test]
    fn a_reactor_of_tokio_is_refused_in_the_smol_binary() {
        assert_eq!(judge("peerage-smol", &parse_tree("mio v1|\ntokio v1|bytes,net,sync")).len(), 2);
        assert!(judge("peerage-smol", &parse_tree("tokio v1|bytes,default,io-util,sync")).is_empty());
    }
}
