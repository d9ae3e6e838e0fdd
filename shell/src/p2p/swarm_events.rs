//! What each event of the swarm means for the core.

use std::io::ErrorKind;
use std::sync::PoisonError;

use libp2p::core::ConnectedPoint;
use libp2p::core::transport::TransportError;
use libp2p::swarm::{ConnectionError, ConnectionId, DialError as StockDialError, SwarmEvent};
use libp2p::{Multiaddr as StockAddr, PeerId as StockPeer, autonat, identify};
use peerage_core::conn::{CloseReason, DialError, Direction, Event};
use peerage_core::input::{Input, OpResult};
use peerage_proto::ip::is_private;

use super::behaviour::{BehaviourEvent, KAD_PROTOCOL};
use super::convert;
use super::driver::{ListenFailed, P2p, chain};
use super::transport::CANNOT_RESOLVE;

impl P2p {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::IncomingConnection { connection_id, local_addr, send_back_addr } => {
                self.on_incoming(connection_id, &local_addr, &send_back_addr);
            }
            SwarmEvent::IncomingConnectionError { connection_id, .. } => {
                if let Some(pending) = self.links.handshake_ended(connection_id) {
                    self.conn(Event::IncomingEnded { pending });
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                if num_established == 0 {
                    self.reach.gone(&peer_id);
                }
                // What came on it comes before its end.
                while let Some(input) = self.next_news() {
                    self.queued.push_back(input);
                }
                if let Some((id, asked)) = self.links.closed(connection_id) {
                    self.conn(Event::Closed { id, reason: close_reason(asked, cause.as_ref()) });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(op) = self.links.dial_ended(connection_id) {
                    self.queued.push_back(Input::Op(op, OpResult::Dialed(Err(dial_error(&error)))));
                }
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.addressless.remove(&listener_id);
                if self.reach.is_place(listener_id) {
                    return self.on_place(listener_id);
                }
                self.on_interface(&address, true);
                self.on_listening(&address);
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                if self.reach.is_place(listener_id) {
                    return;
                }
                self.on_interface(&address, false);
                self.on_listening_ended(&address);
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                if self.reach.is_place(listener_id) {
                    return self.on_place_ended(listener_id);
                }
                // A node that nobody reaches any more looks well from within: it ends, and is started again.
                if let Err(error) = &reason {
                    let addrs: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                    self.failed = Some(ListenFailed { addr: addrs.join(" "), cause: chain(error) });
                }
                for address in &addresses {
                    self.on_interface(address, false);
                    self.on_listening_ended(address);
                }
            }
            // It accepts again soon; whether it fails for long is looked at elsewhere.
            SwarmEvent::ListenerError { .. } => self.tally.fail(),
            SwarmEvent::ExternalAddrConfirmed { address } if !self.announces(&address) => {
                self.swarm.remove_external_address(&address);
            }
            // About addresses that we choose ourselves.
            SwarmEvent::Dialing { .. }
            | SwarmEvent::NewExternalAddrCandidate { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. }
            | SwarmEvent::NewExternalAddrOfPeer { .. } => {}
            // The enum is open.
            _ => {}
        }
    }

    pub(super) fn conn(&mut self, event: Event) {
        self.queued.push_back(Input::Conn(event));
    }

    fn on_incoming(&mut self, id: ConnectionId, local: &StockAddr, from: &StockAddr) {
        let arrival = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(arrival) = arrival.filter(|arrival| arrival.addr == *from) else { return };
        // Without demand the arrival is dropped, which refuses the socket.
        let addr = convert::addr(convert::origin(local, from)).filter(|_| self.accepting);
        let Some(addr) = addr else { return };
        let pending = self.links.arrived(id, arrival.admit, arrival.cut);
        self.conn(Event::Incoming { pending, addr });
    }

