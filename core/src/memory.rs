//! The memory contract (`memory_max`): what may grow, how much of the contract each part may take, and in which order parts
//! give way.
//!
//! [`bound`] is the one place where limits follow from the contract. Of its sixteen parts six are the core's, for what
//! [`Part`] lists; two are for what came in and the core has not taken yet, one is for the feed's clients, and seven are the
//! allocator's own: under attack it was seen to hold six tenths more than it had given out. The limits of single parts add up
//! to more than six sixteenths, so that memory is used where there is a use for it; what keeps the sum is the [`Ledger`],
//! and where it is over, [`Shed::ORDER`].
//!
//! A part is counted by its entries at a price, and by the bytes of messages. Prices are what an entry was seen to cost,
//! rounded up, with the room that growing tables waste.

use crate::codec::{Encode, Output};
use crate::conn;
use crate::error::ConfigError;
use crate::gossipsub;
use crate::limits::Limits;

/// The least contract, in bytes: of less, the two sixteenths for what came in would not hold two of the longest frames.
pub const LEAST: u64 = 16 << 20;

/// Price of a connection, of both shells: its tasks, buffers and tables, a window of frames in flight to the peer, and a
/// part of what came from it.
pub const CONNECTION_BYTES: u64 = 96 << 10;
/// Price of an unfinished handshake.
pub const HANDSHAKE_BYTES: u64 = 24 << 10;
/// Price of a seen id or a refused copy.
pub const SEEN_BYTES: u64 = 256;
/// Price of a message that is kept or checked, beside its bytes.
pub const MESSAGE_BYTES: u64 = 512;
/// Price of a frame that waits, beside its bytes.
pub const FRAME_BYTES: u64 = 64;
/// Price of a peer in the registry and the address book, with a ban score.
pub const PEER_BYTES: u64 = 3 << 10;
/// Price of an origin, or of a hash watched for repetition.
pub const HASH_BYTES: u64 = 512;
/// Price of a found address to dial.
pub const TARGET_BYTES: u64 = 1 << 10;
/// Price of an operation that is pending, with what it holds.
pub const OP_BYTES: u64 = 1 << 10;
/// Price of a client of the feed.
pub const SUBSCRIBER_BYTES: u64 = 16 << 10;

/// What memory is spent on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Messages kept for those that ask.
    Cache,
    /// Gossip about messages that waits to be sent, and what is given for asking.
    Bulk,
    /// Messages of others that wait to be sent.
    Forwards,
    /// Own messages and membership that wait to be sent.
    Own,
    /// Connections and handshakes.
    Connections,
    /// Ids of messages that were seen, and copies that were refused.
    Seen,
    /// Messages whose signature is being checked.
    Checks,
    /// What is known of peers, blocks and subtrees.
    Known,
    /// Operations that are pending.
    Operations,
}

impl Part {
    /// Number of parts.
    pub const COUNT: usize = 9;
    /// Every part.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Cache,
        Self::Bulk,
        Self::Forwards,
        Self::Own,
        Self::Connections,
        Self::Seen,
        Self::Checks,
        Self::Known,
        Self::Operations,
    ];

    /// Name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Bulk => "bulk",
            Self::Forwards => "forwards",
            Self::Own => "own",
            Self::Connections => "connections",
            Self::Seen => "seen",
            Self::Checks => "checks",
            Self::Known => "known",
            Self::Operations => "operations",
        }
    }

    /// Whether what it holds can be given up at once.
    const fn gives_way(self) -> bool {
        matches!(self, Self::Cache | Self::Bulk | Self::Forwards)
    }
}

/// Bytes by part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger([u64; Part::COUNT]);

impl Ledger {
    /// Books bytes on a part.
    pub fn add(&mut self, part: Part, bytes: u64) {
        let slot = &mut self.0[part as usize];
        *slot = slot.saturating_add(bytes);
    }

    /// Bytes of a part.
    pub const fn of(&self, part: Part) -> u64 {
        self.0[part as usize]
    }

    /// Bytes of all parts.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Bytes of the parts that cannot be given up at once.
    pub fn firm(&self) -> u64 {
        let firm = Part::ALL.into_iter().filter(|part| !part.gives_way());
        firm.fold(0, |sum, part| sum.saturating_add(self.of(part)))
    }
}

