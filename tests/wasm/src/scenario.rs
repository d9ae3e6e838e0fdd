//! x
/// x
pub fn run(seed: u32) -> [u8; 32] { [seed as u8; 32] }
