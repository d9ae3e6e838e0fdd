//! The behaviour between swarms: against itself, against streams written by hand, against stock gossipsub.

mod differential;
mod swarms;

use std::collections::VecDeque;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::identity::Keypair;
use libp2p::{Swarm, gossipsub};
use peerage_core::gossipsub::stream::WRITTEN_BYTES_MIN;
use peerage_proto::pubsub::{Rpc, RpcLimits, Subscription};
use smol::block_on;
use swarms::{Driven, FRAME_BYTES_MAX, Node, is_ended, node_and_raw, pair, soon, write};

use super::credit::{CONNECTION_BYTES_MAX, OVERHEAD};
use super::splitter::tests::delimited;
use super::*;

fn ours(news: Ours) -> News {
    News::Ours(news)
}

fn frame(bytes: &[u8]) -> News {
    News::Theirs(Theirs::Frame(Bytes::copy_from_slice(bytes)))
}

#[test]
fn two_of_ours_speak_the_newest_version_and_frames_come_in_order_both_ways() {
    block_on(async {
        let (mut one, mut other) = pair().await;
        for node in [&mut one, &mut other] {
            node.open().await;
        }
        let long = vec![5; FRAME_BYTES_MAX];
        let frames: Vec<&[u8]> = vec![b"a", b"", &[1; 300], &long, &[2; 20_000], b"z"];
        for node in [&mut one, &mut other] {
            let mut begun = [node.next().await, node.next().await];
            begun.sort_by_key(|news| matches!(news, News::Theirs(_)));
            assert_eq!(begun[0], ours(Ours::Opened(Version::V13)));
            assert_eq!(begun[1], News::Theirs(Theirs::Opened(Version::V13)));
            node.send(&frames).await;
        }
        for node in [&mut one, &mut other] {
            let mut expected: VecDeque<_> = frames.iter().map(|bytes| frame(bytes)).collect();
            while !expected.is_empty() {
                let news = node.next().await;
                if !matches!(news, News::Ours(Ours::Written(_))) {
                    assert!(Some(news) == expected.pop_front(), "{} are left", expected.len());
                }
            }
        }
    });
}

#[test]
fn what_is_written_is_told_in_steps_of_the_window() {
    block_on(async {
        let (mut one, mut other) = pair().await;
        one.open().await;
        assert_eq!(one.next().await, ours(Ours::Opened(Version::V13)));
        one.send(&[&[1; 100]]).await;
        let long = [7; 40_000];
        one.send(&[&long]).await;
        let sent = delimited(&[1; 100]).len() + delimited(&long).len();
        let mut written = 0;
        while sent as u64 - written >= WRITTEN_BYTES_MIN {
            let News::Ours(Ours::Written(bytes)) = one.next().await else { panic!("nothing else happens") };
            assert!(bytes >= WRITTEN_BYTES_MIN);
            written += bytes;
        }
        assert_eq!(other.next().await, News::Theirs(Theirs::Opened(Version::V13)));
        assert_eq!([other.next().await, other.next().await], [frame(&[1; 100]), frame(&long)]);
    });
}

#[test]
fn whatever_version_the_peer_chooses_is_told() {
    block_on(async {
        for version in Version::ALL {
            let (mut node, mut raw) = node_and_raw().await;
            let mut incoming = raw.accept(version);
            node.open().await;
            let (_, _stream) = soon(incoming.next()).await.unwrap();
            assert_eq!(node.next().await, ours(Ours::Opened(version)));
            let _stream = raw.open(version).await;
            assert_eq!(node.next().await, News::Theirs(Theirs::Opened(version)));
        }
    });
}

#[test]
fn the_names_offered_are_all_versions_the_preferred_first() {
    use libp2p::core::upgrade::UpgradeInfo as _;
    use libp2p::swarm::ConnectionHandler as _;
    let handler = Behaviour::new(1).handler(ConnectionId::new_unchecked(1), &[]);
    let names: Vec<_> = handler.listen_protocol().upgrade().protocol_info().collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let expected =
        ["/meshsub/1.3.0", "/meshsub/1.2.0", "/meshsub/1.1.0", "/meshsub/1.0.0", "/floodsub/1.0.0"];
    assert_eq!(names, expected);
}

