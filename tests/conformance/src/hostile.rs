//! Many peers that mean harm, each in its own way, against one node: in this process, on one thread.
//!
//! Some speak the protocol as far as it serves them: TCP, Noise, yamux, and then streams of pubsub by hand. Whoever is closed
//! comes again under another id.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use libp2p::core::{Endpoint, upgrade};
use libp2p::futures::AsyncWriteExt as _;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, noise, tcp, yamux};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::wire::topics;

/// A crowd that is at work until it is dropped.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

/// What the crowd has done.
#[derive(Debug, Default)]
pub struct Tally {
    /// Sockets that were opened.
    pub sockets: AtomicU64,
    /// Of them: those that got past the handshakes.
    pub connections: AtomicU64,
    /// Bytes written to streams.
    pub bytes: AtomicU64,
}

impl Crowd {
    /// Lets `count` peers loose on the node at `addr` (a multiaddr of IPv4 and TCP, with or without its id).
    ///
    /// # Errors
    /// When the address is none, or the thread does not start.
    pub fn start(addr: &str, count: usize) -> Result<Self, Failure> {
        let wrong = || Failure::new(format!("{addr}: no IPv4 and TCP"));
        let plain = addr.split("/p2p/").next().unwrap_or_default();
        let mut words = plain.split('/').skip(2);
        let socket = format!("{}:{}", words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
        let socket: SocketAddr = socket.parse().map_err(|_| wrong())?;
        let plain: Multiaddr = plain.parse().map_err(|_| wrong())?;
        let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::<Tally>::default());
        let shared = (Arc::clone(&stop), Arc::clone(&tally));
        let body = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                for n in 0..count {
                    tokio::spawn(one(n, socket, plain.clone(), Arc::clone(&shared.1)));
                }
                while !shared.0.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(20)).await;
                }
            });
        };
        let thread = std::thread::Builder::new().name("crowd".to_owned()).spawn(body);
        let thread = thread.map_err(|e| Failure::new(format!("the crowd does not start: {e}")))?;
        Ok(Self { stop, tally, thread: Some(thread) })
    }

    /// What it has done so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

/// How long one waits until it comes again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one stays at most.
const STAY: Duration = Duration::from_secs(30);

/// One peer: the same harm again and again.
async fn one(n: usize, socket: SocketAddr, addr: Multiaddr, tally: Arc<Tally>) {
    loop {
        let work = async {
            match n % 8 {
                0 => says_nothing(socket, &tally).await,
                1 => loris(socket, &tally).await,
                harm => {
                    if let Ok(mut peer) = Peer::connect(&addr, &tally).await {
                        // It ends when the node closes it: that is what it is for.
                        let _ = peer.harm(harm, &tally).await;
                    }
                }
            }
        };
        let _ = timeout(STAY, work).await;
        sleep(AGAIN).await;
    }
}

