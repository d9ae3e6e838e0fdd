//! A mesh of twelve nodes of every make, of which one at a time is restarted while three publish: each message reaches
//! each subscriber that is up exactly once.
//!
//! Nothing is waited for by time alone. A node is up when it has heard each publisher since its (re)start; what is published
//! while all are up must reach all; what is published while one is away must reach the others, and that one at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Node, Shell};
use crate::peer::{Make, Peer};
use crate::wire::Kind;
use crate::{Failure, LATE, SOON, retry};

/// Who a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours(Shell),
    Foreign(Make),
}

/// The members, in a circle. The first three publish and stay.
const MEMBERS: [Who; 12] = [
    Who::Foreign(Make::Raw),
    Who::Foreign(Make::Bus017),
    Who::Ours(Shell::Tokio),
    Who::Foreign(Make::Js),
    Who::Ours(Shell::Smol),
    Who::Foreign(Make::Bus022),
    Who::Foreign(Make::Rust),
    Who::Ours(Shell::Tokio),
    Who::Foreign(Make::Raw),
    Who::Ours(Shell::Smol),
    Who::Foreign(Make::Bus017),
    Who::Foreign(Make::Bus022),
];
const PUBLISHERS: usize = 3;

/// Each dials those so many places further on.
const STEPS: [usize; 3] = [1, 2, 4];

/// In which order members are restarted: every make comes soon.
const RESTARTED: [usize; 9] = [4, 10, 7, 3, 5, 6, 9, 8, 11];

/// Between two messages of a batch.
const PACE: Duration = Duration::from_millis(60);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// No restart is begun after so long.
    pub traffic: Duration,
    /// Restarts after which it is enough, at most.
    pub restarts_max: usize,
    /// Messages published while all are up, before each restart.
    pub batch: usize,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages published.
    pub published: usize,
    /// Deliveries that had to happen, and did.
    pub delivered: usize,
    /// Restarts.
    pub restarts: usize,
    /// Resident bytes of our nodes that were never restarted: when all were up for the first time, and at the end.
    pub resident_bytes: Vec<(&'static str, u64, u64)>,
}

enum Process {
    Ours(Box<Node>),
    Foreign(Box<Peer>),
}

struct Member {
    who: Who,
    process: Process,
    address: String,
    id: String,
    /// How often each message was delivered since the start of the process, by its hash.
    heard: BTreeMap<String, usize>,
    /// Of ours: how often the router handed on a message of each author.
    verdicts: BTreeMap<String, usize>,
}

/// The whole mesh.
struct Mesh {
    members: Vec<Member>,
    /// Who published each message, by its hash.
    published: BTreeMap<String, usize>,
    delivered: usize,
}

/// Runs the plan.
///
/// # Errors
/// If a member does not come up, or a message is lost or comes twice.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    let begin = Instant::now();
    let mut mesh = Mesh::start()?;
    for member in 0..MEMBERS.len() {
        mesh.await_up(member)?;
    }
    let before = mesh.resident_bytes()?;
    let mut restarts = 0;
    while restarts < plan.restarts_max && begin.elapsed() < plan.traffic {
        mesh.batch(plan.batch, None)?;
        mesh.restart(RESTARTED[restarts % RESTARTED.len()])?;
        restarts += 1;
    }
    mesh.batch(plan.batch, None)?;
    let resident_bytes = before.into_iter().zip(mesh.resident_bytes()?);
    let resident_bytes = resident_bytes.map(|((name, before), (_, after))| (name, before, after)).collect();
    Ok(Report { published: mesh.published.len(), delivered: mesh.delivered, restarts, resident_bytes })
}

fn seed(place: usize) -> String {
    format!("{:02x}", 0xa0 + place).repeat(32)
}

/// Whom the member dials.
fn targets(place: usize) -> impl Iterator<Item = usize> {
    STEPS.into_iter().map(move |step| (place + step) % MEMBERS.len())
}

impl Member {
    fn foreign(place: usize, make: Make, port: u16) -> Result<Self, Failure> {
        let seed = seed(place);
        let options = match make {
            Make::Bus017 | Make::Bus022 => json!({"seed": seed, "port": port}),
            Make::Raw | Make::Js | Make::Rust => {
                json!({"seed": seed, "listen": format!("/ip4/127.0.0.1/tcp/{port}")})
            }
        };
        let peer = Peer::start(make, &format!("{make:?} {place}"), options)?;
        let (address, id) = (peer.addr().to_owned(), peer.id().to_owned());
        Ok(Self::of(Who::Foreign(make), Process::Foreign(Box::new(peer)), address, id))
    }

    /// `known` are the addresses of those it dials, as far as they run.
    fn ours(place: usize, shell: Shell, known: &[String]) -> Result<Self, Failure> {
        let known = known.join("|");
        let settings = [("p2p_static_peers", known.as_str()), ("p2p_dht_mode", "server")];
        let node = Node::start(shell, &format!("{shell:?} {place}"), &settings)?;
        let (address, id) = (node.addr()?, node.id().to_owned());
        Ok(Self::of(Who::Ours(shell), Process::Ours(Box::new(node)), address, id))
    }