#[test]
fn a_peer_that_speaks_no_pubsub_is_unsupported_each_time_it_is_tried() {
    block_on(async {
        let (mut node, _raw) = node_and_raw().await;
        node.open().await;
        assert_eq!(node.next().await, ours(Ours::Ended(StreamEnd::Unsupported)));
        node.open().await;
        assert_eq!(node.next().await, ours(Ours::Ended(StreamEnd::Unsupported)));
    });
}

#[test]
fn an_idle_stream_that_the_peer_ends_or_resets_is_told_and_can_be_opened_again() {
    block_on(async {
        let (mut node, mut raw) = node_and_raw().await;
        let mut incoming = raw.accept(Version::V12);
        for closes in [true, false] {
            node.open().await;
            let (_, mut stream) = soon(incoming.next()).await.unwrap();
            assert_eq!(node.next().await, ours(Ours::Opened(Version::V12)));
            // What it says there is nothing to us.
            write(&mut stream, &[9; 10_000]).await;
            if closes {
                soon(stream.close()).await.unwrap();
            } else {
                drop(stream);
            }
            assert_eq!(node.next().await, ours(Ours::Ended(StreamEnd::Closed)));
        }
    });
}

#[test]
fn a_stream_that_we_close_is_reset_and_nothing_more_is_told_of_it() {
    block_on(async {
        let (mut node, mut raw) = node_and_raw().await;
        let mut incoming = raw.accept(Version::V12);
        node.open().await;
        let (_, mut stream) = soon(incoming.next()).await.unwrap();
        assert_eq!(node.next().await, ours(Ours::Opened(Version::V12)));
        node.with(Behaviour::close).await;
        assert!(is_ended(&mut stream).await);
        // One that is closed before it stands, and another after it.
        node.with(|behaviour, connection| {
            behaviour.open(connection);
            behaviour.close(connection);
            behaviour.open(connection);
        })
        .await;
        assert_eq!(node.next().await, ours(Ours::Opened(Version::V12)));
        node.send(&[b"here"]).await;
        let mut bytes = [0; 5];
        loop {
            let (_, mut stream) = soon(incoming.next()).await.unwrap();
            if soon(stream.read_exact(&mut bytes)).await.is_ok() {
                break;
            }
        }
        assert_eq!(bytes, *b"\x04here");
    });
}

#[test]
fn what_is_on_its_way_of_a_stream_that_the_core_has_closed_is_not_told() {
    let (mut behaviour, id) = (Behaviour::new(1), ConnectionId::new_unchecked(1));
    behaviour.links.insert(id, Link::default());
    let tell = |behaviour: &mut Behaviour, attempt, news| {
        behaviour.tell(id, vec![Told::Ours(attempt, news)]);
    };
    behaviour.open(id);
    tell(&mut behaviour, 1, Ours::Opened(Version::V12));
    assert_eq!(behaviour.next(true), Some((id, ours(Ours::Opened(Version::V12)))));
    tell(&mut behaviour, 1, Ours::Written(20_000));
    behaviour.close(id);
    assert_eq!(behaviour.next(true), None);
    behaviour.open(id);
    tell(&mut behaviour, 1, Ours::Ended(StreamEnd::Closed));
    tell(&mut behaviour, 2, Ours::Ended(StreamEnd::Failed));
    assert_eq!(behaviour.next(true), Some((id, ours(Ours::Ended(StreamEnd::Failed)))));
    assert_eq!(behaviour.next(true), None);
}

#[test]
fn the_newest_stream_of_the_peer_replaces_the_older_one() {
    block_on(async {
        let (mut node, mut raw) = node_and_raw().await;
        let mut first = raw.open(Version::V11).await;
        write(&mut first, &delimited(b"first")).await;
        assert_eq!(node.next().await, News::Theirs(Theirs::Opened(Version::V11)));
        assert_eq!(node.next().await, frame(b"first"));
        let mut second = raw.open(Version::V12).await;
        write(&mut second, &delimited(b"second")).await;
        assert_eq!(node.next().await, News::Theirs(Theirs::Opened(Version::V12)));
        assert_eq!(node.next().await, frame(b"second"));
        assert!(is_ended(&mut first).await);
        drop(second);
        assert_eq!(node.next().await, News::Theirs(Theirs::Ended));
    });
}

