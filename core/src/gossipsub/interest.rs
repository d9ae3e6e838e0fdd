//! What each neighbour subscribed to, and whether it is in a mesh with us.

use alloc::collections::{BTreeMap, BTreeSet};

use peerage_proto::peer_id::PeerId;

use super::Topic;
use crate::state::state;

state! {
    #[derive(Clone, Debug, Default)]
    struct Interest {
        topics: BTreeSet<Topic>,
        in_mesh: bool,
    }
}

state! {
    /// Interests of the connected neighbours; gone with their last connection.
    #[derive(Clone, Debug, Default)]
    pub struct Interests {
        peers: BTreeMap<PeerId, Interest>,
    }
}

impl Interests {
    /// A neighbour subscribed to a topic of ours. Topics beyond `topics_max` are not remembered. `true` if it is its
    /// first.
    pub fn subscribe(&mut self, peer: PeerId, topic: Topic, topics_max: u32) -> bool {
        let interest = self.peers.entry(peer).or_default();
        let is_first = interest.topics.is_empty();
        interest.topics.len() < topics_max as usize && interest.topics.insert(topic) && is_first
    }

    /// A neighbour unsubscribed.
    pub fn unsubscribe(&mut self, peer: &PeerId, topic: &Topic) {
        if let Some(interest) = self.peers.get_mut(peer) {
            interest.topics.remove(topic);
        }
    }

    /// A neighbour entered its first mesh with us or left the last one.
    pub fn set_mesh(&mut self, peer: PeerId, member: bool) {
        self.peers.entry(peer).or_default().in_mesh = member;
    }

    /// A neighbour is gone.
    pub fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// Number of topics that `peer` shares with us.
    pub fn topic_count(&self, peer: &PeerId) -> u32 {
        let count = self.peers.get(peer).map_or(0, |interest| interest.topics.len());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether `peer` is in a mesh with us.
    pub fn in_mesh(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|interest| interest.in_mesh)
    }

    /// Neighbours that subscribed to at least one topic.
    pub fn subscribers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.iter().filter(|(_, interest)| !interest.topics.is_empty()).map(|(peer, _)| peer)
    }

    /// Number of neighbours with a state here.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}
