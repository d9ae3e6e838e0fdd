#![no_main]
//! Every decoder of bytes that others write.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    peerage_sim::fuzz::decode_wire::run(bytes);
});
