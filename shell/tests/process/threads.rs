//! Which threads a node has (docs/shells.md).

use super::{Node, Scratch, shown, viewer};

/// Threads for work that blocks, of both builds.
const POOL_MAX: usize = if cfg!(feature = "tls") { 4 } else { 1 };

/// The names of the threads, in order. A name has 15 letters at most.
fn threads(node: &Node) -> Vec<String> {
    let folder = format!("/proc/{}/task", node.child.id());
    let name = |thread: std::io::Result<std::fs::DirEntry>| {
        // One that has just ended has none.
        let text = std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()?;
        Some(text.trim_end().to_owned())
    };
    let mut names: Vec<_> = std::fs::read_dir(folder).expect("it runs").filter_map(name).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_node_has_no_threads_but_those_that_are_listed() {
    let binary = crate::BINARY.rsplit('/').next().expect("a name");
    let scratch = Scratch::new();
    let first = Node::start(&scratch.join("a"), &[]);
    let bootstrap = format!("p2p_bootstrap_peers={}", first.address());
    let second = Node::start(&scratch.join("b"), &[&bootstrap]);
    second.event("peer_connected");
    let mut viewer = viewer(&second);
    shown(&mut viewer);
    for node in [&first, &second] {
        let names = threads(node);
        let listed = |name: &&String| {
            *name == binary || ["async-io", "futures-timer", "report"].contains(&name.as_str())
        };
        let is_pool = |name: &&String| *name == "pool" || name.starts_with("blocking-");
        let (listed, pool) = (names.iter().filter(listed).count(), names.iter().filter(is_pool).count());
        assert_eq!(listed + pool, names.len(), "{names:?}");
        assert!(listed <= 4 && pool <= POOL_MAX, "{names:?}");
    }
}
