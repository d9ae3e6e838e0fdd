//! Replaying a recording.

use core::fmt;

use super::{CORE_VERSION, Frame, Header, Reader, RecordError};
use crate::contract::Core as _;
use crate::error::ConfigError;
use crate::input::Action;
use crate::node::Node;
use crate::sink::Actions;
use crate::time::Now;

/// What a replay came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// Inputs replayed.
    pub inputs: u64,
    /// Hashes in the recording that were met.
    pub hashes_met: u64,
    /// Hash of the last state.
    pub state_hash: [u8; 32],
    /// Whether the recording ends with a clean stop.
    pub is_complete: bool,
    /// Where a torn tail was cut, in bytes.
    pub torn_at: Option<usize>,
    /// Time of the last input.
    pub end: Now,
}

/// Why a recording cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// It cannot be read.
    Unreadable(RecordError),
    /// Another core recorded it.
    OtherCore {
        /// Which.
        recorded_by: alloc::string::String,
    },
    /// Its settings are refused by this core.
    Config(ConfigError),
    /// The state differs from the one recorded.
    Diverged {
        /// After so many inputs.
        inputs: u64,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::OtherCore { recorded_by } => {
                write!(
                    f,
                    "recorded by core {recorded_by}, this is {CORE_VERSION}: replay it with a build of that core"
                )
            }
            Self::Config(error) => write!(f, "the recorded settings are refused: {error}"),
            Self::Diverged { inputs } => write!(f, "the state after {inputs} inputs is not the one recorded"),
        }
    }
}

impl core::error::Error for ReplayError {}

impl From<RecordError> for ReplayError {
    fn from(error: RecordError) -> Self {
        Self::Unreadable(error)
    }
}

/// Replays `bytes`; `watch` sees every time, input and action.
///
/// # Errors
/// When the recording cannot be reproduced, with the reason.
pub fn replay(bytes: &[u8], mut watch: impl FnMut(Now, &Frame, &[Action])) -> Result<Replayed, ReplayError> {
    let (header, mut reader) = Reader::open(bytes)?;
    let Header { core_version, config, seed, start } = header;
    if core_version != CORE_VERSION {
        return Err(ReplayError::OtherCore { recorded_by: core_version });
    }
    let mut out = Actions::bounded(config.limits.actions_per_input_max());
    let mut node = Node::new(config, seed, start).map_err(ReplayError::Config)?;
    let (mut inputs, mut hashes_met, mut is_complete, mut end) = (0, 0, false, start);
    while let Some(frame) = reader.next_frame()? {
        match &frame {
            Frame::Input(now, input) => {
                node.handle(*now, input.clone(), &mut out);
                inputs += 1;
                end = *now;
                watch(*now, &frame, out.as_slice());
                out.drain().for_each(drop);
            }
            Frame::Hash(hash) | Frame::End(hash) => {
                if node.state_hash() != *hash {
                    return Err(ReplayError::Diverged { inputs });
                }
                hashes_met += 1;
                is_complete |= matches!(frame, Frame::End(_));
            }
        }
    }
    let state_hash = node.state_hash();
    Ok(Replayed { inputs, hashes_met, state_hash, is_complete, torn_at: reader.torn_at(), end })
}

#[cfg(test)]
mod tests {
    use super::super::Recorder;
    use super::*;
    use crate::Config;
    use crate::input::Input;
    use crate::teranode;
    use alloc::vec::Vec;
    use peerage_proto::network::Network;
    use peerage_proto::peer_id::PeerId;

    fn config() -> Config {
        Config::new(PeerId::from_ed25519(&[1; 32]), teranode::Config::new(Network::Regtest))
    }

    /// A recording of a node that starts and then only waits, one second an input.
    fn recording(inputs: u64) -> (Vec<u8>, [u8; 32]) {
        let (start, seed) = (Now::at_secs(0), [7; 32]);
        let mut node = Node::new(config(), seed, start).unwrap();
        let mut recorder = Recorder::default();
        let mut file = recorder.begin(&config(), seed, start).to_vec();
        for n in 0..inputs {
            let now = Now::at_secs(n);
            let input = if n == 0 { Input::Start } else { Input::Timeout };
            file.extend_from_slice(recorder.input(now, &input, || node.state_hash()));
            node.handle(now, input, &mut Vec::new());
        }
        file.extend_from_slice(recorder.end(node.state_hash()));
        (file, node.state_hash())
    }

    fn ignore(_: Now, _: &Frame, _: &[Action]) {}

    #[test]
    fn a_recording_replays_to_its_hash() {
        let (file, hash) = recording(3000);
        let replayed = replay(&file, ignore).unwrap();
        assert_eq!(replayed.state_hash, hash);
        assert_eq!((replayed.inputs, replayed.hashes_met, replayed.is_complete), (3000, 3, true));
    }

    #[test]
    fn a_torn_tail_is_cut_at_the_last_whole_frame() {
        let (file, _) = recording(20);
        let whole = replay(&file, ignore).unwrap();
        for cut in 1..60 {
            let replayed = replay(&file[..file.len() - cut], ignore).unwrap();
            assert!(!replayed.is_complete && replayed.inputs <= whole.inputs, "{cut}");
            let at_a_frame = replayed.torn_at.is_none();
            assert_eq!(at_a_frame, cut == 45, "{cut}: the last frame has 45 bytes");
        }
    }

    #[test]
    fn whichever_byte_before_the_last_frame_is_altered_the_recording_is_refused() {
        let (file, _) = recording(3);
        for at in 0..file.len() - 45 {
            for bit in [0x01, 0x80] {
                let mut altered = file.clone();
                altered[at] ^= bit;
                let refused = replay(&altered, ignore);
                assert!(matches!(refused, Err(ReplayError::Unreadable(_))), "byte {at}: {refused:?}");
            }
        }
    }

    #[test]
    fn another_input_leads_to_a_divergence() {
        let (start, seed) = (Now::at_secs(0), [7; 32]);
        let mut recorder = Recorder::default();
        let mut file = recorder.begin(&config(), seed, start).to_vec();
        file.extend_from_slice(recorder.input(start, &Input::Start, || [0; 32]));
        file.extend_from_slice(recorder.end([9; 32]));
        assert_eq!(replay(&file, ignore), Err(ReplayError::Diverged { inputs: 1 }));
    }

    #[test]
    fn what_is_no_recording_is_refused_with_the_reason() {
        assert_eq!(replay(b"hello", ignore), Err(ReplayError::Unreadable(RecordError::NotARecording)));
        assert_eq!(replay(super::super::MAGIC, ignore), Err(ReplayError::Unreadable(RecordError::NoHeader)));
    }

    #[test]
    fn a_recording_of_another_core_is_refused_by_name() {
        let (file, _) = recording(1);
        let at =
            file.windows(CORE_VERSION.len()).position(|window| window == CORE_VERSION.as_bytes()).unwrap();
        let (header_at, mut other) = (super::super::MAGIC.len(), file);
        other[at] = b'9';
        let len = u32::from_le_bytes(other[header_at..header_at + 4].try_into().unwrap()) as usize;
        let payload_at = header_at + super::super::HEAD_BYTES;
        let crc = crc32fast::hash(&other[payload_at..payload_at + len]);
        other[header_at + 4..header_at + 8].copy_from_slice(&crc.to_le_bytes());
        let of_head = crc32fast::hash(&other[header_at..header_at + 8]);
        other[header_at + 8..payload_at].copy_from_slice(&of_head.to_le_bytes());
        assert!(matches!(replay(&other, ignore), Err(ReplayError::OtherCore { .. })));
    }
}
