//! Swarms of which tests consist, each driven by a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, select_biased};
use futures_timer::Delay;
use libp2p::core::Multiaddr;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::upgrade;
use libp2p::identity::Keypair;
use libp2p::swarm::{Config, ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, Stream, StreamProtocol, Swarm, Transport as _, noise, yamux};
use libp2p_stream::{Control, IncomingStreams};
use peerage_core::gossipsub::peers::Version;

use super::super::splitter::tests::delimited;
use super::{Behaviour, News};

pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;

pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    let work = std::pin::pin!(work);
    match select(work, Delay::new(Duration::from_secs(20))).await {
        Either::Left((done, _)) => done,
        Either::Right(_) => panic!("nothing came in time"),
    }
}

fn swarm<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transport = MemoryTransport::default()
        .upgrade(upgrade::Version::V1)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let config = Config::with_executor(|task| smol::spawn(task).detach());
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

type Order<B> = Box<dyn FnOnce(&mut Swarm<B>) + Send>;

/// A swarm that is driven by a task of its own, and told what to do with its behaviour.
pub(super) struct Driven<B: NetworkBehaviour> {
    pub(super) id: PeerId,
    orders: mpsc::UnboundedSender<Order<B>>,
    connections: mpsc::UnboundedReceiver<ConnectionId>,
}

impl<B: NetworkBehaviour<ToSwarm: Send> + Send> Driven<B> {
    pub(super) fn start(behaviour: B, mut each: impl FnMut(&mut B) + Send + 'static) -> Self {
        let key = Keypair::generate_ed25519();
        let mut swarm = swarm(&key, behaviour);
        let (orders, mut receiver) = mpsc::unbounded::<Order<B>>();
        let (established, connections) = mpsc::unbounded();
        smol::spawn(async move {
            loop {
                select_biased! {
                    order = receiver.next() => match order {
                        Some(order) => order(&mut swarm),
                        None => break,
                    },
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::ConnectionEstablished { connection_id, .. } = event {
                            established.unbounded_send(connection_id).unwrap();
                        }
                    }
                }
                each(swarm.behaviour_mut());
            }
        })
        .detach();
        Self { id: key.public().to_peer_id(), orders, connections }
    }

    pub(super) async fn with<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Swarm<B>) -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let order = Box::new(|swarm: &mut Swarm<B>| drop(sender.send(order(swarm))));
        self.orders.unbounded_send(order).unwrap();
        receiver.await.unwrap()
    }

    pub(super) async fn listens(&self) -> Multiaddr {
        let addr: Multiaddr = format!("/memory/{}", port()).parse().unwrap();
        let listened = addr.clone();
        self.with(move |swarm| swarm.listen_on(listened).unwrap()).await;
        addr
    }

    pub(super) async fn dial(&mut self, addr: &Multiaddr) -> ConnectionId {
        let addr = addr.clone();
        self.with(move |swarm| swarm.dial(addr).unwrap()).await;
        soon(self.connections.next()).await.unwrap()
    }
}

/// Ports of the memory transport are the process's own: a counter never gives one twice.
fn port() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A node of ours with one connection.
pub(super) struct Node {
    pub(super) driven: Driven<Behaviour>,
    news: mpsc::UnboundedReceiver<News>,
    hearing: Arc<AtomicBool>,
    connection: Option<ConnectionId>,
}

impl Node {
    pub(super) fn start() -> Self {
        let hearing = Arc::new(AtomicBool::new(true));
        let (sender, news) = mpsc::unbounded();
        let heard = hearing.clone();
        let driven = Driven::start(Behaviour::new(FRAME_BYTES_MAX), move |behaviour: &mut Behaviour| {
            while let Some((_, news)) = behaviour.next(heard.load(Ordering::Relaxed)) {
                // A test that has ended hears no more.
                let _ = sender.unbounded_send(news);
            }
        });
        Self { driven, news, hearing, connection: None }
    }

    pub(super) async fn dial(&mut self, addr: &Multiaddr) {
        self.connection = Some(self.driven.dial(addr).await);
    }

    pub(super) async fn next(&mut self) -> News {
        soon(self.news.next()).await.unwrap()
    }

    pub(super) async fn connection(&mut self) -> ConnectionId {
        if self.connection.is_none() {
            self.connection = soon(self.driven.connections.next()).await;
        }
        self.connection.unwrap()
    }

    pub(super) async fn with<T: Send + 'static>(
        &mut self,
        order: impl FnOnce(&mut Behaviour, ConnectionId) -> T + Send + 'static,
    ) -> T {
        let connection = self.connection().await;
        self.driven.with(move |swarm| order(swarm.behaviour_mut(), connection)).await
    }

    pub(super) async fn open(&mut self) {
        self.with(Behaviour::open).await;
    }

    pub(super) async fn send(&mut self, frames: &[&[u8]]) {
        let frames = frames.iter().map(|frame| delimited(frame).into()).collect();
        self.with(|behaviour, connection| behaviour.send(connection, frames)).await;
    }

    pub(super) async fn hear(&self, hearing: bool) {
        self.hearing.store(hearing, Ordering::Relaxed);
        self.driven.with(|_| ()).await;
    }
}

/// Two nodes of ours, connected.
pub(super) async fn pair() -> (Node, Node) {
    let (mut one, other) = (Node::start(), Node::start());
    let addr = other.driven.listens().await;
    one.connection = Some(one.driven.dial(&addr).await);
    (one, other)
}

/// A peer whose streams are written by hand.
pub(super) struct Raw {
    /// Dropping it would stop it.
    _driven: Driven<libp2p_stream::Behaviour>,
    control: Control,
    node: PeerId,
}

/// A node of ours and a peer written by hand, connected.
pub(super) async fn node_and_raw() -> (Node, Raw) {
    let node = Node::start();
    let addr = node.driven.listens().await;
    let behaviour = libp2p_stream::Behaviour::new();
    let control = behaviour.new_control();
    let mut driven = Driven::start(behaviour, |_| ());
    driven.dial(&addr).await;
    let id = node.driven.id;
    (node, Raw { _driven: driven, control, node: id })
}

impl Raw {
    pub(super) async fn open(&mut self, version: Version) -> Stream {
        let protocol = StreamProtocol::new(version.protocol());
        soon(self.control.open_stream(self.node, protocol)).await.unwrap()
    }

    pub(super) fn accept(&mut self, version: Version) -> IncomingStreams {
        self.control.accept(StreamProtocol::new(version.protocol())).unwrap()
    }
}

pub(super) async fn write(stream: &mut Stream, bytes: &[u8]) {
    soon(stream.write_all(bytes)).await.unwrap();
    soon(stream.flush()).await.unwrap();
}

/// Whether the other end has ended a stream on which it says nothing.
pub(super) async fn is_ended(stream: &mut Stream) -> bool {
    matches!(soon(stream.read(&mut [0; 1])).await, Ok(0) | Err(_))
}
