//! The gossipsub values, once.

use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::mesh::Thresholds;
use super::policy::Policy;
use super::{Topic, score};
use crate::codec::codec_struct;
use crate::error::ConfigError;

/// Gossipsub as the Teranode family runs it (libp2p profile, section 3).
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Wanted mesh size, D.
    pub mesh_n: u32,
    /// The mesh is filled up below this, D_lo.
    pub mesh_n_low: u32,
    /// The mesh is pruned above this, D_hi.
    pub mesh_n_high: u32,
    /// Outbound connections kept in the mesh, D_out.
    pub mesh_outbound_min: u32,
    /// Best-scored peers kept when pruning, D_score.
    pub retain_scores: u32,
    /// Peers that get gossip, at least, D_lazy.
    pub gossip_lazy: u32,
    /// Share of peers that get gossip, in thousandths.
    pub gossip_factor_milli: u32,
    /// Between heartbeats.
    pub heartbeat_interval: Duration,
    /// Before the first heartbeat.
    pub heartbeat_initial_delay: Duration,
    /// How long a topic that is published to but not joined keeps its peers.
    pub fanout_ttl: Duration,
    /// Heartbeats for which messages are kept.
    pub history_length: u32,
    /// Heartbeats whose messages are gossiped about.
    pub history_gossip: u32,
    /// How long an id counts as seen, from its first sight.
    pub seen_ttl: Duration,
    /// Whether own messages go to every subscriber instead of the mesh.
    pub flood_publish: bool,
    /// How long a pruned peer may not be grafted.
    pub prune_backoff: Duration,
    /// The same after leaving a topic.
    pub unsubscribe_backoff: Duration,
    /// A GRAFT this soon after a PRUNE is a flood.
    pub graft_flood_threshold: Duration,
    /// Whether PRUNE carries other peers.
    pub peer_exchange: bool,
    /// Whether the peers of a received PRUNE are dialled, if they come with signed records.
    pub take_exchange: bool,
    /// Ids taken from the IHAVEs of one peer in one heartbeat.
    pub ihave_ids_max: u32,
    /// IHAVE messages taken from one peer in one heartbeat.
    pub ihave_messages_max: u32,
    /// How long a peer has to answer an IWANT.
    pub iwant_followup: Duration,
    /// How often one message is sent to one peer on IWANT.
    pub retransmissions_max: u32,
    /// Payloads of at least this many bytes cause an IDONTWANT.
    pub idontwant_bytes_min: u32,
    /// Heartbeats between opportunistic grafts.
    pub opportunistic_graft_ticks: u32,
    /// Peers grafted then.
    pub opportunistic_graft_peers: u32,
    /// Longest RPC sent, in bytes.
    pub rpc_bytes_max: u32,
    /// Messages taken out of one RPC.
    pub rpc_messages_max: u32,
    /// Bytes of control messages taken out of one RPC.
    pub control_bytes_max: u32,
    /// Bytes of membership and own messages that wait for one peer.
    pub queue_high_bytes_max: u32,
    /// Bytes of forwarded messages that wait for one peer.
    pub queue_normal_bytes_max: u32,
    /// Bytes of gossip, and of what is given for asking, that wait for one peer.
    pub queue_bulk_bytes_max: u32,
    /// Bytes that wait for all peers together.
    pub queues_bytes_max: u64,
    /// How long an own message may wait in a queue.
    pub publish_age_max: Duration,
    /// How long a forwarded message may wait in a queue.
    pub forward_age_max: Duration,
    /// Topics that are not signed and named as usual.
    pub policies: Vec<(Topic, Policy)>,
    /// Peers that are always sent to, and never in a mesh. Whoever names them sees to their being dialled.
    pub direct_peers: Vec<PeerId>,
    /// How peers are scored, if they are.
    pub scoring: Option<Scoring>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mesh_n: 6,
            mesh_n_low: 5,
            mesh_n_high: 12,
            mesh_outbound_min: 2,
            retain_scores: 4,
            gossip_lazy: 6,
            gossip_factor_milli: 250,
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_initial_delay: Duration::from_millis(100),
            fanout_ttl: Duration::from_secs(60),
            history_length: 5,
            history_gossip: 3,
            seen_ttl: Duration::from_secs(120),
            flood_publish: false,
            prune_backoff: Duration::from_secs(60),
            unsubscribe_backoff: Duration::from_secs(10),
            graft_flood_threshold: Duration::from_secs(10),
            peer_exchange: false,
            take_exchange: false,
            ihave_ids_max: 5000,
            ihave_messages_max: 10,
            iwant_followup: Duration::from_secs(3),
            retransmissions_max: 3,
            idontwant_bytes_min: 1024,
            opportunistic_graft_ticks: 60,
            opportunistic_graft_peers: 2,
            rpc_bytes_max: 1 << 20,
            rpc_messages_max: 5000,
            control_bytes_max: 1 << 19,
            queue_high_bytes_max: 4 << 20,
            queue_normal_bytes_max: 4 << 20,
            queue_bulk_bytes_max: 2 << 20,
            queues_bytes_max: 256 << 20,
            publish_age_max: Duration::from_secs(5),
            forward_age_max: Duration::from_secs(1),
            policies: Vec::new(),
            direct_peers: Vec::new(),
            scoring: None,
        }
    }
}

