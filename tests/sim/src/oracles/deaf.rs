//! A choked mesh member is closed in time, so that a fresh connection can be heard; one that was heard lately and is not
//! choked is left alone.
//!
//! The world tells which connections choke; the node has to find out. It can when the choking bytes stand out from what
//! others delivered, nothing much follows them, and others are heard meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_core::conn::{self, ConnectionId, DisconnectReason};
use peerage_core::time::Instant;
use peerage_core::{Action, Input};
use peerage_proto::peer_id::PeerId;

use super::{Delivered, Oracle, Seen, ensure};

/// Bytes that stand out, with nothing else delivered.
const BYTES_MIN: u64 = 64 << 10;
/// Messages of others that tell a silent peer from a silent network.
const OTHERS_MIN: u64 = 8;
/// Silence after the bytes that is enough, the first time; each time in vain doubles it, so often at most.
const QUIET: Duration = Duration::from_secs(3);
const DOUBLINGS_MAX: u32 = 8;
/// Looks of the node at its peers that may pass then, besides one for each other peer: it closes one in each.
const LOOKS_MAX: usize = 3;
const LOOK: Duration = Duration::from_secs(1);
/// Bytes told this soon after any message may be a copy of it.
const TOLD_WITHIN: Duration = Duration::from_secs(6);
/// Whoever was heard within this time, and does not choke, must not be closed.
const LATELY: Duration = Duration::from_secs(60);

/// A choked connection of a mesh member.
#[derive(Clone, Copy, Debug)]
struct Choked {
    peer: PeerId,
    bytes: u64,
    since: Instant,
    others: u64,
    looks: usize,
    looked: Instant,
}

/// What one node was told.
#[derive(Clone, Debug, Default)]
struct Ear {
    /// Connections that choke, and those of them that it can know of.
    choking: BTreeSet<ConnectionId>,
    choked: BTreeMap<ConnectionId, Choked>,
    delivered_bytes: u64,
    /// When messages came lately, and their bytes.
    delivered: Vec<(Instant, u64)>,
    /// When each peer was heard last, and the bytes delivered until then.
    heard: BTreeMap<PeerId, (Instant, u64)>,
    /// When each sent many bytes.
    sent: BTreeMap<PeerId, Instant>,
    /// How often each was closed since it was heard.
    in_vain: BTreeMap<PeerId, u32>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Deaf {
    ears: BTreeMap<usize, Ear>,
    /// Everybody who was started; puppets never are, and may send what chokes nobody and looks like it.
    nodes: BTreeSet<PeerId>,
}

impl Oracle for Deaf {
    fn name(&self) -> &'static str {
        "deaf"
    }

    fn choked(&mut self, node: usize, id: ConnectionId) {
        self.ears.entry(node).or_default().choking.insert(id);
    }

    fn died(&mut self, node: usize) {
        self.ears.remove(&node);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if matches!(seen.input, Input::Start) {
            self.nodes.insert(seen.core.config().local_peer);
        }
        let ear = self.ears.entry(seen.node).or_default();
        ear.listen(seen);
        seen.actions.iter().try_for_each(|action| ear.closing(seen, action, &self.nodes))?;
        ear.look(seen)
    }
}

impl Ear {
    fn listen(&mut self, seen: &Seen<'_>) {
        let (now, table) = (seen.now.mono, seen.core.view().conns().table());
        for Delivered { propagation_source, heard, .. } in seen.delivered {
            let bytes = heard.data.len() as u64;
            self.delivered_bytes += bytes;
            self.delivered.retain(|(at, _)| now.saturating_since(*at) < TOLD_WITHIN);
            self.delivered.push((now, bytes));
            self.heard.insert(*propagation_source, (now, self.delivered_bytes));
            self.in_vain.remove(propagation_source);
            self.choked.retain(|_, choked| choked.peer != *propagation_source);
            self.choked.values_mut().for_each(|choked| choked.others += 1);
        }
        let interests = seen.core.view().interests();
        self.choked.retain(|_, choked| interests.in_mesh(&choked.peer));
        match seen.input {
            Input::Conn(conn::Event::Received { id, bytes }) => {
                let Some(peer) = table.get(*id).map(|connection| connection.peer) else { return };
                if !self.choking.contains(id) {
                    return;
                }
                self.sent.insert(peer, now);
                if interests.in_mesh(&peer) {
                    let lately =
                        self.delivered.iter().filter(|(at, _)| now.saturating_since(*at) < TOLD_WITHIN);
                    let messages: u64 = lately.map(|(_, bytes)| bytes).sum();
                    let bytes = bytes.saturating_sub(2 * messages)
                        + self.choked.get(id).map_or(0, |choked| choked.bytes);
                    let fresh = Choked { peer, bytes, since: now, others: 0, looks: 0, looked: now };
                    self.choked.insert(*id, fresh);
                }
            }
            Input::Conn(conn::Event::Closed { id, .. }) => {
                self.choking.remove(id);
                self.choked.remove(id);
            }
            Input::Start
            | Input::Timeout
            | Input::Conn(_)
            | Input::Gossipsub(_)
            | Input::Teranode(_)
            | Input::Op(..)
            | Input::Loaded(..)
            | Input::Health { .. }
            | Input::Stop => {}
        }
    }

