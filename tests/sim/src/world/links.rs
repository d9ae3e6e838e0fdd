//! Connections: dial, admission, both ends' view of them, resets and partitions.

use peerage_core::Input;
use peerage_core::conn::{self, AskId, CloseReason, ConnectionId, DialError, Direction, PendingId, Source};
use peerage_core::input::{Failed, OpResult};
use peerage_core::op::OpId;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use super::choke::Meter;
use super::node::{addr_of, end_at, text_addr};
use super::queue::Event;
use super::streams::Port;
use super::{End, World};

/// How long a dial waits for an answer.
const DIAL_TIMEOUT_US: u64 = 5_000_000;

/// A connection, or one in the making. It has the same number at both ends.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Who dialled, and who was dialled.
    pub(super) ends: [End; 2],
    /// What comes in at each.
    pub(super) meters: [Meter; 2],
    /// What each is told of streams.
    ports: [Port; 2],
    lives: [u32; 2],
    op: Option<OpId>,
    /// The handshake is over.
    open: bool,
    /// Nothing passes any more.
    pub(super) cut: bool,
}

impl Link {
    /// The end that is not `end`.
    pub(super) fn other(&self, end: End) -> End {
        if self.ends[0] == end { self.ends[1] } else { self.ends[0] }
    }

    /// Whether the handshake is over and nothing has ended the connection.
    pub(super) fn passes(&self) -> bool {
        self.open && !self.cut
    }

    /// What comes in at `end`.
    pub(super) fn meter_mut(&mut self, end: End) -> &mut Meter {
        &mut self.meters[usize::from(self.ends[0] != end)]
    }

    /// What `end` is told of streams.
    pub(super) fn port(&self, end: End) -> &Port {
        &self.ports[usize::from(self.ends[0] != end)]
    }

    /// The same.
    pub(super) fn port_mut(&mut self, end: End) -> &mut Port {
        &mut self.ports[usize::from(self.ends[0] != end)]
    }
}

impl World {
    /// The life of an end; puppets have but one.
    pub(super) fn life(&self, end: End) -> u32 {
        self.nodes.get(end).map_or(0, |node| node.life)
    }

    fn is_alive(&self, end: End) -> bool {
        self.nodes.get(end).is_none_or(|node| node.pump.is_some())
    }

    pub(super) fn are_reachable(&self, a: End, b: End) -> bool {
        let side = |end: End| (self.partition >> (end % 64)) & 1;
        self.partition == 0 || side(a) == side(b)
    }

