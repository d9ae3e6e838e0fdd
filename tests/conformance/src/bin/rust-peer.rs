#![forbid(unsafe_code)]
//! Stock rust-libp2p gossipsub as a foreign peer, driven like the Go ones: a first line of options on standard input, then
//! commands; events on standard output. It ends with its standard input.
//!
//! Options: `topics`, `max_message_size`, `seed` (64 hex digits), `listen` (a multiaddr). Commands: `publish` (topic; json or
//! size), `flood` (topic, count, rate, run), `connect` (addr; answered when the dial has begun). Each message of others is an
//! event `message` (topic, from, json).

use std::error::Error;
use std::time::Duration;

use libp2p::futures::StreamExt as _;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, PublishError};
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use peerage_conformance::wire;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::{Instant, sleep_until};

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossipsub: gossipsub::Behaviour,
    identify: identify::Behaviour,
}

/// Messages that are still to be sent, at their due times.
struct Flood {
    topic: IdentTopic,
    run: u64,
    sent: u64,
    count: u64,
    next: Instant,
    every: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let options: Value = serde_json::from_str(&lines.next_line().await?.unwrap_or_default())?;
    let size = options["max_message_size"].as_u64().unwrap_or(1 << 20);
    let mut swarm = swarm(key(&options)?, usize::try_from(size)?)?;
    for topic in options["topics"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        swarm.behaviour_mut().gossipsub.subscribe(&IdentTopic::new(topic))?;
    }
    swarm.listen_on(options["listen"].as_str().unwrap_or("/ip4/127.0.0.1/tcp/0").parse()?)?;
    let mut flood: Option<Flood> = None;
    loop {
        let due = flood.as_ref().map(|flood| flood.next);
        tokio::select! {
            event = swarm.select_next_some() => {
                told(&swarm, &event);
            }
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let command: Value = serde_json::from_str(&line)?;
                match on_command(&mut swarm, &command)? {
                    Some(begun) => flood = Some(begun),
                    None => emit(&json!({"event": "done", "id": command["id"]})),
                }
            }
            () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                flood = flood.take().and_then(|flood| drip(&mut swarm, flood));
            }
        }
    }
}

fn key(options: &Value) -> Result<Keypair, Box<dyn Error>> {
    match options["seed"].as_str() {
        Some(seed) => Ok(Keypair::ed25519_from_bytes(wire::unhex(seed).ok_or("the seed is no hex")?)?),
        None => Ok(Keypair::generate_ed25519()),
    }
}

/// Tells of what others want to know of: the address, and messages.
fn told(swarm: &Swarm<Behaviour>, event: &SwarmEvent<BehaviourEvent>) {
    if let SwarmEvent::NewListenAddr { address, .. } = event {
        let id = swarm.local_peer_id().to_string();
        emit(&json!({"event": "ready", "addrs": [format!("{address}/p2p/{id}")], "peer_id": id}));
    }
    if let SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message { message, .. })) = event
    {
        report(message);
    }
}

/// Tells of a message, its inner JSON if it is in an envelope and is any.
fn report(message: &gossipsub::Message) {
    let envelope: Value = serde_json::from_slice(&message.data).unwrap_or_default();
    let inner = wire::unbase64(envelope["data"].as_str().unwrap_or_default());
    let inner: Value = serde_json::from_slice(&inner).unwrap_or_default();
    let from = message.source.map(|author| author.to_string());
    emit(&json!({"event": "message", "topic": message.topic.as_str(), "from": from, "json": inner}));
}

fn swarm(key: Keypair, max_message_size: usize) -> Result<Swarm<Behaviour>, Box<dyn Error>> {
    let config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(max_message_size)
        .message_id_fn(|message| {
            let mut id = message.source.map(|peer| peer.to_bytes()).unwrap_or_default();
            id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_be_bytes());
            id.into()
        })
        .build()?;
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let signed = MessageAuthenticity::Signed(key.clone());
            let identify = identify::Config::new("/rust-peer/1.0.0".to_owned(), key.public());
            Ok(Behaviour {
                gossipsub: gossipsub::Behaviour::new(signed, config)?,
                identify: identify::Behaviour::new(identify),
            })
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    Ok(swarm)
}

/// Does what is asked; a flood is begun and answered at its end.
fn on_command(swarm: &mut Swarm<Behaviour>, command: &Value) -> Result<Option<Flood>, Box<dyn Error>> {
    let topic = IdentTopic::new(command["topic"].as_str().unwrap_or_default());
    let id = swarm.local_peer_id().to_string();
    match command["cmd"].as_str() {
        Some("publish") => {
            let inner = match command["size"].as_u64() {
                Some(bytes) => wire::subtree_of_size(&id, usize::try_from(bytes)?),
                None => command["json"].clone(),
            };
            // With nobody there the caller tries again.
            let _ = publish(swarm, &topic, inner.to_string().as_bytes());
            Ok(None)
        }
        Some("connect") => {
            let address: Multiaddr = command["addr"].as_str().unwrap_or_default().parse()?;
            // Whoever is connected already, or cannot be reached, is not the caller's concern.
            let _ = swarm.dial(address);
            Ok(None)
        }
        Some("flood") => Ok(Some(Flood {
            topic,
            run: command["run"].as_u64().unwrap_or_default(),
            sent: 0,
            count: command["count"].as_u64().unwrap_or_default(),
            next: Instant::now(),
            every: Duration::from_secs(1) / u32::try_from(command["rate"].as_u64().unwrap_or(1))?.max(1),
        })),
        other => Err(format!("no command {other:?}").into()),
    }
}

/// Sends the next message of a flood and plans the one after it.
fn drip(swarm: &mut Swarm<Behaviour>, mut flood: Flood) -> Option<Flood> {
    let mut message = wire::subtree(&swarm.local_peer_id().to_string());
    message["Hash"] = json!(format!("f100d5eb{:08x}{:048x}", flood.run, flood.sent));
    // Nobody may be there at the moment: that is what the test is about.
    let _ = publish(swarm, &flood.topic, message.to_string().as_bytes());
    flood.sent += 1;
    flood.next += flood.every;
    (flood.sent < flood.count).then_some(flood)
}

fn publish(swarm: &mut Swarm<Behaviour>, topic: &IdentTopic, inner: &[u8]) -> Result<(), PublishError> {
    let payload = json!({"name": "rust", "data": wire::base64(inner)}).to_string();
    swarm.behaviour_mut().gossipsub.publish(topic.hash(), payload.into_bytes()).map(drop)
}

fn emit(event: &Value) {
    println!("{event}");
}
