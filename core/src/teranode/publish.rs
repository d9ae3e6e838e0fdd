//! What may be published when (spec 14.3).

use super::TopicKind;
use super::chain::FsmState;
use super::config::{Compat, Config, ListenMode};

/// Whether a message on `kind` may go out. `state` is none while the machine's state is not known.
pub fn may_publish(config: &Config, state: Option<FsmState>, kind: TopicKind) -> bool {
    let by_mode = match config.listen_mode {
        ListenMode::Full => true,
        ListenMode::ListenOnly => kind == TopicKind::NodeStatus,
        ListenMode::Silent => false,
    };
    by_mode && by_state(config, state, kind)
}

fn by_state(config: &Config, state: Option<FsmState>, kind: TopicKind) -> bool {
    if kind == TopicKind::NodeStatus {
        return true;
    }
    match state {
        // The state could not be asked for: everything goes, as upstream.
        None | Some(FsmState::Running) => true,
        // The reference holds announcements back only while it is syncing.
        Some(FsmState::Idle) => config.compat == Compat::Strict,
        Some(FsmState::CatchingBlocks | FsmState::LegacySyncing) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_proto::network::Network;

    fn allowed(config: &Config, state: Option<FsmState>) -> [bool; 4] {
        TopicKind::ALL.map(|kind| may_publish(config, state, kind))
    }

    const ALL: [bool; 4] = [true; 4];
    const NONE: [bool; 4] = [false; 4];
    const STATUS: [bool; 4] = [false, false, false, true];

    #[test]
    fn a_full_node_publishes_by_its_state() {
        let config = Config::new(Network::Regtest);
        assert_eq!(allowed(&config, None), ALL);
        assert_eq!(allowed(&config, Some(FsmState::Running)), ALL);
        assert_eq!(allowed(&config, Some(FsmState::Idle)), STATUS);
        assert_eq!(allowed(&config, Some(FsmState::CatchingBlocks)), STATUS);
        assert_eq!(allowed(&config, Some(FsmState::LegacySyncing)), STATUS);
    }

    #[test]
    fn t008_listen_only_publishes_node_status_and_nothing_else_default() {
        let config = Config { listen_mode: ListenMode::ListenOnly, ..Config::new(Network::Regtest) };
        assert_eq!(allowed(&config, Some(FsmState::Running)), STATUS);
        assert_eq!(allowed(&config, None), STATUS);
    }

    #[test]
    fn t008_listen_only_publishes_node_status_and_nothing_else_reference() {
        let config = Config { listen_mode: ListenMode::ListenOnly, ..Config::strict(Network::Regtest) };
        assert_eq!(allowed(&config, Some(FsmState::Idle)), STATUS);
    }

    #[test]
    fn a_silent_node_publishes_nothing() {
        let config = Config { listen_mode: ListenMode::Silent, ..Config::new(Network::Regtest) };
        assert_eq!(allowed(&config, Some(FsmState::Running)), NONE);
    }
}
