#![no_main]
//! Frames of the fuzzer's own on the streams of a node, oracles on.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    peerage_sim::fuzz::node_frames::run(bytes);
});