    pub(super) fn latency(&mut self, link: u64) -> u64 {
        let longest = u64::from(self.options.latency_ms) * 1000;
        // Each link has its own length; some of it varies.
        let own = (link.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % (longest / 2 + 1);
        100 + own + self.dice.roll(longest / 2 + 1)
    }

    pub(super) fn dial(&mut self, node: usize, op: OpId, peer: Option<PeerId>, addrs: &[Multiaddr]) {
        let at = self.now + self.latency(op_number(op));
        let ends = self.ends();
        let Some(target) = addrs.iter().find_map(end_at).filter(|end| *end < ends) else {
            let error = DialError::Unreachable("nobody is there".into());
            return self.complete(node, at - self.now, op, OpResult::Dialed(Err(error)));
        };
        let life = self.life(node);
        self.queue
            .push(at, Event::Reach { dialer: node, life, op: Some(op), peer: peer.map(Box::new), target });
    }

    /// A dial reaches its target, or fails there.
    pub(super) fn on_reach(
        &mut self,
        dialer: End,
        life: u32,
        op: Option<OpId>,
        peer: Option<PeerId>,
        target: End,
    ) {
        if self.life(dialer) != life {
            return;
        }
        let refuses = |world: &Self| match world.nodes.get(target) {
            Some(node) => !node.listening || node.pump.as_ref().is_none_or(|pump| !pump.demand().accept),
            None => false,
        };
        let error = match () {
            () if dialer == target => Some(DialError::Ourselves),
            () if !self.are_reachable(dialer, target) => Some(DialError::TimedOut),
            () if refuses(self) => Some(DialError::Unreachable("connection refused".into())),
            () if peer.is_some_and(|peer| peer != self.peer(target)) => {
                Some(DialError::WrongPeer(self.peer(target)))
            }
            () => None,
        };
        if let Some(error) = error {
            let delay = if error == DialError::TimedOut { DIAL_TIMEOUT_US } else { 1000 };
            return self.dial_failed(dialer, delay, op, error);
        }
        self.next_id += 1;
        let (id, lives) = (self.next_id, [life, self.life(target)]);
        let (ends, meters, ports) = ([dialer, target], [Meter::default(); 2], Default::default());
        self.links.insert(id, Link { ends, meters, ports, lives, op, open: false, cut: false });
        self.queue.push(self.now + DIAL_TIMEOUT_US, Event::Expire { link: id });
        if target < self.nodes.len() {
            let addr = self.source_addr(dialer, id);
            let event = conn::Event::Incoming { pending: PendingId(id), addr };
            self.input_after(target, 0, Input::Conn(event));
        } else {
            let at = self.now + self.latency(id);
            self.queue.push(at, Event::Shaken { link: id });
        }
    }

    fn dial_failed(&mut self, dialer: End, delay: u64, op: Option<OpId>, error: DialError) {
        if let (Some(op), true) = (op, dialer < self.nodes.len()) {
            self.complete(dialer, delay, op, OpResult::Dialed(Err(error)));
        }
    }

    fn source_addr(&self, end: End, id: u64) -> Multiaddr {
        text_addr(&format!("/ip4/20.{}.{}.1/tcp/{}", end / 250, end % 250, 30_000 + id % 30_000))
    }

    pub(super) fn admit(&mut self, pending: PendingId) {
        let at = self.now + self.latency(pending.0);
        self.queue.push(at, Event::Shaken { link: pending.0 });
    }

    pub(super) fn refuse(&mut self, node: usize, pending: PendingId) {
        if self.links.get(&pending.0).is_some_and(|link| link.open) {
            return; // The handshake was over first.
        }
        if let Some(link) = self.links.remove(&pending.0) {
            let error = DialError::Unreachable("refused".into());
            let delay = self.latency(pending.0);
            if self.life(link.ends[0]) == link.lives[0] {
                self.dial_failed(link.ends[0], delay, link.op, error);
            }
        }
        self.input_after(node, 0, Input::Conn(conn::Event::IncomingEnded { pending }));
    }

    /// A handshake ends: the connection stands at both ends, or at neither.
    pub(super) fn on_shaken(&mut self, id: u64) {
        let Some(link) = self.links.get(&id).cloned() else { return };
        let [dialer, target] = link.ends;
        let alive = [dialer, target].map(|end| self.is_alive(end));
        let same = [0, 1].map(|side| self.life(link.ends[side]) == link.lives[side] && alive[side]);
        if same != [true, true] || !self.are_reachable(dialer, target) {
            return; // It expires.
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.open = true;
        }
        let outbound = Direction::Outbound(link.op);
        self.establish(id, dialer, target, addr_of(target), outbound);
        if let (Some(op), true) = (link.op, dialer < self.nodes.len()) {
            self.complete(dialer, 0, op, OpResult::Dialed(Ok(ConnectionId(id))));
        }
        let addr = self.source_addr(dialer, id);
        self.establish(id, target, dialer, addr, Direction::Inbound(PendingId(id)));
    }

    /// A handshake that has not ended by now never will.
    pub(super) fn on_expire(&mut self, id: u64) {
        if self.links.get(&id).is_none_or(|link| link.open) {
            return;
        }
        let Some(link) = self.links.remove(&id) else { return };
        let [dialer, target] = link.ends;
        if self.life(dialer) == link.lives[0] {
            self.dial_failed(dialer, 0, link.op, DialError::TimedOut);
        }
        if self.life(target) == link.lives[1] && target < self.nodes.len() {
            let ended = conn::Event::IncomingEnded { pending: PendingId(id) };
            self.input_after(target, 0, Input::Conn(ended));
        }
    }

    /// One end learns that a connection stands.
    fn establish(&mut self, id: u64, end: End, other: End, addr: Multiaddr, direction: Direction) {
        let peer = self.peer(other);
        if end >= self.nodes.len() {
            self.puppets[end - self.nodes.len()].links.insert(id, other);
            return self.puppet_greets(id, end, other);
        }
        let first = !self.nodes[end].links.iter().any(|id| self.leads_to(*id, end, other));
        self.nodes[end].links.insert(id);
        let event = conn::Event::Established { id: ConnectionId(id), peer, addr, direction };
        self.input_after(end, 0, Input::Conn(event));
        if !first {
            return;
        }
        let identified = conn::Event::Identified {
            peer,
            agent_version: "sim".into(),
            protocol_version: "1".into(),
            listen_addrs: vec![addr_of(other), text_addr("/ip4/10.0.0.1/tcp/1")],
        };
        self.input_after(end, 2000, Input::Conn(identified));
    }

    fn leads_to(&self, id: u64, end: End, other: End) -> bool {
        self.links.get(&id).is_some_and(|link| link.other(end) == other)
    }

    /// An end closes a link, or its process is gone.
    pub(super) fn close(&mut self, id: u64, by: End, reason: CloseReason) {
        self.streams_end_first(id);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.cut = true;
        let other = link.other(by);
        self.queue.push(self.now, Event::Closed { link: id, end: by, reason: CloseReason::Local });
        let delay = if self.are_reachable(by, other) { self.latency(id) } else { self.dice.roll(15_000_000) };
        self.queue.push(self.now + delay, Event::Closed { link: id, end: other, reason });
    }

    pub(super) fn on_closed(&mut self, id: u64, end: End, reason: CloseReason) {
        if end >= self.nodes.len() {
            self.puppets[end - self.nodes.len()].links.remove(&id);
        } else if self.nodes[end].links.contains(&id) {
            if self.postpone(end, &Event::Closed { link: id, end, reason }) {
                return;
            }
            self.nodes[end].links.remove(&id);
            self.feed(end, Input::Conn(conn::Event::Closed { id: ConnectionId(id), reason }));
        }
        let is_open = |end: &End| self.nodes.get(*end).is_some_and(|node| node.links.contains(&id));
        if self.links.get(&id).is_some_and(|link| !link.ends.iter().any(is_open)) {
            self.links.remove(&id);
        }
    }

    /// Every link of a process that died is reset.
    pub(super) fn drop_links(&mut self, node: usize) {
        for id in std::mem::take(&mut self.nodes[node].links) {
            self.close(id, node, CloseReason::Transport);
        }
    }

    /// Resets a link: both ends learn of it, each in its own time.
    pub fn reset(&mut self, link: u64) {
        let open: Vec<u64> = self.links.iter().filter(|(_, link)| link.passes()).map(|(id, _)| *id).collect();
        if let Some(id) = pick(&open, link) {
            self.cut(id);
        }
    }

    fn cut(&mut self, id: u64) {
        self.streams_end_first(id);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.cut = true;
        for end in link.ends {
            let at = self.now + self.dice.roll(3_000_000);
            self.queue.push(at, Event::Closed { link: id, end, reason: CloseReason::Transport });
        }
    }

    /// The network falls apart by the bits of `mask`; 0 makes it whole.
    pub fn partition(&mut self, mask: u64) {
        self.partition = mask;
        // A handshake that is under way expires: its dial is answered then.
        let crossing = |link: &Link| link.passes() && !self.are_reachable(link.ends[0], link.ends[1]);
        let ids: Vec<u64> = self.links.iter().filter(|(_, link)| crossing(link)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.cut(id));
    }

    pub(super) fn ask_addresses(&mut self, node: usize, op: OpId, via: &PeerId, target: PeerId) {
        let asked = (0..self.nodes.len()).find(|end| self.nodes[*end].peer == *via);
        let connected =
            asked.filter(|asked| self.nodes[node].links.iter().any(|id| self.leads_to(*id, node, *asked)));
        let Some(via) = connected else {
            let failed = OpResult::Addresses(Err(Failed("not connected".into())));
            return self.complete(node, 1000, op, failed);
        };
        self.next_id += 1;
        let (ask, life) = (AskId(self.next_id), self.life(node));
        let at = self.now + self.latency(ask.0);
        self.queue.push(at, Event::Ask { via, asker: node, life, op, target: Box::new(target), ask });
    }

    pub(super) fn on_ask(&mut self, via: usize, asker: (usize, u32), op: OpId, target: PeerId, ask: AskId) {
        if self.nodes[via].pump.is_none() {
            if self.life(asker.0) == asker.1 {
                self.complete(asker.0, 0, op, OpResult::Addresses(Err(Failed("reset".into()))));
            }
            return;
        }
        self.asks.insert(ask, (asker.0, asker.1, op));
        let from = self.peer(asker.0);
        self.input_after(via, 0, Input::Conn(conn::Event::AddressesAsked { ask, from, target }));
    }

    pub(super) fn answer_addresses(&mut self, ask: AskId, addrs: Vec<Multiaddr>) {
        if let Some((asker, life, op)) = self.asks.remove(&ask)
            && self.life(asker) == life
        {
            let delay = self.latency(ask.0);
            self.complete(asker, delay, op, OpResult::Addresses(Ok(addrs)));
        }
    }

    /// A node hears of addresses: 0 true ones, 1 private ones, 2 nobody's.
    pub fn found(&mut self, node: usize, other: u64, kind: u64) {
        let other = (other % self.ends() as u64) as End;
        let addrs = match kind % 3 {
            0 => vec![addr_of(other)],
            1 => vec![text_addr("/ip4/192.168.1.1/tcp/9905"), text_addr("/ip6/fd00::1/tcp/1")],
            _ => vec![text_addr("/ip4/30.1.1.1/tcp/1"), text_addr("/dns4/nobody.example/tcp/1")],
        };
        let source = if kind.is_multiple_of(2) { Source::Dht } else { Source::Peer };
        let peer = self.peer(other);
        self.feed(node, Input::Conn(conn::Event::Found { peer, addrs, source }));
    }
}

/// The item of `list` that `number` names.
pub(super) fn pick<T: Copy>(list: &[T], number: u64) -> Option<T> {
    let len = list.len() as u64;
    (len > 0).then(|| list[(number % len) as usize])
}

fn op_number(op: OpId) -> u64 {
    let bytes = peerage_core::codec::to_vec(&op);
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
