//! The fuzz corpus, replayed on stable: every case that was ever worth keeping.

use std::fs;
use std::path::Path;

use peerage_sim::fuzz::{decode_wire, node_frames, node_steps};

/// Runs `body` on each file of `corpus/target`, and names the one that fails.
fn replay(target: &str, least: usize, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    assert!(paths.len() >= least, "{} cases in {}", paths.len(), folder.display());
    for path in paths {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("{}", path.display());
        body(&bytes);
    }
}

#[test]
fn every_case_of_wire_decoding_passes() {
    replay("decode_wire", 16, decode_wire::run);
}

#[test]
fn every_case_of_node_steps_passes() {
    replay("node_steps", 8, node_steps::run);
}

#[test]
fn every_case_of_node_frames_passes() {
    replay("node_frames", 8, node_frames::run);
}