/// What is given up when there is too little memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Shed {
    /// Messages kept for those that ask, the oldest heartbeat first. They were handed on.
    Cache,
    /// Gossip that waits for peers, of the peer with most of it first.
    Bulk,
    /// Messages of others that wait for peers, in the same way.
    Forwards,
    /// Connections of newcomers: they are refused.
    Newcomers,
    /// Connections, the least valued first. Members of a mesh and peers that we keep are not closed.
    Connections,
}

impl Shed {
    /// Number of kinds.
    pub const COUNT: usize = 5;
    /// The order: nothing of one is given up while there is something of those before it.
    pub const ORDER: [Self; Self::COUNT] =
        [Self::Cache, Self::Bulk, Self::Forwards, Self::Newcomers, Self::Connections];

    /// Name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Bulk => "bulk",
            Self::Forwards => "forwards",
            Self::Newcomers => "newcomers",
            Self::Connections => "connections",
        }
    }
}

/// What was given up for lack of memory: how many, and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShedTable([[u64; 2]; Shed::COUNT]);

impl ShedTable {
    /// So many were given up.
    pub fn count(&mut self, what: Shed, count: u64, bytes: u64) {
        let [counts, sums] = &mut self.0[what as usize];
        (*counts, *sums) = (counts.saturating_add(count), sums.saturating_add(bytes));
    }

    /// How many were given up: messages, frames or connections.
    pub const fn of(&self, what: Shed) -> u64 {
        self.0[what as usize][0]
    }

    /// Bytes of them.
    pub const fn bytes(&self, what: Shed) -> u64 {
        self.0[what as usize][1]
    }
}

impl Encode for ShedTable {
    fn encode(&self, out: &mut impl Output) {
        self.0.iter().flatten().for_each(|count| count.encode(out));
    }
}

#[cfg(any(test, feature = "sim"))]
impl crate::state::Alter for ShedTable {
    fn leaves(&self, path: &str, out: &mut alloc::vec::Vec<alloc::string::String>) {
        (0..2 * Shed::COUNT).for_each(|n| out.push(alloc::format!("{path}[{n}]")));
    }
    fn alter(&mut self, nth: &mut usize) -> bool {
        self.0.iter_mut().flatten().any(|count| crate::state::leaf(nth, || *count ^= 1))
    }
}

/// Bytes of a contract for what came in and the core has not taken.
pub const fn incoming(memory_max: u64) -> u64 {
    memory_max / 8
}

/// Bytes of a contract from which on nothing more is read: the rest is the allocator's own.
pub const fn heap(memory_max: u64) -> u64 {
    memory_max / 16 * 9
}

