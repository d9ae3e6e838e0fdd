//! What became of everything that the router was told, beyond what its parts count themselves.

use crate::state::state;

state! {
    /// Counters. Units are events unless said otherwise.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Tally {
        /// Frames that came in = the next four and those that were used.
        pub frames: u64,
        /// Bytes of them.
        pub frame_bytes: u64,
        /// Of them: on no stream that we know.
        pub frames_stray: u64,
        /// Of them: no RPC, or more in it than anybody needs. Their stream was reset.
        pub frames_malformed: u64,
        /// Of them: from a peer whose score is too low to be heard.
        pub frames_graylisted: u64,
        /// Frames that were announced with more bytes than allowed: they never came in.
        pub frames_too_long: u64,
        /// Control entries beyond what is taken of one RPC.
        pub control_excess: u64,
        /// Message ids that are longer than any of ours.
        pub ids_too_long: u64,
        /// Extensions named after the first RPC of a stream.
        pub extensions_late: u64,
        /// Control from a peer whose protocol knows none.
        pub control_unexpected: u64,
        /// Messages that came in = the next four, and the copies that the table of seen ones counts.
        pub messages: u64,
        /// Of them: of a topic that is not joined.
        pub messages_unknown_topic: u64,
        /// Of them: against their topic's signing policy.
        pub messages_breach: u64,
        /// Of them: of a profile that is incompatible with ours.
        pub messages_incompatible: u64,
        /// Of them: under our own name.
        pub messages_own: u64,
        /// Messages handed to the family.
        pub delivered: u64,
        /// Reports about messages that are not being judged: the family's bug.
        pub reports_unknown: u64,
        /// Frames queued to hand messages on.
        pub forwarded: u64,
        /// Members that a message was not handed on to because they had declined it.
        pub forwards_declined: u64,
        /// Own messages sent to somebody.
        pub published: u64,
        /// GRAFTs that came in, and that we sent.
        pub grafts_in: u64,
        /// See above.
        pub grafts_out: u64,
        /// GRAFTs that were refused.
        pub grafts_refused: u64,
        /// PRUNEs that came in, and that we sent.
        pub prunes_in: u64,
        /// See above.
        pub prunes_out: u64,
        /// Peers named in PRUNEs that came in.
        pub exchange_named: u64,
        /// Of them: handed on to be dialled.
        pub exchange_taken: u64,
        /// Ids asked of others.
        pub iwant_out: u64,
        /// Messages given to others that asked.
        pub iwant_given: u64,
        /// Ids asked of us that we did not have or did not give again.
        pub iwant_not_given: u64,
        /// Ids that others declined.
        pub idontwant_in: u64,
        /// Members that we declined a message from.
        pub idontwant_out: u64,
        /// Promises to send what was named that were broken.
        pub promises_broken: u64,
        /// Streams of ours that ended.
        pub streams_ended: u64,
        /// Connections given up because streams on them kept ending.
        pub streams_given_up: u64,
    }
}

/// Adds to a counter.
pub(super) fn bump(counter: &mut u64, by: usize) {
    *counter = counter.saturating_add(by as u64);
}