impl Config {
    /// Largest payload that we publish: an RPC less what surrounds the payload (author, sequence number, topic,
    /// signature, lengths).
    pub fn payload_bytes_max(&self) -> u32 {
        self.rpc_bytes_max.saturating_sub(4096)
    }

    /// Proves the relations between the values.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ordered = self.mesh_outbound_min <= self.mesh_n_low
            && self.mesh_n_low <= self.mesh_n
            && self.mesh_n <= self.mesh_n_high;
        if !ordered {
            let value = alloc::format!(
                "{} {} {} {}",
                self.mesh_outbound_min,
                self.mesh_n_low,
                self.mesh_n,
                self.mesh_n_high
            );
            return Err(ConfigError::new(
                "gossipsub mesh",
                value,
                "the mesh sizes are out of order",
                "use outbound minimum <= low <= wanted <= high",
            ));
        }
        if self.history_gossip > self.history_length {
            return Err(ConfigError::new(
                "gossipsub history",
                alloc::format!("{} > {}", self.history_gossip, self.history_length),
                "more heartbeats are gossiped about than kept",
                "keep at least as many as are gossiped about",
            ));
        }
        self.scoring.as_ref().map_or(Ok(()), Scoring::validate)
    }
}

/// Scores, and what follows from them. A peer below a threshold is: not gossiped with, not published to, not heard at all.
#[derive(Clone, PartialEq, Debug)]
pub struct Scoring {
    /// What is scored.
    pub params: score::Params,
    /// Below: no gossip to it nor from it. At most 0.
    pub gossip_threshold: f64,
    /// Below: own messages do not go to it. At most `gossip_threshold`.
    pub publish_threshold: f64,
    /// Below: nothing of it is heard. At most `publish_threshold`.
    pub graylist_threshold: f64,
    /// Below: peers that it names in a PRUNE are not dialled. At least 0.
    pub exchange_threshold: f64,
    /// Median of a mesh below which better peers are grafted. At least 0.
    pub opportunistic_threshold: f64,
}

impl Scoring {
    /// What the mesh needs of it.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            gossip: self.gossip_threshold,
            publish: self.publish_threshold,
            opportunistic: self.opportunistic_threshold,
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.params.validate()?;
        let (gossip, publish, graylist) =
            (self.gossip_threshold, self.publish_threshold, self.graylist_threshold);
        let is_ordered = graylist <= publish && publish <= gossip && gossip <= 0.0;
        let is_positive = |value| (0.0..=score::VALUE_MAX).contains(&value);
        if is_ordered
            && is_positive(self.exchange_threshold)
            && graylist >= -score::VALUE_MAX
            && is_positive(self.opportunistic_threshold)
        {
            return Ok(());
        }
        Err(ConfigError::new(
            "gossipsub score thresholds",
            alloc::format!(
                "{graylist} {publish} {gossip} {} {}",
                self.exchange_threshold,
                self.opportunistic_threshold
            ),
            "the thresholds are out of order",
            "use -1e9 <= graylist <= publish <= gossip <= 0 <= exchange, opportunistic <= 1e9",
        ))
    }
}

codec_struct!(Scoring {
    params,
    gossip_threshold,
    publish_threshold,
    graylist_threshold,
    exchange_threshold,
    opportunistic_threshold,
});
codec_struct!(Config {
    mesh_n,
    mesh_n_low,
    mesh_n_high,
    mesh_outbound_min,
    retain_scores,
    gossip_lazy,
    gossip_factor_milli,
    heartbeat_interval,
    heartbeat_initial_delay,
    fanout_ttl,
    history_length,
    history_gossip,
    seen_ttl,
    flood_publish,
    prune_backoff,
    unsubscribe_backoff,
    graft_flood_threshold,
    peer_exchange,
    take_exchange,
    ihave_ids_max,
    ihave_messages_max,
    iwant_followup,
    retransmissions_max,
    idontwant_bytes_min,
    opportunistic_graft_ticks,
    opportunistic_graft_peers,
    rpc_bytes_max,
    rpc_messages_max,
    control_bytes_max,
    queue_high_bytes_max,
    queue_normal_bytes_max,
    queue_bulk_bytes_max,
    queues_bytes_max,
    publish_age_max,
    forward_age_max,
    policies,
    direct_peers,
    scoring,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_an_inverted_mesh_is_not() {
        assert_eq!(Config::default().validate(), Ok(()));
        let error = Config { mesh_n_low: 7, ..Config::default() }.validate().unwrap_err();
        assert_eq!(error.key, "gossipsub mesh");
    }

    #[test]
    fn thresholds_out_of_order_and_those_that_are_no_number_are_refused() {
        let scoring = Scoring {
            params: score::Params::default(),
            gossip_threshold: -10.0,
            publish_threshold: -50.0,
            graylist_threshold: -80.0,
            exchange_threshold: 10.0,
            opportunistic_threshold: 5.0,
        };
        let validated = |scoring: Scoring| Config { scoring: Some(scoring), ..Config::default() }.validate();
        assert_eq!(validated(scoring.clone()), Ok(()));
        assert!(validated(Scoring { gossip_threshold: -60.0, ..scoring.clone() }).is_err());
        assert!(validated(Scoring { graylist_threshold: f64::NAN, ..scoring.clone() }).is_err());
        assert!(validated(Scoring { opportunistic_threshold: f64::NAN, ..scoring }).is_err());
    }
}
