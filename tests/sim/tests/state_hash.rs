//! The state hash covers every field: each is altered in turn, and the hash is seen to change.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use peerage_core::codec;
use peerage_core::common::fair_map::FairMap;
use peerage_core::common::sip::HashKey;
use peerage_core::gossipsub::topic::TopicName;
use peerage_core::gossipsub::{Command, Topic, stream};
use peerage_core::input::OpResult;
use peerage_core::state::{Alter as _, state_hash};
use peerage_core::time::Instant;
use peerage_core::{Action, Core as _, Input, Node};
use peerage_proto::peer_id::PeerId;
use peerage_sim::scenario::{Played, play};

/// Scenarios that together fill every collection: DHT on and off, honest peers and worse ones, full collections.
const SEEDS: [u64; 10] = [2, 3, 4, 5, 6, 7, 8, 11, 15, 19];
/// What takes a full map of more than 64 owners to be set: a test of its own alters it there.
const OF_CROWDED_MAPS: &str = ".turn";

/// What is filled and emptied within one input, and so never seen between two: another test alters what it can of it.
const EMPTY_BETWEEN_INPUTS: [&str; 2] = ["conns.outboxes.ready", "router.judging"];
/// What no input fills: every topic that a node publishes on is one that it joined.
const OF_FOREIGN_TOPICS: &str = "router.mesh.fanouts";

/// The state after the first `inputs` inputs of a scenario.
fn replayed(played: &Played, inputs: usize) -> Node {
    let mut node = Node::new(played.config.clone(), played.seed, played.start).unwrap();
    for (now, input) in &played.inputs[..inputs] {
        node.handle(*now, input.clone(), &mut Vec::new());
    }
    node
}

fn leaves(node: &mut Node) -> Vec<String> {
    let mut leaves = Vec::new();
    node.state_mut().leaves("state", &mut leaves);
    leaves
}

/// For each path: a scenario and a number of inputs after which it is there to be altered.
fn places(plays: &[Played]) -> (BTreeMap<String, (usize, usize)>, Vec<String>) {
    let (mut found, mut empty) = (BTreeMap::new(), BTreeMap::new());
    for (nth, played) in plays.iter().enumerate() {
        let mut node = Node::new(played.config.clone(), played.seed, played.start).unwrap();
        for (inputs, (now, input)) in played.inputs.iter().enumerate() {
            node.handle(*now, input.clone(), &mut Vec::new());
            if inputs % 7 != 0 {
                continue;
            }
            for leaf in leaves(&mut node) {
                match leaf.strip_suffix('?') {
                    Some(path) => drop(empty.insert(path.to_string(), ())),
                    None => drop(found.entry(leaf).or_insert((nth, inputs + 1))),
                }
            }
        }
    }
    let never = empty
        .into_keys()
        .filter(|path| !found.contains_key(path) && !path.ends_with(OF_CROWDED_MAPS))
        .filter(|path| !EMPTY_BETWEEN_INPUTS.iter().any(|end| path.ends_with(end)))
        .filter(|path| !path.ends_with(OF_FOREIGN_TOPICS))
        .collect();
    (found, never)
}

#[test]
fn altering_any_field_of_the_state_changes_the_hash() {
    let plays: Vec<Played> = SEEDS.iter().map(|seed| play(*seed, false)).collect();
    let (places, never) = places(&plays);
    assert!(never.is_empty(), "no scenario fills {never:#?}");
    assert!(places.len() > 250, "{} fields", places.len());
    let mut at_place: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    for (path, place) in &places {
        at_place.entry(*place).or_default().push(path);
    }
    for ((nth, inputs), paths) in at_place {
        let hash = replayed(&plays[nth], inputs).state_hash();
        for path in paths {
            let mut node = replayed(&plays[nth], inputs);
            let mut leaf = leaves(&mut node).iter().position(|other| other == path).unwrap();
            assert!(node.state_mut().alter(&mut leaf), "{path} cannot be altered");
            assert_ne!(node.state_hash(), hash, "{path} is not part of the state hash");
            assert_eq!(state_hash(node.state_mut()), node.state_hash());
        }
    }
}

#[test]
fn altering_any_field_of_a_fanout_changes_the_hash() {
    let played = play(SEEDS[0], false);
    let subscribed = |node: &Node, topic: &TopicName| node.view().router().peers().subscribers(topic).count();
    let with_fanout = || {
        for inputs in (0..played.inputs.len()).step_by(7) {
            let mut node = replayed(&played, inputs);
            let mut invented = (0..50).map(|nth| format!("topic {nth}"));
            let foreign = invented.find(|name| subscribed(&node, &TopicName::from(&name[..])) > 0);
            let Some(topic) = foreign else { continue };
            let (topic, op) = (Topic::from(&topic[..]), codec::decode_all(&77u64.to_le_bytes()).unwrap());
            let now = node.view().last();
            let mut actions = Vec::new();
            node.ask_router(now, Command::Publish { op, topic, data: Bytes::new() }, &mut actions);
            let sign = actions.iter().find_map(|action| {
                let Action::Gossipsub(stream::Action::Sign { op, .. }) = action else { return None };
                Some(*op)
            });
            let signed = OpResult::Signed(Ok(Bytes::from_static(&[6; 64])));
            node.handle(now, Input::Op(sign.unwrap(), signed), &mut Vec::new());
            return node;
        }
        panic!("nobody subscribes to a foreign topic");
    };
    let (hash, paths) = (with_fanout().state_hash(), leaves(&mut with_fanout()));
    let of_fanouts: Vec<usize> =
        (0..paths.len()).filter(|nth| paths[*nth].contains(OF_FOREIGN_TOPICS)).collect();
    assert!(of_fanouts.len() >= 3, "{of_fanouts:?}");
    for nth in of_fanouts {
        let mut node = with_fanout();
        assert!(node.state_mut().alter(&mut { nth }), "{} cannot be altered", paths[nth]);
        assert_ne!(node.state_hash(), hash, "{} is not part of the state hash", paths[nth]);
    }
}

#[test]
fn altering_any_field_of_a_crowded_map_changes_its_hash() {
    let crowded = || {
        let mut map = FairMap::new(100, HashKey::known());
        for number in 0..110u32 {
            // A newcomer finds it full: somebody else has to give way.
            let owner = if number < 105 { number % 90 } else { number };
            let owner = PeerId::from_ed25519(&[owner as u8; 32]);
            let _ = map.insert(Instant::from_micros(u64::from(number)), number, owner, number);
        }
        map
    };
    let (hash, mut leaves) = (state_hash(&crowded()), Vec::new());
    crowded().leaves("map", &mut leaves);
    assert!(
        leaves.contains(&"map.turn".into()) && leaves.iter().all(|leaf| !leaf.ends_with('?')),
        "{leaves:?}"
    );
    for (nth, leaf) in leaves.iter().enumerate() {
        let mut altered = crowded();
        assert!(altered.alter(&mut { nth }), "{leaf} cannot be altered");
        assert_ne!(state_hash(&altered), hash, "{leaf} is not part of the hash");
    }
}
