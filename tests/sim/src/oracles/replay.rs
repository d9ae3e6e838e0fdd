//! A recording replays to the state that was recorded.

use peerage_core::record::{ReplayError, Replayed};

use super::ensure;

/// Compares a recording's replay with the life that it was made of.
///
/// # Errors
/// How they differ.
pub fn compare(
    file: &[u8],
    hash: [u8; 32],
    inputs: u64,
    replay: impl FnOnce(&[u8]) -> Result<Replayed, ReplayError>,
) -> Result<(), String> {
    let replayed = replay(file).map_err(|error| error.to_string())?;
    ensure(replayed.state_hash == hash, || "the replay came to another state".into())?;
    ensure(replayed.inputs == inputs && replayed.is_complete, || {
        format!("{} of {inputs} inputs replayed, complete: {}", replayed.inputs, replayed.is_complete)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::config;
    use super::*;
    use peerage_core::record::{Recorder, replay};
    use peerage_core::time::Now;
    use peerage_core::{Core as _, Input, Node};

    #[test]
    fn a_replay_to_another_state_a_shorter_one_and_an_altered_one_are_seen() {
        let (config, now, seed) = (config(), Now::at_secs(0), [7; 32]);
        let mut node = Node::new(config.clone(), seed, now).unwrap();
        let mut recorder = Recorder::default();
        let mut file = recorder.begin(&config, seed, now).to_vec();
        file.extend_from_slice(recorder.input(now, &Input::Start, || [0; 32]));
        node.handle(now, Input::Start, &mut Vec::new());
        let (hash, torn) = (node.state_hash(), file.clone());
        file.extend_from_slice(recorder.end(hash));
        let play = |file: &[u8]| replay(file, |_, _, _| {});
        assert_eq!(compare(&file, hash, 1, play), Ok(()));
        assert!(compare(&file, [0; 32], 1, play).is_err());
        assert!(compare(&file, hash, 2, play).is_err());
        assert!(compare(&torn, hash, 1, play).is_err());
        let middle = file.len() - 50;
        file[middle] ^= 1;
        assert!(compare(&file, hash, 1, play).is_err());
    }
}