    fn on_established(&mut self, peer: StockPeer, id: ConnectionId, endpoint: &ConnectedPoint) {
        let op = self.links.dial_ended(id);
        let pending = self.links.handshake_ended(id);
        let (remote, direction) = match (endpoint, pending) {
            (ConnectedPoint::Listener { send_back_addr, .. }, Some(pending)) => {
                (send_back_addr, Some(Direction::Inbound(pending)))
            }
            (ConnectedPoint::Listener { send_back_addr, .. }, None) => (send_back_addr, None),
            (ConnectedPoint::Dialer { address, .. }, _) => (address, Some(Direction::Outbound(op))),
        };
        let origin = match endpoint {
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                convert::origin(local_addr, send_back_addr)
            }
            ConnectedPoint::Dialer { address, .. } => address,
        };
        let known = convert::peer(&peer).zip(convert::addr(origin)).zip(direction);
        let Some(((peer, addr), direction)) = known else {
            // An identity or address that the core cannot name: we do not know such kinds.
            self.swarm.close_connection(id);
            if let Some(op) = op {
                let error = DialError::Unreachable("an identity of unknown kind".to_owned());
                self.queued.push_back(Input::Op(op, OpResult::Dialed(Err(error))));
            }
            return;
        };
        let id = self.links.established(id);
        if let Some(meter) = self.traffic.of(remote) {
            self.links.count(id, meter);
        }
        self.conn(Event::Established { id, peer, addr: addr.without_p2p(), direction });
        if let Some(op) = op {
            self.queued.push_back(Input::Op(op, OpResult::Dialed(Ok(id))));
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            // It is asked for when nothing else is queued.
            BehaviourEvent::Pubsub(()) => {}
            BehaviourEvent::Kad(event) => {
                let local = *self.swarm.local_peer_id();
                let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() else { return };
                self.queries.on_event(kad, &local, event, &mut |input| self.queued.push_back(input));
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::Identify(
                identify::Event::Sent { .. } | identify::Event::Pushed { .. } | identify::Event::Error { .. },
            )
            | BehaviourEvent::Ping(_) => {}
            BehaviourEvent::Stream(()) => {}
            BehaviourEvent::Autonat(autonat::Event::StatusChanged { new, .. }) => self.reach.found(&new),
            // The connections that come of it are told like all others.
            BehaviourEvent::Autonat(_) | BehaviourEvent::Relay(_) | BehaviourEvent::Dcutr(_) => {}
        }
    }

    fn on_identified(&mut self, peer: StockPeer, info: identify::Info) {
        self.reach.identified(&peer, &info.protocols);
        let dial_private = self.dial_private;
        let dialable = |addr: &&StockAddr| dial_private || !convert::ip(addr).is_some_and(is_private);
        if info.protocols.contains(&KAD_PROTOCOL)
            && let Some(kad) = self.swarm.behaviour_mut().kad.as_mut()
        {
            info.listen_addrs.iter().filter(dialable).take(ADDRESSES_MAX).for_each(|addr| {
                kad.add_address(&peer, addr.clone());
            });
        }
        let listen_addrs = info.listen_addrs.iter().filter_map(convert::addr).take(ADDRESSES_MAX).collect();
        if let Some(peer) = convert::peer(&peer) {
            self.conn(Event::Identified {
                peer,
                agent_version: short(info.agent_version),
                protocol_version: short(info.protocol_version),
                listen_addrs,
            });
        }
    }
}

/// Addresses taken of one peer's identify message.
const ADDRESSES_MAX: usize = 32;

/// Texts of others, cut to what is worth keeping.
fn short(mut text: String) -> String {
    const BYTES_MAX: usize = 256;
    if text.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn close_reason(asked: bool, cause: Option<&ConnectionError>) -> CloseReason {
    match cause {
        _ if asked => CloseReason::Local,
        None => CloseReason::Local,
        Some(ConnectionError::KeepAliveTimeout) => CloseReason::Transport,
        Some(ConnectionError::IO(error)) => {
            let text = chain(error).to_lowercase();
            if text.contains("flood: ") {
                return CloseReason::Flood;
            }
            let remote = matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            );
            match remote
                || ["closed", "reset", "eof", "end of file", "pipe"].iter().any(|word| text.contains(word))
            {
                true => CloseReason::Remote,
                false => CloseReason::Transport,
            }
        }
    }
}

