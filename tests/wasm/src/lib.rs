//! The scenario as a module for wasm32, which Node.js runs and compares with the native build.

pub mod scenario;

/// Word `word` (0 to 3, big-endian) of the scenario's hash for `seed`. With `altered` other than 0 one input is another.
// Exporting a symbol counts as unsafe: two of one name would clash. This module has no other.
#[expect(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn hash_word(seed: u64, altered: u32, word: u32) -> u64 {
    let hash = scenario::run(seed, altered != 0);
    let (words, _) = hash.as_chunks::<8>();
    words.get(word as usize).copied().map_or(0, u64::from_be_bytes)
}
