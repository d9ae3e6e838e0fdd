//! What the router is told at start, in the forms in which its parts want it.

use alloc::collections::{BTreeMap, BTreeSet};

use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::RpcLimits;

use crate::conn::outbox;
use crate::gossipsub::config::{Config, Scoring};
use crate::gossipsub::lazy;
use crate::gossipsub::mesh::{self, Thresholds};
use crate::gossipsub::policy::Policy;
use crate::gossipsub::topic::TopicName;
use crate::limits::Limits;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Our own id.
    pub own: PeerId,
    /// The values.
    pub config: Config,
    /// What the meshes are ruled by.
    pub mesh: mesh::Rules,
    /// What gossip is ruled by.
    pub lazy: lazy::Rules,
    /// What is taken of one RPC.
    pub rpc: RpcLimits,
    /// Bounds of what waits for each peer.
    pub outbox: outbox::Bounds,
    /// Peers that are always sent to.
    pub direct: BTreeSet<PeerId>,
    policies: BTreeMap<TopicName, Policy>,
}

impl Setup {
    /// What follows from the node's configuration.
    pub fn new(own: PeerId, config: &Config, limits: &Limits) -> Self {
        let thresholds = config.scoring.as_ref().map(Scoring::thresholds).unwrap_or_default();
        let Thresholds { gossip, .. } = thresholds;
        let policies = config.policies.iter().map(|(topic, policy)| (topic.as_str().into(), *policy));
        Self {
            own,
            mesh: mesh::Rules::new(config, thresholds),
            lazy: lazy::Rules::new(config, gossip),
            rpc: RpcLimits {
                messages_max: config.rpc_messages_max as usize,
                control_bytes_max: config.control_bytes_max as usize,
                ..RpcLimits::default()
            },
            outbox: outbox::Bounds {
                window_bytes: limits.window_bytes,
                class_bytes_max: [
                    config.queue_high_bytes_max.into(),
                    config.queue_normal_bytes_max.into(),
                    config.queue_bulk_bytes_max.into(),
                ],
                age_max: [config.publish_age_max, config.forward_age_max, config.iwant_followup],
                bytes_max: config.queues_bytes_max,
                peers_max: limits.connections_max,
            },
            direct: config.direct_peers.iter().copied().collect(),
            policies: policies.collect(),
            config: config.clone(),
        }
    }

    /// How messages of `topic` are signed and named.
    pub fn policy(&self, topic: &TopicName) -> Policy {
        self.policies.get(topic).copied().unwrap_or_default()
    }

    /// Scores and thresholds, if peers are scored.
    pub fn scoring(&self) -> Option<&Scoring> {
        self.config.scoring.as_ref()
    }
}