#[test]
fn a_frame_that_is_too_long_ends_its_stream_and_not_the_connection() {
    block_on(async {
        let (mut node, mut raw) = node_and_raw().await;
        for (bytes, told) in [(&[0x81, 0x80, 0x40][..], (1 << 20) + 1), (&[0xff; 12], u64::MAX)] {
            let mut stream = raw.open(Version::V12).await;
            write(&mut stream, &[&delimited(b"good")[..], bytes].concat()).await;
            assert_eq!(node.next().await, News::Theirs(Theirs::Opened(Version::V12)));
            assert_eq!(node.next().await, frame(b"good"));
            assert_eq!(node.next().await, News::Theirs(Theirs::TooLong(told)));
            assert_eq!(node.next().await, News::Theirs(Theirs::Ended));
            assert!(is_ended(&mut stream).await);
        }
        let mut stream = raw.open(Version::V12).await;
        write(&mut stream, &delimited(b"again")).await;
        assert_eq!(node.next().await, News::Theirs(Theirs::Opened(Version::V12)));
        assert_eq!(node.next().await, frame(b"again"));
    });
}

#[test]
fn a_stream_that_we_reset_is_told_to_have_ended() {
    block_on(async {
        let (mut node, mut raw) = node_and_raw().await;
        let mut stream = raw.open(Version::V12).await;
        write(&mut stream, &delimited(b"no RPC")).await;
        assert_eq!(node.next().await, News::Theirs(Theirs::Opened(Version::V12)));
        assert_eq!(node.next().await, frame(b"no RPC"));
        node.with(Behaviour::reset).await;
        assert_eq!(node.next().await, News::Theirs(Theirs::Ended));
        assert!(is_ended(&mut stream).await);
    });
}

#[test]
fn while_the_core_takes_no_gossip_a_bounded_part_of_it_waits_and_what_concerns_us_goes_on() {
    block_on(async {
        let (mut node, mut raw) = node_and_raw().await;
        node.connection().await;
        node.hear(false).await;
        let mut stream = raw.open(Version::V12).await;
        const FRAMES: usize = 2000;
        let sending = smol::spawn(async move {
            for number in 0..FRAMES {
                let bytes = [&number.to_be_bytes()[..], &[3; 2000]].concat();
                stream.write_all(&delimited(&bytes)).await.unwrap();
            }
            stream.flush().await.unwrap();
            stream
        });
        let mut incoming = raw.accept(Version::V11);
        let full = async {
            while node.with(|behaviour, _| behaviour.in_transit()).await < CONNECTION_BYTES_MAX {
                smol::future::yield_now().await;
            }
        };
        soon(full).await;
        node.open().await;
        let (_, _stream) = soon(incoming.next()).await.unwrap();
        assert_eq!(node.next().await, ours(Ours::Opened(Version::V11)), "ours is not held up");
        let waiting = node.with(|behaviour, _| behaviour.in_transit()).await;
        assert!(waiting < CONNECTION_BYTES_MAX + 2010 + OVERHEAD, "{waiting}");
        node.hear(true).await;
        assert_eq!(node.next().await, News::Theirs(Theirs::Opened(Version::V12)));
        for number in 0..FRAMES {
            let News::Theirs(Theirs::Frame(frame)) = node.next().await else {
                panic!("nothing else happens")
            };
            assert_eq!(frame[..8], number.to_be_bytes());
        }
        soon(sending).await;
        assert_eq!(node.with(|behaviour, _| behaviour.in_transit()).await, 0);
    });
}

