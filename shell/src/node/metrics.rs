//! `/metrics`: the counters of the core and of the shell as Prometheus text. No label holds an id, an address, a hash or
//! free text.

mod memory;
mod router;

use std::fmt::{Display, Write as _};

use peerage_core::conn::DisconnectReason;
use peerage_core::explain::counters::{BlockedAt, Counters};
use peerage_core::input::Neighbour;
use peerage_core::node::View;
use peerage_core::teranode::TopicKind;
use peerage_core::teranode::chain::FsmState;
use peerage_core::teranode::verdict::Cause;

use super::report::disconnect_reason;
use crate::http::hub::KINDS;

/// Counters that the core does not have.
#[derive(Clone, Debug, Default)]
pub struct ShellCounters {
    /// Frames of pubsub that the core had not taken when their connection closed.
    pub frames_unheard: u64,
    /// Bytes of pubsub between their streams and the core.
    pub frames_bytes_in_transit: usize,
    /// Connections closed for more bytes or messages than their budgets.
    pub floods: u64,
    /// Clients of the feed refused before the core heard of them.
    pub feed_refused: u64,
    /// Clients of the feed.
    pub feed_clients: u64,
    /// Frames of the feed not queued because a client's queue was full, in the order of `hub::KINDS`.
    pub feed_dropped: [u64; KINDS.len()],
    /// Lines of the report that nobody read.
    pub report_lost: u64,
    /// Provider records of the DHT that found no room.
    pub providers_refused: u64,
    /// Connections closed because the heap was over its contract, and bytes that they were thought to hold.
    pub relieved: (u64, u64),
    /// The memory contract, in bytes.
    pub memory_max: Option<u64>,
    /// Each listener: its name, connections that gave way to newer ones, failures to accept.
    pub listeners: Vec<(&'static str, u64, u64)>,
}

const REASONS: [DisconnectReason; 15] = [
    DisconnectReason::Trimmed,
    DisconnectReason::Deaf,
    DisconnectReason::PrivateAddress,
    DisconnectReason::AddressLimit,
    DisconnectReason::SubnetLimit,
    DisconnectReason::PeerLimit,
    DisconnectReason::HandshakeLimit,
    DisconnectReason::ConnectionLimit,
    DisconnectReason::Banned,
    DisconnectReason::Flood,
    DisconnectReason::Ourselves,
    DisconnectReason::Shutdown,
    DisconnectReason::OtherNetwork,
    DisconnectReason::StreamLost,
    DisconnectReason::Memory,
];

/// The whole page.
pub fn page(view: &View<'_>, shell: &ShellCounters) -> String {
    let mut page = Page(String::with_capacity(8192));
    gossip(&mut page, view);
    router::router(&mut page, view);
    memory::memory(&mut page, view, shell);
    connections(&mut page, view);
    dials(&mut page, view.counters());
    services(&mut page, view);
    page.gauge("peerage_feed_clients", "Clients of the feed", shell.feed_clients);
    let name = "teranode_p2p_websocket_notifications_dropped_total";
    page.head(name, "counter", "Frames not shown to clients whose queue was full, by kind");
    for (kind, count) in KINDS.iter().zip(shell.feed_dropped) {
        page.labelled(name, &[("type", kind)], count);
    }
    let refused = view.counters().feed_refused.saturating_add(shell.feed_refused);
    page.counter("peerage_feed_refused_total", "Clients of the feed refused for lack of room", refused);
    page.counter(
        "peerage_gossip_unheard_total",
        "Frames that waited for the core when their connection closed",
        shell.frames_unheard,
    );
    page.gauge(
        "peerage_pubsub_in_transit_bytes",
        "Bytes that came and that the core has not taken",
        shell.frames_bytes_in_transit,
    );
    page.counter("peerage_floods_total", "Connections closed for more than their budgets", shell.floods);
    page.counter(
        "peerage_dht_providers_refused_total",
        "Provider records that found no room",
        shell.providers_refused,
    );
    let displaced = "peerage_listener_displaced_total";
    page.head(displaced, "counter", "Connections of a listener that gave way to newer ones");
    for (listener, count, _) in &shell.listeners {
        page.labelled(displaced, &[("listener", listener)], *count);
    }
    let failed = "peerage_listener_accept_failed_total";
    page.head(failed, "counter", "Connections that could not be accepted");
    for (listener, _, count) in &shell.listeners {
        page.labelled(failed, &[("listener", listener)], *count);
    }
    page.counter("peerage_report_lost_total", "Lines of the report that nobody read", shell.report_lost);
    page.0
}

fn gossip(page: &mut Page, view: &View<'_>) {
    let counters = view.counters();
    page.counter("peerage_gossip_delivered_total", "Messages that the router delivered", counters.delivered);
    page.counter("peerage_gossip_delivered_bytes_total", "Bytes of them", counters.delivered_bytes);
    page.head("peerage_gossip_ended_total", "counter", "Messages by topic and outcome");
    for kind in TopicKind::ALL {
        for cause in Cause::ALL {
            let count = counters.ended(kind, cause);
            if count > 0 || cause == Cause::Handled {
                page.labelled(
                    "peerage_gossip_ended_total",
                    &[("topic", kind.name()), ("cause", cause.name())],
                    count,
                );
            }
        }
    }
    for cause in Cause::ALL {
        let count = counters.ended_legacy(cause);
        if count > 0 {
            let labels = [("topic", "legacy"), ("cause", cause.name())];
            page.labelled("peerage_gossip_ended_total", &labels, count);
        }
    }
    page.counter(
        "peerage_gossip_unknown_topic_total",
        "Messages on topics that nobody here handles",
        counters.gossip_unknown_topic,
    );
    page.counter("peerage_publications_total", "Publications begun", counters.published);
    page.counter("peerage_publications_sent_total", "Of them: sent to a neighbour", counters.publish_sent);
    page.counter(
        "peerage_publications_without_peers_total",
        "Of them: nobody to send to",
        counters.publish_no_peers,
    );
    page.counter("peerage_publications_failed_total", "Of them: failed", counters.publish_failed);
    publish_blocked(page, counters);
    page.counter(
        "peerage_publications_without_room_total",
        "Publications not begun for lack of room, or because the message is too long",
        counters.publish_no_room,
    );
    let suppressed = counters.rejected_tx_suppressed;
    page.counter(
        "teranode_p2p_rejected_tx_publish_suppressed_total",
        "Rejected transactions not announced",
        suppressed,
    );
}

/// The reference's metric: what never happened is left out, but for one line that shows that it is counted.
fn publish_blocked(page: &mut Page, counters: &Counters) {
    let name = "teranode_p2p_publish_blocked_total";
    page.head(name, "counter", "Announcements kept back by the publish gate");
    let states = FsmState::ALL.map(Some).into_iter().chain([None]);
    for (kind, state) in
        TopicKind::ALL.into_iter().flat_map(|kind| states.clone().map(move |state| (kind, state)))
    {
        for at in BlockedAt::ALL {
            let count = counters.publish_blocked.of(kind, state, at);
            if count > 0 || (kind, state) == (TopicKind::Block, Some(FsmState::Idle)) {
                let state = state.map_or("UNKNOWN", FsmState::name);
                let labels = [("topic", kind.name()), ("fsm_state", state), ("stage", at.name())];
                page.labelled(name, &labels, count);
            }
        }
    }
}

fn connections(page: &mut Page, view: &View<'_>) {
    let (table, counters) = (view.conns().table(), view.counters());
    page.gauge("peerage_peers_connected", "Peers connected", table.peer_count());
    page.gauge("peerage_connections", "Connections", table.connection_count());
    page.gauge("peerage_handshakes_pending", "Handshakes not finished", table.pending_count());
    page.gauge("peerage_peers_known", "Peers in the registry", view.teranode().registry().len());
    page.gauge("peerage_ban_scores", "Peers with a ban score", view.teranode().bans().len());
    page.gauge("peerage_bans", "Peers banned", view.teranode().bans().banned().count());
    for (name, help, count) in [
        ("peerage_connections_refused_total", "Connections refused, by reason", true),
        ("peerage_connections_closed_total", "Connections that we closed, by reason", false),
    ] {
        page.head(name, "counter", help);
        for reason in REASONS {
            let value = if count { counters.refused_for(reason) } else { counters.closed_for(reason) };
            page.labelled(name, &[("reason", disconnect_reason(reason))], value);
        }
    }
}

/// Targets that were found and not dialled.
fn dials(page: &mut Page, counters: &Counters) {
    page.counter(
        "peerage_dial_targets_dropped_total",
        "Found peers that had no place, or lost it",
        counters.dial_targets_dropped,
    );
    page.counter(
        "peerage_dials_banned_total",
        "Dials left out because the peer is banned",
        counters.dials_banned,
    );
}

fn services(page: &mut Page, view: &View<'_>) {
    let counters = view.counters();
    page.counter("peerage_core_inputs_total", "Inputs of the core", counters.inputs);
    page.counter("peerage_core_actions_total", "Actions of the core", counters.actions);
    page.gauge("peerage_operations_pending", "Operations pending", view.ops().len());
    page.counter(
        "peerage_operations_refused_total",
        "Operations not begun for lack of room",
        counters.ops_refused,
    );
    page.counter("peerage_kafka_records_total", "Records handed to the broker", counters.produced);
    page.counter("peerage_kafka_records_acknowledged_total", "Of them: acknowledged", counters.produce_acked);
    page.counter("peerage_kafka_records_failed_total", "Of them: failed", counters.produce_failed);
    page.head(
        "teranode_p2p_gossip_kafka_publish_dropped_total",
        "counter",
        "Announcements dropped before the broker",
    );
    for kind in [TopicKind::Block, TopicKind::Subtree] {
        let dropped = counters.ended(kind, Cause::QueueFull);
        page.labelled("teranode_p2p_gossip_kafka_publish_dropped_total", &[("topic", kind.name())], dropped);
    }
    let inflight =
        counters.produced.saturating_sub(counters.produce_acked.saturating_add(counters.produce_failed));
    page.gauge("peerage_kafka_queue_records", "Records that wait for the broker", inflight);
    page.counter("peerage_feed_oversized_total", "Frames too long to be shown", counters.feed_oversized);
    page.counter("peerage_feed_frames_total", "Frames made for the feed", counters.feed_frames);
    page.counter(
        "teranode_p2p_websocket_clients_evicted_total",
        "Clients closed because they did not read",
        counters.feed_evicted,
    );
    page.counter("peerage_store_failures_total", "Documents that could not be stored", counters.store_failed);
    page.counter(
        "peerage_chain_malformed_total",
        "Broken notifications of the chain",
        counters.chain_malformed,
    );
    page.head("peerage_neighbour_up", "gauge", "Whether a service works, as far as is known");
    for neighbour in Neighbour::ALL {
        let up = u8::from(view.health().is_up(neighbour));
        page.labelled("peerage_neighbour_up", &[("neighbour", neighbour.name())], up);
    }
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Counters that differ in one label.
    fn group(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.head(name, "counter", help);
        for (text, value) in values {
            self.labelled(name, &[(label, text)], value);
        }
    }

    fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{text}\"")).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_core::time::Now;
    use peerage_core::{Config, Node, teranode};
    use peerage_proto::{Network, PeerId};

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_every_sample_is_described() {
        let config = Config::new(PeerId::from_ed25519(&[1; 32]), teranode::Config::new(Network::Regtest));
        let node = Node::new(config, [7; 32], Now::at_secs(0)).unwrap();
        let page = page(&node.view(), &ShellCounters::default());
        let mut described = Vec::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                described.push(rest.split(' ').next().unwrap());
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            assert_eq!(described.last(), Some(&name), "{line}");
            value.parse::<f64>().unwrap();
        }
        let mut unique = described.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), described.len(), "a metric stands twice");
    }
}
