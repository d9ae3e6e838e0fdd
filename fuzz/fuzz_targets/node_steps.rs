#![no_main]
//! A small world by structured steps, oracles on.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    peerage_sim::fuzz::node_steps::run(bytes);
});