/// Lowers every limit to what a contract of `memory_max` bytes allows. Limits that are lower already stay.
///
/// | of the contract | for |
/// |---|---|
/// | 6/16 | the core's parts together; of these at most: |
/// | … 4/16 | connections at [`CONNECTION_BYTES`]; a sixteenth of handshakes at [`HANDSHAKE_BYTES`] |
/// | … 4/16 | frames that wait for peers, 1/16 of each class for one peer |
/// | … 2/16 | messages kept for those that ask |
/// | … 2/16 | ids seen at [`SEEN_BYTES`]; 1/64 copies refused |
/// | … 2/16 | peers known at [`PEER_BYTES`]; 1/64 each: origins, watched hashes at [`HASH_BYTES`], targets, operations |
/// | … 1/16 | messages whose signature is being checked |
/// | 2/16 | what came in and the core has not taken ([`incoming`]) |
/// | 1/16 | the feed's clients at [`SUBSCRIBER_BYTES`] |
/// | 7/16 | the allocator's own ([`heap`]) |
///
/// # Errors
/// When it is below [`LEAST`].
pub fn bound(
    memory_max: u64,
    limits: &mut Limits,
    conn: &mut conn::Config,
    gossipsub: &mut gossipsub::config::Config,
) -> Result<(), ConfigError> {
    if memory_max < LEAST {
        return Err(ConfigError::new(
            "memory_max",
            alloc::format!("{memory_max}"),
            alloc::format!("too little: the least possible is {} MiB", LEAST >> 20),
            "raise it, or leave it out: then only the other limits hold",
        ));
    }
    let sixteenth = memory_max / 16;
    let sixty_fourth = sixteenth / 4;
    let lower = |limit: &mut u32, bytes: u64, price: u64| {
        *limit = (*limit).min(u32::try_from(bytes / price).unwrap_or(u32::MAX));
    };
    limits.memory_max = Some(6 * sixteenth);
    lower(&mut limits.connections_max, 4 * sixteenth, CONNECTION_BYTES);
    lower(&mut limits.peers_known_max, 2 * sixteenth, PEER_BYTES);
    lower(&mut limits.ban_scores_max, 2 * sixteenth, PEER_BYTES);
    lower(&mut limits.dial_targets_max, sixty_fourth, TARGET_BYTES);
    lower(&mut limits.origins_max, sixty_fourth, HASH_BYTES);
    lower(&mut limits.seen_hashes_max, sixty_fourth, HASH_BYTES);
    lower(&mut limits.subscribers_max, sixteenth, SUBSCRIBER_BYTES);
    lower(&mut limits.seen_ids_max, 2 * sixteenth, SEEN_BYTES);
    lower(&mut limits.refused_copies_max, sixty_fourth, SEEN_BYTES);
    lower(&mut limits.checks_max, sixteenth, 8 * MESSAGE_BYTES);
    lower(&mut limits.cached_messages_max, 2 * sixteenth, 2 * MESSAGE_BYTES);
    limits.checks_bytes_max = limits.checks_bytes_max.min(2 * sixteenth);
    limits.cached_bytes_max = limits.cached_bytes_max.min(2 * sixteenth);
    limits.window_bytes = limits.window_bytes.min(16 << 10);
    lower(&mut limits.produce_inflight_max, sixty_fourth, 4 * OP_BYTES);
    lower(&mut limits.publish_inflight_max, sixty_fourth, 4 * OP_BYTES);
    // Beside records and publications there is room for as many others.
    lower(&mut limits.ops_inflight_max, sixteenth, OP_BYTES);
    lower(&mut conn.pending_handshakes_max, sixteenth, HANDSHAKE_BYTES);
    conn.pending_per_address_max = conn.pending_per_address_max.min(conn.pending_handshakes_max);
    for class in [
        &mut gossipsub.queue_high_bytes_max,
        &mut gossipsub.queue_normal_bytes_max,
        &mut gossipsub.queue_bulk_bytes_max,
    ] {
        lower(class, sixteenth, 1);
    }
    gossipsub.queues_bytes_max = gossipsub.queues_bytes_max.min(4 * sixteenth);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(memory_max: u64) -> Result<(Limits, conn::Config, gossipsub::config::Config), ConfigError> {
        let (mut limits, mut conn) = (Limits::default(), conn::Config::default());
        let mut gossipsub = gossipsub::config::Config::default();
        bound(memory_max, &mut limits, &mut conn, &mut gossipsub)?;
        Ok((limits, conn, gossipsub))
    }

    #[test]
    fn too_small_a_contract_is_refused_and_the_least_is_told() {
        let error = bounded(LEAST - 1).unwrap_err();
        assert_eq!(error.key, "memory_max");
        assert_eq!(error.problem, "too little: the least possible is 16 MiB");
    }

    #[test]
    fn every_contract_gives_limits_that_fit_together() {
        for memory_max in [LEAST, LEAST + 1, 24 << 20, 100 << 20, 1 << 30, 64 << 30, u64::MAX] {
            let (limits, conn, gossipsub) = bounded(memory_max).unwrap();
            assert_eq!(limits.validate(), Ok(()), "{memory_max}");
            assert_eq!(conn.validate(), Ok(()), "{memory_max}");
            assert_eq!(gossipsub.validate(), Ok(()), "{memory_max}");
            assert!(limits.connections_max > conn.high_water, "{memory_max}: a mesh has room");
            assert!(u64::from(gossipsub.rpc_bytes_max) * 2 <= incoming(memory_max), "{memory_max}");
            assert!(u64::from(gossipsub.rpc_bytes_max) <= u64::from(gossipsub.queue_high_bytes_max));
            assert!(u64::from(limits.connections_max) * CONNECTION_BYTES <= memory_max / 16 * 4);
        }
    }

    #[test]
    fn a_large_contract_leaves_the_limits_as_they_are() {
        let (limits, conn, gossipsub) = bounded(64 << 30).unwrap();
        let defaults = Limits { memory_max: limits.memory_max, window_bytes: 16 << 10, ..Limits::default() };
        assert_eq!((limits, conn), (defaults, conn::Config::default()));
        assert_eq!(gossipsub, gossipsub::config::Config::default());
    }

    #[test]
    fn what_can_be_given_up_is_not_firm() {
        let mut ledger = Ledger::default();
        for (part, bytes) in Part::ALL.into_iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256]) {
            ledger.add(part, bytes);
        }
        assert_eq!((ledger.total(), ledger.firm()), (511, 511 - 7));
    }
}