    fn of(who: Who, process: Process, address: String, id: String) -> Self {
        Self { who, process, address, id, heard: BTreeMap::new(), verdicts: BTreeMap::new() }
    }

    fn failure(&mut self, text: &str) -> Failure {
        match &mut self.process {
            Process::Ours(node) => node.process().failure(text),
            Process::Foreign(peer) => peer.process().failure(text),
        }
    }

    /// Reads what it told since it was asked last, and gives the messages that it announced itself.
    fn look(&mut self) -> Vec<String> {
        let topic = Kind::Subtree.topic();
        let (mut announced, text) =
            (Vec::new(), |value: &Value| value.as_str().unwrap_or_default().to_owned());
        let events = match &mut self.process {
            Process::Ours(node) => node.process().take(),
            Process::Foreign(peer) => peer.process().take(),
        };
        for event in events {
            match event["event"].as_str().unwrap_or_default() {
                "message" if event["topic"] == topic => {
                    *self.heard.entry(text(&event["json"]["Hash"])).or_default() += 1
                }
                "produced" if event["kind"] == "subtree" => {
                    *self.heard.entry(text(&event["hash"])).or_default() += 1
                }
                "verdict" if event["topic"] == "subtree" => {
                    *self.verdicts.entry(text(&event["source"])).or_default() += 1
                }
                "announced" if event["kind"] == "subtree" => announced.push(text(&event["hash"])),
                _ => {}
            }
        }
        announced
    }
}

impl Mesh {
    /// Starts all members, those that are dialled before those that dial where a node of ours dials another.
    fn start() -> Result<Self, Failure> {
        let mut members: Vec<Option<Member>> = Vec::new();
        for (place, who) in MEMBERS.into_iter().enumerate() {
            members.push(match who {
                Who::Foreign(make) => Some(Member::foreign(place, make, 0)?),
                Who::Ours(_) => None,
            });
        }
        for (place, who) in MEMBERS.into_iter().enumerate().rev() {
            let Who::Ours(shell) = who else { continue };
            let known = targets(place).filter_map(|t| members[t].as_ref().map(|m| m.address.clone()));
            let known: Vec<String> = known.collect();
            members[place] = Some(Member::ours(place, shell, &known)?);
        }
        let members = members.into_iter().flatten().collect();
        let mut mesh = Self { members, published: BTreeMap::new(), delivered: 0 };
        for place in 0..MEMBERS.len() {
            mesh.dial_from(place)?;
        }
        Ok(mesh)
    }

    /// Makes a foreign member dial whom it has to; ours do so by themselves.
    fn dial_from(&mut self, place: usize) -> Result<(), Failure> {
        targets(place).try_for_each(|target| self.dial(place, target))
    }

    fn dial(&mut self, from: usize, to: usize) -> Result<(), Failure> {
        let address = self.members[to].address.clone();
        match &mut self.members[from].process {
            Process::Ours(_) => Ok(()),
            // A peer that was restarted may still be known as connected, or be in a back-off.
            Process::Foreign(peer) => retry(SOON, || peer.connect(&address)),
        }
    }

    /// Reads what all have told.
    fn look(&mut self) {
        for place in 0..self.members.len() {
            for hash in self.members[place].look() {
                self.published.insert(hash, place);
            }
        }
    }

    /// Has a publisher publish one message.
    fn publish(&mut self, place: usize) -> Result<(), Failure> {
        let topic = Kind::Subtree.topic();
        match &mut self.members[place].process {
            Process::Ours(node) => node.announce("subtree", 1).map(drop),
            Process::Foreign(peer) => {
                let message = Kind::Subtree.message(peer.id());
                peer.publish(&topic, &message)?;
                self.published.insert(Kind::Subtree.mark(&message), place);
                Ok(())
            }
        }
    }

    /// Lets the time between two messages go by: nothing of what comes is looked for.
    fn pace(&mut self) -> Result<(), Failure> {
        let Process::Foreign(first) = &mut self.members[0].process else { return Ok(()) };
        first.process().expect_none("end of the world", PACE, |_| false)
    }

    /// Publishes so many messages, and waits until all who are up have each of them, once.
    fn batch(&mut self, count: usize, away: Option<usize>) -> Result<(), Failure> {
        self.look();
        let before: BTreeSet<String> = self.published.keys().cloned().collect();
        for nth in 0..count {
            self.publish(nth % PUBLISHERS)?;
            self.pace()?;
        }
        self.await_delivered(&before, count, away)
    }