#[test]
fn a_relayed_connection_gets_no_stream_and_gives_none() {
    use libp2p::core::upgrade::UpgradeInfo as _;
    use libp2p::swarm::ConnectionHandler as _;
    let relay = PeerId::random();
    let addr: Multiaddr = format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit").parse().unwrap();
    let id = ConnectionId::new_unchecked(1);
    let mut behaviour = Behaviour::new(1);
    let mut handler = behaviour.handle_established_inbound_connection(id, relay, &addr, &addr).unwrap();
    assert_eq!(handler.listen_protocol().upgrade().protocol_info().count(), 0);
    behaviour.open(id);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(handler.poll(&mut cx).is_pending());
    assert_eq!(behaviour.next(true), Some((id, ours(Ours::Ended(StreamEnd::Unsupported)))));
    assert!(handler.connection_keep_alive());
}

#[test]
fn a_connection_that_came_to_nothing_leaves_nothing() {
    let (id, peer) = (ConnectionId::new_unchecked(1), PeerId::random());
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let mut behaviour = Behaviour::new(1);
    let handler = behaviour.handle_established_inbound_connection(id, peer, &addr, &addr).unwrap();
    assert_eq!(behaviour.links.len(), 1);
    let error = libp2p::swarm::ListenError::Aborted;
    behaviour.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
        local_addr: &addr,
        send_back_addr: &addr,
        error: &error,
        connection_id: id,
        peer_id: Some(peer),
    }));
    drop(handler);
    assert!(behaviour.links.is_empty());
    assert_eq!(behaviour.in_transit(), 0);
}

#[test]
fn a_stock_peer_subscribes_and_publishes_and_its_frames_are_rpcs() {
    block_on(async {
        let key = Keypair::generate_ed25519();
        let config = gossipsub::ConfigBuilder::default().build().unwrap();
        let authenticity = gossipsub::MessageAuthenticity::Signed(key);
        let topic = gossipsub::IdentTopic::new("blocks");
        let mut stock: gossipsub::Behaviour = gossipsub::Behaviour::new(authenticity, config).unwrap();
        stock.subscribe(&topic).unwrap();
        let mut stock = Driven::start(stock, |_| ());
        let mut node = Node::start();
        let addr = node.driven.listens().await;
        stock.dial(&addr).await;
        assert_eq!(node.next().await, News::Theirs(Theirs::Opened(Version::V13)));
        let limits = RpcLimits::default();
        let subscribed = next_rpc(&mut node, |rpc| !rpc.subscriptions.is_empty()).await;
        let rpc = Rpc::decode(&subscribed, &limits).unwrap();
        assert!(rpc.subscriptions.iter().any(|s| s.topic == Some(b"blocks") && s.subscribe == Some(true)));

        node.open().await;
        loop {
            if node.next().await == ours(Ours::Opened(Version::V13)) {
                break;
            }
        }
        let mut subscription = Vec::new();
        let blocks = Subscription { subscribe: Some(true), topic: Some(b"blocks") };
        Rpc { subscriptions: vec![blocks], ..Rpc::default() }.encode(&mut subscription);
        node.send(&[&subscription]).await;
        let published = async {
            loop {
                let topic = topic.clone();
                let publish = move |swarm: &mut Swarm<gossipsub::Behaviour>| {
                    swarm.behaviour_mut().publish(topic, b"news".to_vec()).is_ok()
                };
                if stock.with(publish).await {
                    break;
                }
                smol::future::yield_now().await;
            }
        };
        soon(published).await;
        let frame = next_rpc(&mut node, |rpc| !rpc.publish.is_empty()).await;
        let rpc = Rpc::decode(&frame, &limits).unwrap();
        let message = &rpc.publish[0];
        assert_eq!((message.topic_str(), message.data), (Some("blocks"), Some(&b"news"[..])));
    });
}

/// The next frame that holds an RPC of this kind. Every frame is one.
async fn next_rpc(node: &mut Node, is_wanted: impl Fn(&Rpc<'_>) -> bool) -> Bytes {
    loop {
        if let News::Theirs(Theirs::Frame(frame)) = node.next().await
            && is_wanted(&Rpc::decode(&frame, &RpcLimits::default()).unwrap())
        {
            return frame;
        }
    }
}