/// The core's form of a failed dial.
pub(super) fn dial_error(error: &StockDialError) -> DialError {
    match error {
        StockDialError::LocalPeerId { .. } => DialError::Ourselves,
        StockDialError::NoAddresses => DialError::NoAddress,
        StockDialError::WrongPeerId { obtained, .. } => {
            convert::peer(obtained).map_or(DialError::NoAddress, DialError::WrongPeer)
        }
        StockDialError::Transport(failures) => {
            let unsupported =
                failures.iter().all(|(_, error)| matches!(error, TransportError::MultiaddrNotSupported(_)));
            let timed_out = failures.iter().any(|(_, error)| match error {
                TransportError::Other(error) => chain(error).to_lowercase().contains("timeout"),
                TransportError::MultiaddrNotSupported(_) => false,
            });
            let unresolved = failures.iter().all(|(_, error)| match error {
                TransportError::Other(error) => chain(error).contains(CANNOT_RESOLVE),
                TransportError::MultiaddrNotSupported(_) => false,
            });
            match (unsupported, unresolved, timed_out) {
                (true, _, _) => DialError::NoAddress,
                (false, true, _) => DialError::NameNotResolved,
                (false, false, true) => DialError::TimedOut,
                (false, false, false) => DialError::Unreachable(
                    failures.last().map(|(_, error)| short(chain(error))).unwrap_or_default(),
                ),
            }
        }
        StockDialError::DialPeerConditionFalse(_)
        | StockDialError::Aborted
        | StockDialError::Denied { .. } => DialError::Unreachable(short(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::p2p::behaviour::Options;
    use crate::p2p::budget::Budget;
    use crate::p2p::pubsub::credit::Credit;
    use crate::p2p::pubsub::{Theirs, Told};
    use crate::p2p::{Announce, Socket, Start};
    use libp2p::Transport as _;
    use libp2p::core::transport::ListenerId;
    use libp2p::core::transport::dummy::DummyTransport;
    use peerage_core::gossipsub::peers::Version;
    use peerage_core::gossipsub::stream::{self, AuthorKey, Check, CheckEnd};
    use peerage_core::op::Ops;
    use std::task::{Context, Poll};

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = short("é".repeat(300));
        assert_eq!(text.len(), 256);
        assert!(text.chars().all(|c| c == 'é'));
    }

    #[test]
    fn a_connection_that_the_gate_closed_for_its_flood_says_so_unless_we_asked() {
        let inner = std::io::Error::other("flood: over its budget of bytes");
        let cause = ConnectionError::IO(std::io::Error::other(inner));
        assert_eq!(close_reason(false, Some(&cause)), CloseReason::Flood);
        assert_eq!(close_reason(true, Some(&cause)), CloseReason::Local);
        let broken = ConnectionError::IO(std::io::Error::other("broken"));
        assert_eq!(close_reason(false, Some(&broken)), CloseReason::Transport);
    }

    /// A node without a network.
    fn alone(key: &libp2p::identity::Keypair, tally: &std::sync::Arc<crate::http::server::Tally>) -> P2p {
        P2p::new(Start {
            raw: DummyTransport::<Socket>::new().boxed(),
            executor: Box::new(|_| {}),
            unblock: std::sync::Arc::new(|work| work()),
            options: Options {
                key,
                frame_bytes_max: 1 << 20,
                dht_mode: peerage_core::conn::DhtMode::Off,
                protocol_version: String::new(),
                agent_version: String::new(),
                nat: false,
                dial_private: false,
            },
            announce: Announce::Exactly(vec![]),
            budget: Budget {
                bytes_per_second_max: 1,
                messages_per_second_max: 1,
                patience: std::time::Duration::ZERO,
                floods: Default::default(),
            },
            relays: vec![],
            mdns: false,
            tally: std::sync::Arc::clone(tally),
        })
        .unwrap()
    }

    fn all(p2p: &mut P2p) -> Vec<Input> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        std::iter::from_fn(|| match p2p.poll_next(&mut cx) {
            Poll::Ready(input) => Some(input),
            Poll::Pending => None,
        })
        .collect()
    }

    #[test]
    fn what_came_on_a_connection_is_told_before_its_end_and_counted_if_the_core_cannot_hear_it() {
        let key = libp2p::identity::Keypair::generate_ed25519();
        for hearing in [true, false] {
            let mut p2p = alone(&key, &Default::default());
            let (id, peer) = (ConnectionId::new_unchecked(1), StockPeer::random());
            let connection = p2p.links.established(id);
            let share = Credit::default().share(id);
            let frame = bytes::Bytes::from_static(b"frame");
            let told = vec![
                Told::Theirs(Theirs::Opened(Version::V12), share.take(0)),
                Told::Theirs(Theirs::Frame(frame.clone()), share.take(5)),
            ];
            p2p.swarm.behaviour().pubsub.tell(id, told);
            p2p.set_demand(true, hearing);
            let addr: StockAddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
            let endpoint = ConnectedPoint::Listener { local_addr: addr.clone(), send_back_addr: addr };
            p2p.on_swarm_event(SwarmEvent::ConnectionClosed {
                peer_id: peer,
                connection_id: id,
                endpoint,
                num_established: 0,
                cause: None,
            });
            let closed = Input::Conn(Event::Closed { id: connection, reason: CloseReason::Local });
            let version = Version::V12;
            let heard = [
                Input::Gossipsub(stream::Event::InboundOpened { connection, version }),
                Input::Gossipsub(stream::Event::Frame { connection, frame }),
                closed.clone(),
            ];
            let expected = if hearing { &heard[..] } else { &[closed] };
            assert_eq!(all(&mut p2p), expected);
            p2p.set_demand(true, true);
            assert_eq!(all(&mut p2p), []);
            assert_eq!(p2p.unheard(), u64::from(!hearing));
        }
    }

    #[test]
    fn our_key_signs_what_the_router_orders_and_the_checks_that_it_orders_are_made() {
        let key = libp2p::identity::Keypair::generate_ed25519();
        let mut p2p = alone(&key, &Default::default());
        let mut ops = Ops::default();
        let (signing, checking) = (ops.begin(()), ops.begin(()));
        let bytes = bytes::Bytes::from_static(b"libp2p-pubsub:message");
        p2p.start_gossip(stream::Action::Sign { op: signing, bytes: bytes.clone() });
        let [Input::Op(op, OpResult::Signed(Ok(signature)))] = &all(&mut p2p)[..] else {
            panic!("it is signed at once")
        };
        assert_eq!(*op, signing);
        let author = AuthorKey::Ed25519(key.public().try_into_ed25519().unwrap().to_bytes());
        let signature = signature.clone();
        let check = |signed| Check { key: author.clone(), signed, signature: signature.clone() };
        let checks = vec![check(bytes), check(bytes::Bytes::from_static(b"another"))];
        p2p.start_gossip(stream::Action::Verify { op: checking, checks });
        let ends = vec![CheckEnd::Valid, CheckEnd::Invalid];
        assert_eq!(all(&mut p2p), [Input::Op(checking, OpResult::Verified(ends))]);
    }

    #[test]
    fn news_without_end_let_checks_and_the_swarm_have_their_turn() {
        let mut p2p = alone(&libp2p::identity::Keypair::generate_ed25519(), &Default::default());
        let id = ConnectionId::new_unchecked(1);
        p2p.links.established(id);
        let share = Credit::default().share(id);
        let op = Ops::default().begin(());
        p2p.start_gossip(stream::Action::Verify { op, checks: vec![] });
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let heard = std::iter::repeat_with(|| {
            let told = Told::Theirs(Theirs::Frame(bytes::Bytes::new()), share.take(0));
            p2p.swarm.behaviour().pubsub.tell(id, vec![told]);
            p2p.poll_next(&mut cx)
        });
        // A check is made once the swarm has nothing.
        let turn = heard.take(1000).position(|input| matches!(input, Poll::Ready(Input::Op(..))));
        assert!(turn.is_some_and(|turn| turn <= 64), "{turn:?}");
    }

    #[test]
    fn a_listener_that_dies_is_a_failure_and_one_that_was_closed_is_none() {
        let key = libp2p::identity::Keypair::generate_ed25519();
        let tally = std::sync::Arc::<crate::http::server::Tally>::default();
        let mut p2p = alone(&key, &tally);
        let addr: StockAddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
        let closed = |reason| SwarmEvent::ListenerClosed {
            listener_id: ListenerId::next(),
            addresses: vec![addr.clone()],
            reason,
        };
        p2p.on_swarm_event(closed(Ok(())));
        assert_eq!(p2p.take_failure(), None);
        p2p.on_swarm_event(closed(Err(std::io::Error::other("no interface is left"))));
        let cause = "no interface is left".to_owned();
        assert_eq!(p2p.take_failure(), Some(ListenFailed { addr: addr.to_string(), cause }));
        let error = std::io::Error::other("too many open files");
        p2p.on_swarm_event(SwarmEvent::ListenerError { listener_id: ListenerId::next(), error });
        assert_eq!((p2p.take_failure(), tally.failed()), (None, 1));
    }

    #[test]
    fn a_place_on_a_relay_is_told_once_and_its_end_is_no_failure() {
        let key = libp2p::identity::Keypair::generate_ed25519();
        let mut p2p = alone(&key, &Default::default());
        let relay = StockPeer::random();
        let addr: StockAddr = format!("/ip4/127.0.0.1/tcp/9/p2p/{relay}").parse().unwrap();
        let place = convert::addr(&format!("{addr}/p2p-circuit").parse().unwrap()).unwrap();
        p2p.reach = crate::p2p::reach::Reach::new([addr]);
        let listener_id = ListenerId::next();
        p2p.reach.asked(relay, listener_id);
        let theirs: StockAddr = format!("/ip4/127.0.0.9/tcp/9/p2p/{relay}/p2p-circuit").parse().unwrap();
        for _ in 0..2 {
            p2p.on_swarm_event(SwarmEvent::NewListenAddr { listener_id, address: theirs.clone() });
        }
        assert_eq!(all(&mut p2p), [Input::Conn(Event::Listening { addr: place.clone() })]);
        assert_eq!(
            p2p.swarm.external_addresses().count(),
            0,
            "what the relay says of itself is not announced"
        );
        let reason = Err(std::io::Error::other("no more places"));
        p2p.on_swarm_event(SwarmEvent::ListenerClosed { listener_id, addresses: vec![theirs], reason });
        assert_eq!(all(&mut p2p), [Input::Conn(Event::ListeningEnded { addr: place })]);
        assert_eq!(p2p.take_failure(), None);
    }

    #[test]
    fn what_a_library_finds_out_about_our_addresses_is_announced_only_as_we_say() {
        let key = libp2p::identity::Keypair::generate_ed25519();
        for (announce, told) in [
            (Announce::Exactly(vec![]), 0),
            (Announce::Listening { private: false }, 0),
            (Announce::Listening { private: true }, 1),
        ] {
            let mut p2p = alone(&key, &Default::default());
            p2p.announce = announce;
            let address: StockAddr = "/ip4/10.0.0.7/tcp/9".parse().unwrap();
            p2p.swarm.add_external_address(address.clone());
            p2p.on_swarm_event(SwarmEvent::ExternalAddrConfirmed { address });
            assert_eq!(p2p.swarm.external_addresses().count(), told);
        }
    }

    #[test]
    fn a_dial_without_usable_address_says_so() {
        assert_eq!(dial_error(&StockDialError::NoAddresses), DialError::NoAddress);
        let addr: StockAddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let error = std::io::Error::other("Timeout has been reached");
        let failed = StockDialError::Transport(vec![(addr, TransportError::Other(error))]);
        assert_eq!(dial_error(&failed), DialError::TimedOut);
    }

    #[test]
    fn a_name_that_cannot_be_resolved_is_told_from_a_port_that_refuses() {
        let failed = |texts: &[&'static str]| {
            let each = texts.iter().map(|text| {
                let addr: StockAddr = "/dns4/peer.test/tcp/1".parse().unwrap();
                (addr, TransportError::Other(std::io::Error::other(std::io::Error::other(*text))))
            });
            dial_error(&StockDialError::Transport(each.collect()))
        };
        assert_eq!(failed(&["cannot resolve its name: no records"]), DialError::NameNotResolved);
        let one_refuses = failed(&["cannot resolve its name: no records", "connection refused"]);
        assert!(matches!(one_refuses, DialError::Unreachable(_)), "{one_refuses:?}");
    }
}