    /// Waits until all who are up have what was published since `before`, which is `count` messages.
    fn await_delivered(
        &mut self,
        before: &BTreeSet<String>,
        count: usize,
        away: Option<usize>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + SOON;
        loop {
            self.look();
            let fresh: Vec<(String, usize)> = self
                .published
                .iter()
                .filter(|(hash, _)| !before.contains(*hash))
                .map(|(hash, by)| (hash.clone(), *by))
                .collect();
            let missing = self.missing(&fresh, away);
            if fresh.len() == count && missing.is_empty() {
                self.delivered += fresh.len() * (self.members.len() - 1 - usize::from(away.is_some()));
                return self.check();
            }
            if Instant::now() >= deadline {
                let place = missing.first().map_or(0, |(place, _)| *place);
                let text =
                    format!("{} of {count} published; missing (place, hash): {missing:?}", fresh.len());
                return Err(self.members[place].failure(&text));
            }
            self.pace()?;
        }
    }

    fn missing(&self, fresh: &[(String, usize)], away: Option<usize>) -> Vec<(usize, String)> {
        let up = self.members.iter().enumerate().filter(|(place, _)| Some(*place) != away);
        up.flat_map(|(place, member)| {
            let wants =
                fresh.iter().filter(move |(hash, by)| *by != place && !member.heard.contains_key(hash));
            wants.map(move |(hash, _)| (place, hash.clone()))
        })
        .collect()
    }

    /// Asserts that nobody was handed anything twice.
    fn check(&mut self) -> Result<(), Failure> {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let twice = member.heard.iter().find(|(_, count)| **count > 1).map(|(hash, _)| hash.clone());
            if let Some(hash) = twice {
                return Err(self.members[place].failure(&format!("{hash} came twice")));
            }
            if matches!(member.who, Who::Foreign(_)) {
                continue;
            }
            for publisher in (0..PUBLISHERS).filter(|publisher| *publisher != place) {
                let by = |hash: &&String| self.published.get(*hash) == Some(&publisher);
                let distinct = member.heard.keys().filter(by).count();
                let author = self.members[publisher].id.clone();
                let handed_on = member.verdicts.get(&author).copied().unwrap_or_default();
                if handed_on != distinct {
                    let text =
                        format!("{handed_on} messages of {author} handed on, {distinct} different ones");
                    return Err(self.members[place].failure(&text));
                }
            }
        }
        Ok(())
    }

    /// Publishes until the member has heard every publisher.
    fn await_up(&mut self, place: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + LATE;
        let others = (0..PUBLISHERS).filter(|publisher| *publisher != place).count();
        loop {
            self.look();
            let heard = &self.members[place].heard;
            let authors: BTreeSet<usize> =
                heard.keys().filter_map(|h| self.published.get(h).copied()).collect();
            if authors.iter().filter(|author| **author != place).count() == others {
                return self.settle();
            }
            if Instant::now() >= deadline {
                let text = format!("it has heard publishers {authors:?} alone");
                return Err(self.members[place].failure(&text));
            }
            for publisher in 0..PUBLISHERS {
                self.publish(publisher)?;
            }
            self.pace()?;
        }
    }

    /// Publishes until a round of messages has reached everybody, so that links just made bear.
    fn settle(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + LATE;
        loop {
            let settled = self.batch(2 * PUBLISHERS, None);
            if settled.is_ok() || Instant::now() >= deadline {
                return settled;
            }
        }
    }

    /// Restarts the member, while messages go on, and waits until it is up again.
    fn restart(&mut self, place: usize) -> Result<(), Failure> {
        let port =
            self.members[place].address.split('/').nth(4).and_then(|port| port.parse().ok()).unwrap_or(0);
        self.look();
        let fresh = match (MEMBERS[place], &mut self.members[place].process) {
            (Who::Ours(_), Process::Ours(node)) => {
                node.stop()?;
                None
            }
            (Who::Foreign(make), Process::Foreign(peer)) => {
                peer.process().finish(SOON)?;
                Some(make)
            }
            (Who::Ours(_), Process::Foreign(_)) | (Who::Foreign(_), Process::Ours(_)) => None,
        };
        self.members[place].heard.clear();
        self.members[place].verdicts.clear();
        self.batch(2 * PUBLISHERS, Some(place))?;
        if let Some(make) = fresh {
            self.members[place] = Member::foreign(place, make, port)?;
        } else if let Process::Ours(node) = &mut self.members[place].process {
            node.start_again()?;
        }
        self.dial_from(place)?;
        for from in (0..MEMBERS.len()).filter(|from| targets(*from).any(|target| target == place)) {
            self.dial(from, place)?;
        }
        self.await_up(place)
    }

    /// Resident bytes of our nodes.
    fn resident_bytes(&mut self) -> Result<Vec<(&'static str, u64)>, Failure> {
        let mut all = Vec::new();
        for member in &mut self.members {
            if let (Who::Ours(shell), Process::Ours(node)) = (member.who, &mut member.process) {
                let name = if shell == Shell::Tokio { "peerage" } else { "peerage-smol" };
                all.push((name, crate::usage::of(node.process().pid())?.rss_bytes));
            }
        }
        Ok(all)
    }
}
