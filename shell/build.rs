//! Generates the service trait of `peerage.v1` onto the messages of `peerage-proto`, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../proto/proto/peerage");
    let descriptors = protox::compile(["peerage/v1/control.proto"], ["../proto/proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .extern_path(".peerage.v1", "::peerage_proto::control")
        .compile_fds(descriptors)?;
    Ok(())
}
