//! Generates the protobuf messages from `proto/`, without protoc.

use std::error::Error;

const FILES: [&str; 6] = [
    "kafkamessage.proto",
    "p2p_api.proto",
    "model.proto",
    "blockchain_api.proto",
    "blockassembly_api.proto",
    "peerage/v1/control.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // Ordered maps: nothing that is hashed with random seeds, and no std.
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
