//! Stock gossipsub, configured from the core's values. What it has no knob for stands in
//! `docs/interop-deviations.md`.

use libp2p::gossipsub::{
    Behaviour, Config, ConfigBuilder, Message, MessageAuthenticity, MessageId, ValidationMode,
};
use libp2p::identity::Keypair;
use peerage_core::gossipsub::config::Config as Values;

/// The router, signing with `key`.
///
/// # Errors
/// When stock gossipsub refuses the values.
pub fn behaviour(key: &Keypair, values: &Values) -> Result<Behaviour, String> {
    let config = config(values)?;
    Behaviour::new(MessageAuthenticity::Signed(key.clone()), config)
        .map_err(|error| format!("gossipsub: {error}"))
}

/// Stock gossipsub's form of the core's values.
///
/// # Errors
/// When stock gossipsub refuses them.
pub fn config(values: &Values) -> Result<Config, String> {
    values.validate().map_err(|error| format!("{}: {}", error.key, error.problem))?;
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let mut builder = ConfigBuilder::default();
    builder
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .history_length(size(values.history_length))
        .history_gossip(size(values.history_gossip))
        .mesh_n(size(values.mesh_n))
        .mesh_n_low(size(values.mesh_n_low))
        .mesh_n_high(size(values.mesh_n_high))
        .mesh_outbound_min(size(values.mesh_outbound_min))
        .retain_scores(size(values.retain_scores))
        .gossip_lazy(size(values.gossip_lazy))
        .gossip_factor(f64::from(values.gossip_factor_milli) / 1000.0)
        .heartbeat_interval(values.heartbeat_interval)
        .heartbeat_initial_delay(values.heartbeat_initial_delay)
        .fanout_ttl(values.fanout_ttl)
        .duplicate_cache_time(values.seen_ttl)
        .flood_publish(values.flood_publish)
        .prune_backoff(values.prune_backoff)
        .unsubscribe_backoff(values.unsubscribe_backoff)
        .graft_flood_threshold(values.graft_flood_threshold)
        .max_control_messages_sent(size(values.ihave_ids_max))
        .max_ihave_messages_heartbeat(size(values.ihave_messages_max))
        .iwant_followup_time(values.iwant_followup)
        .gossip_retransimission(values.retransmissions_max)
        .idontwant_message_size_threshold(size(values.idontwant_bytes_min))
        .idontwant_on_publish(false)
        .opportunistic_graft_ticks(values.opportunistic_graft_ticks.into())
        .opportunistic_graft_peers(size(values.opportunistic_graft_peers))
        .max_transmit_size(size(values.rpc_bytes_max.saturating_add(values.rpc_read_slack_bytes)))
        .max_publish_messages(size(values.rpc_messages_max))
        .max_control_message_size(size(values.control_bytes_max))
        .connection_handler_queue_len(size(values.queue_rpcs_max))
        .publish_queue_duration(values.publish_age_max)
        .forward_queue_duration(values.forward_age_max);
    if values.peer_exchange {
        builder.do_px();
    }
    if values.floodsub {
        builder.support_floodsub();
    }
    builder.build().map_err(|error| format!("gossipsub: {error}"))
}

/// Author's id followed by the sequence number, both binary (libp2p profile, section 3). Strict validation has seen to
/// it that both are there.
fn message_id(message: &Message) -> MessageId {
    let mut id = message.source.map(|source| source.to_bytes()).unwrap_or_default();
    id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_be_bytes());
    MessageId::new(&id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p::gossipsub::TopicHash;

    use super::*;

    fn built() -> Config {
        config(&Values::default()).unwrap()
    }

    #[test]
    fn every_size_of_the_profile_stands_in_the_built_configuration() {
        let config = built();
        assert_eq!((config.mesh_n(), config.mesh_n_low(), config.mesh_n_high()), (6, 5, 12));
        assert_eq!((config.mesh_outbound_min(), config.retain_scores(), config.gossip_lazy()), (2, 4, 6));
        assert!((config.gossip_factor() - 0.25).abs() < f64::EPSILON);
        assert_eq!((config.history_length(), config.history_gossip()), (5, 3));
        assert_eq!(config.max_transmit_size(), 1_048_576 + 65_536);
        assert_eq!(config.max_publish_messages(), 5000);
        assert_eq!(config.max_control_message_size(), 262_144);
        assert_eq!(config.max_control_messages_sent(), 5000);
        assert_eq!(config.max_ihave_messages_heartbeat(), 10);
        assert_eq!(config.gossip_retransimission(), 3);
        assert_eq!(config.idontwant_message_size_threshold(), 1024);
        assert_eq!((config.opportunistic_graft_ticks(), config.opportunistic_graft_peers()), (60, 2));
        assert_eq!(config.connection_handler_queue_len(), 5000);
        assert_eq!(config.prune_peers(), 0);
    }

    #[test]
    fn every_time_of_the_profile_stands_in_the_built_configuration() {
        let config = built();
        assert_eq!(config.heartbeat_interval(), Duration::from_secs(1));
        assert_eq!(config.heartbeat_initial_delay(), Duration::from_millis(100));
        assert_eq!(config.fanout_ttl(), Duration::from_secs(60));
        assert_eq!(config.duplicate_cache_time(), Duration::from_secs(120));
        assert_eq!(config.prune_backoff(), Duration::from_secs(60));
        assert_eq!(config.unsubscribe_backoff(), Duration::from_secs(10));
        assert_eq!(config.graft_flood_threshold(), Duration::from_secs(10));
        assert_eq!(config.iwant_followup_time(), Duration::from_secs(3));
        assert_eq!(config.publish_queue_duration(), Duration::from_secs(5));
        assert_eq!(config.forward_queue_duration(), Duration::from_secs(1));
    }

    #[test]
    fn every_switch_of_the_profile_stands_in_the_built_configuration() {
        let config = built();
        assert!(matches!(config.validation_mode(), ValidationMode::Strict));
        assert!(config.validate_messages(), "nothing is forwarded before the core's verdict");
        assert!(!config.flood_publish());
        assert!(!config.do_px());
        assert!(!config.idontwant_on_publish());
        assert!(!config.allow_self_origin());
        assert!(config.support_floodsub());
    }

    #[test]
    fn t008a_the_message_id_is_the_author_followed_by_the_sequence_number() {
        let author = Keypair::generate_ed25519().public().to_peer_id();
        let message = Message {
            source: Some(author),
            data: Vec::new(),
            sequence_number: Some(0x0102_0304_0506_0708),
            topic: TopicHash::from_raw("t"),
        };
        let mut expected = author.to_bytes();
        expected.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(expected.len(), 46);
        assert_eq!(built().message_id(&message).0, expected);
    }

    #[test]
    fn values_out_of_order_are_refused() {
        let values = Values { mesh_n_low: 13, ..Values::default() };
        assert!(config(&values).is_err());
    }
}
