//! The binary of the smol shell.
fn main() {}