/// Opens a socket and waits for its end.
async fn says_nothing(socket: SocketAddr, tally: &Tally) {
    let Ok(mut stream) = TcpStream::connect(socket).await else { return };
    tally.sockets.fetch_add(1, Ordering::Relaxed);
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Begins the handshake, one byte a second.
async fn loris(socket: SocketAddr, tally: &Tally) {
    let Ok(mut stream) = TcpStream::connect(socket).await else { return };
    tally.sockets.fetch_add(1, Ordering::Relaxed);
    for byte in b"\x13/multistream/1.0.0\n" {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

struct Peer {
    muxer: StreamMuxerBox,
    streams: Vec<SubstreamBox>,
}

/// Longest time until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of a frame that are announced; the longest that is taken.
const FRAME_BYTES: usize = 1 << 20;

impl Peer {
    async fn connect(addr: &Multiaddr, tally: &Tally) -> Result<Self, String> {
        let key = Keypair::generate_ed25519();
        let noise = noise::Config::new(&key).map_err(|e| e.to_string())?;
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(upgrade::Version::V1)
            .authenticate(noise)
            .multiplex(yamux::Config::default())
            .boxed();
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(addr.clone(), opts).map_err(|e| e.to_string())?;
        tally.sockets.fetch_add(1, Ordering::Relaxed);
        let connected = timeout(CONNECT, dial).await.map_err(|e| e.to_string())?;
        let (_, muxer) = connected.map_err(|e| e.to_string())?;
        tally.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Self { muxer, streams: Vec::new() })
    }

    /// Opens a stream and asks for a protocol without waiting for the answer.
    async fn open(&mut self, protocol: &str) -> std::io::Result<()> {
        let muxer = &mut self.muxer;
        let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.map_err(std::io::Error::other)?;
        let mut hello = b"\x13/multistream/1.0.0\n".to_vec();
        hello.push(protocol.len() as u8 + 1);
        hello.extend_from_slice(protocol.as_bytes());
        hello.push(b'\n');
        write(muxer, &mut stream, &hello).await?;
        self.streams.push(stream);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], tally: &Tally) -> std::io::Result<()> {
        let Some(stream) = self.streams.last_mut() else { return Ok(()) };
        write(&mut self.muxer, stream, bytes).await?;
        tally.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Moves what comes and goes, and reads no stream, until the connection ends.
    async fn stay(&mut self) -> std::io::Result<()> {
        let muxer = &mut self.muxer;
        loop {
            let _ = poll_fn(|cx| muxer.poll_unpin(cx)).await.map_err(std::io::Error::other)?;
        }
    }

    async fn harm(&mut self, harm: usize, tally: &Tally) -> std::io::Result<()> {
        match harm {
            // A long frame that never comes whole.
            2 => {
                self.open("/meshsub/1.2.0").await?;
                self.write(&length(FRAME_BYTES), tally).await?;
                for _ in 0..FRAME_BYTES / 4096 - 1 {
                    self.write(&[7; 4096], tally).await?;
                }
                self.stay().await
            }
            // Streams whose protocol is never said, each as full as its window.
            3 => {
                for _ in 0..64 {
                    self.open("/nothing/that/is/spoken").await?;
                    self.write(&[0xff; 32 << 10], tally).await?;
                }
                self.stay().await
            }
            // It subscribes to everything and reads nothing, not even its socket.
            4 => {
                self.subscribe(tally).await?;
                sleep(STAY).await;
                Ok(())
            }
            // Messages with a wrong signature, as fast as they go.
            5 => {
                self.subscribe(tally).await?;
                for n in 0..u64::MAX {
                    self.write(&forged(n, 40 << 10), tally).await?;
                }
                Ok(())
            }
            // Ids that nobody has, and topics that nobody speaks of.
            6 => {
                self.open("/meshsub/1.1.0").await?;
                for n in 0..u64::MAX {
                    self.write(&inventions(n), tally).await?;
                }
                Ok(())
            }
            // An honest look, and nothing more.
            _ => {
                self.subscribe(tally).await?;
                self.stay().await
            }
        }
    }

    async fn subscribe(&mut self, tally: &Tally) -> std::io::Result<()> {
        self.open("/meshsub/1.2.0").await?;
        let mut rpc = Vec::new();
        for topic in topics() {
            let mut subscription = vec![8, 1];
            field(&mut subscription, 2, topic.as_bytes());
            field(&mut rpc, 1, &subscription);
            let mut graft = Vec::new();
            field(&mut graft, 1, topic.as_bytes());
            let mut control = Vec::new();
            field(&mut control, 3, &graft);
            field(&mut rpc, 3, &control);
        }
        self.write(&framed(&rpc), tally).await
    }
}

/// Writes to a stream while the connection moves.
async fn write(muxer: &mut StreamMuxerBox, stream: &mut SubstreamBox, bytes: &[u8]) -> std::io::Result<()> {
    let mut writing = Box::pin(async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    poll_fn(|cx| {
        // Its end is seen by the stream as well.
        while muxer.poll_unpin(cx).is_ready_and_well() {}
        writing.as_mut().poll(cx)
    })
    .await
}

trait Well {
    fn is_ready_and_well(&self) -> bool;
}

impl<T, E> Well for std::task::Poll<Result<T, E>> {
    fn is_ready_and_well(&self) -> bool {
        matches!(self, Self::Ready(Ok(_)))
    }
}

fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn framed(rpc: &[u8]) -> Vec<u8> {
    [&length(rpc.len())[..], rpc].concat()
}

/// Appends a length-delimited field.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    out.extend(length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// A message of an author that nobody knows, under a signature that is none.
fn forged(n: u64, bytes: usize) -> Vec<u8> {
    let mut author = vec![0, 36, 8, 1, 18, 32];
    author.extend(Keypair::generate_ed25519().public().to_peer_id().to_bytes().split_off(6));
    let mut message = Vec::new();
    field(&mut message, 1, &author);
    field(&mut message, 2, &vec![n as u8; bytes]);
    field(&mut message, 3, &n.to_be_bytes());
    field(&mut message, 4, topics()[1].as_bytes());
    field(&mut message, 5, &[9; 64]);
    let mut rpc = Vec::new();
    field(&mut rpc, 2, &message);
    framed(&rpc)
}

fn inventions(n: u64) -> Vec<u8> {
    let mut rpc = Vec::new();
    let mut subscription = vec![8, 1];
    field(&mut subscription, 2, format!("{n}{}", "t".repeat(400)).as_bytes());
    field(&mut rpc, 1, &subscription);
    let mut ihave = Vec::new();
    field(&mut ihave, 1, topics()[0].as_bytes());
    for id in 0..100_u64 {
        field(&mut ihave, 2, &(n * 100 + id).to_be_bytes());
    }
    let mut control = Vec::new();
    field(&mut control, 1, &ihave);
    field(&mut rpc, 3, &control);
    framed(&rpc)
}