    /// Who is closed as deaf is deaf.
    fn closing(&mut self, seen: &Seen<'_>, action: &Action, nodes: &BTreeSet<PeerId>) -> Result<(), String> {
        let Action::Conn(conn::Action::Close { id, reason: DisconnectReason::Deaf }) = action else {
            return Ok(());
        };
        let table = seen.core.view().conns().table();
        let Some(peer) = table.get(*id).map(|connection| connection.peer) else { return Ok(()) };
        *self.in_vain.entry(peer).or_default() += 1;
        let is_lately = |at: Instant| seen.now.mono.saturating_since(at) < LATELY;
        // Bytes outlive the connection that they came on: of a peer that choked lately, nobody can be sure.
        let was_heard = self.heard.get(&peer).is_some_and(|(at, _)| is_lately(*at))
            && !self.sent.get(&peer).is_some_and(|at| is_lately(*at));
        let chokes = table.of_peer(&peer).iter().any(|id| self.choking.contains(id));
        ensure(chokes || !was_heard || !nodes.contains(&peer), || {
            format!("{peer} was closed as deaf and is not")
        })
    }

    /// Who is deaf is closed as deaf.
    fn look(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if !matches!(seen.input, Input::Timeout) {
            return Ok(());
        }
        let now = seen.now.mono;
        let looks_max = LOOKS_MAX + seen.core.view().conns().table().peer_count();
        for (id, choked) in &mut self.choked {
            let before = self.heard.get(&choked.peer).map_or(0, |(_, before)| *before);
            let in_vain = self.in_vain.get(&choked.peer).map_or(0, |count| (*count).min(DOUBLINGS_MAX));
            let stands_out = choked.bytes >= BYTES_MIN + 2 * (self.delivered_bytes - before);
            let is_quiet = now.saturating_since(choked.since) >= QUIET * (1 << in_vain);
            if !stands_out || !is_quiet || choked.others < OTHERS_MIN {
                (choked.looks, choked.looked) = (0, now);
            } else if now.saturating_since(choked.looked) >= LOOK {
                (choked.looks, choked.looked) = (choked.looks + 1, now);
            }
            ensure(choked.looks <= looks_max, || {
                format!("{} chokes on {id:?} and is not closed after {} looks", choked.peer, choked.looks)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, after_delivered, config, connected, delivered, peer};
    use super::*;
    use peerage_core::Core as _;
    use peerage_core::time::Now;

    const ID: ConnectionId = ConnectionId(1);

    /// What a node with one mesh member is told.
    enum Told {
        Input(Input),
        Message(PeerId),
    }

    fn told(inputs: &[(u64, Told)]) -> (Deaf, Result<(), String>) {
        let (mut oracle, mut node) = (Deaf::default(), connected(config()));
        oracle.nodes.insert(peer(9));
        oracle.choked(0, ID);
        let mut said = Ok(());
        for (at, told) in inputs {
            let now = Now::at_secs(*at);
            let (input, messages) = match told {
                Told::Input(input) => (input.clone(), Vec::new()),
                Told::Message(propagation_source) => {
                    let propagation_source = *propagation_source;
                    let (id, bytes) = (ConnectionId(77), 0);
                    let input = Input::Conn(conn::Event::Received { id, bytes });
                    (input, vec![Delivered { propagation_source, ..delivered(peer(3), b"x") }])
                }
            };
            // Its own watchdog is not asked: the oracle is to see that nobody is closed.
            if !matches!(input, Input::Timeout) {
                node.handle(now, input.clone(), &mut Vec::new());
            }
            said = said.and_then(|()| after_delivered(&mut oracle, &node, now, &input, &[], &messages));
        }
        (oracle, said)
    }

    fn bytes() -> Told {
        Told::Input(Input::Conn(conn::Event::Received { id: ID, bytes: 300 << 10 }))
    }

    /// A message of somebody else.
    fn other() -> Told {
        Told::Message(peer(8))
    }

    fn timeouts(from: u64) -> impl Iterator<Item = (u64, Told)> {
        (from..from + 8).map(|at| (at, Told::Input(Input::Timeout)))
    }

    #[test]
    fn a_choked_member_that_is_not_closed_is_seen() {
        let mut inputs = vec![(2, bytes())];
        inputs.extend((0..8).map(|_| (3, other())));
        inputs.extend(timeouts(5));
        assert!(told(&inputs).1.is_err_and(|problem| problem.contains("is not closed")));
    }

    #[test]
    fn no_node_need_know_of_a_silent_peer_while_others_are_silent_or_it_is_heard() {
        let mut inputs = vec![(2, bytes())];
        inputs.extend((0..7).map(|_| (3, other())));
        inputs.extend(timeouts(5));
        assert_eq!(told(&inputs).1, Ok(()), "seven messages are few");
        inputs.insert(1, (2, Told::Message(peer(9))));
        inputs.insert(1, (2, other()));
        assert_eq!(told(&inputs).1, Ok(()), "it was heard");
    }

    #[test]
    fn a_node_that_was_heard_lately_and_is_closed_as_deaf_is_seen() {
        let node = connected(config());
        let close = Action::Conn(conn::Action::Close { id: ID, reason: DisconnectReason::Deaf });
        let close = |oracle: &mut Deaf, at| {
            after(oracle, &node, Now::at_secs(at), &Input::Timeout, std::slice::from_ref(&close))
        };
        let (mut choked, _) = told(&[(2, Told::Message(peer(9)))]);
        let mut healthy = Deaf::default();
        healthy.nodes.insert(peer(9));
        let mut puppets = Deaf::default();
        for oracle in [&mut healthy, &mut puppets] {
            let (messages, now) = ([delivered(peer(3), b"x")], Now::at_secs(2));
            assert_eq!(after_delivered(oracle, &node, now, &Input::Timeout, &[], &messages), Ok(()));
        }
        assert_eq!(close(&mut choked, 5), Ok(()), "it chokes");
        assert_eq!(close(&mut healthy.clone(), 62), Ok(()), "it was silent for a minute");
        assert_eq!(close(&mut puppets, 61), Ok(()), "it is a puppet");
        assert!(close(&mut healthy, 61).is_err());
    }
}
