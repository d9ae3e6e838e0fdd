//! Our nodes before a Go router that keeps scores in which nothing good makes up for anything bad (`go/raw/score.go`), with
//! liars on their other side.
//!
//! Each has a loopback address of its own. Go leaves loopback out of what it counts by address, so of that nothing is proved
//! here.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Node, Shell};
use crate::peer::{Make, Peer, TRY_EVERY};
use crate::wire::{self, Kind};
use crate::{Failure, LATE, SOON, retry};

/// So that the liar goes on lying.
const NO_BAN: (&str, &str) = ("p2p_ban_threshold", "1000000");

/// What the router thought of a node of ours.
#[derive(Clone, Debug)]
pub struct Score {
    /// Which node.
    pub name: String,
    /// The worst that it ever was.
    pub worst: f64,
    /// In how many of the router's meshes it is at the end: who is in none can do little wrong.
    pub meshes: u64,
    /// What the router tells of it besides.
    pub told: String,
}

/// What the router thought.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Of each of our nodes.
    pub ours: Vec<Score>,
    /// The worst of a peer that lied to the router itself.
    pub liar: f64,
    /// How often the scores were looked at.
    pub looks: u64,
    /// Rounds of traffic.
    pub rounds: usize,
}

/// Author and liars – our two nodes – the judge.
struct Court {
    judge: Peer,
    author: Peer,
    liar: Peer,
    ours: [Node; 2],
}

/// Runs rounds of traffic until the time is over, at least two.
///
/// # Errors
/// If a message does not come through, or nobody answers.
pub fn run(traffic: Duration) -> Result<Report, Failure> {
    let (mut court, begin) = (Court::start()?, Instant::now());
    let mut rounds = 0;
    while rounds < 2 || begin.elapsed() < traffic {
        court.round()?;
        court.leave_and_come_back()?;
        rounds += 1;
    }
    let mut report = Report { rounds, ..court.scores()? };
    report.liar = court.liars_score()?;
    Ok(report)
}

impl Court {
    fn start() -> Result<Self, Failure> {
        let ours = |shell, name, address: &str| {
            let listen = format!("/ip4/{address}/tcp/0");
            let settings = [("p2p_listen_addresses", listen.as_str()), ("p2p_dht_mode", "server"), NO_BAN];
            Node::start(shell, name, &settings)
        };
        let ours = [ours(Shell::Tokio, "tokio", "127.0.0.3")?, ours(Shell::Smol, "smol", "127.0.0.4")?];
        let both = json!([ours[0].addr()?, ours[1].addr()?]);
        let listen = |address: &str| json!({"connect": both, "listen": format!("/ip4/{address}/tcp/0")});
        let mut options = listen("127.0.0.2");
        options["score"] = json!(true);
        let judge = Peer::start(Make::Raw, "judge", options)?;
        let author = Peer::start(Make::Raw, "author", listen("127.0.0.5"))?;
        let mut options = listen("127.0.0.6");
        options["mode"] = json!("frames");
        let liar = Peer::start(Make::Raw, "liar", options)?;
        let mut court = Self { judge, author, liar, ours };
        court.author.until_crosses(Kind::Subtree, &mut court.judge, LATE)?;
        Ok(court)
    }

    /// Honest messages, short and long, both ways; among them what must not reach the judge.
    fn round(&mut self) -> Result<(), Failure> {
        let topic = Kind::Subtree.topic();
        for nth in 0..20 {
            self.lie()?;
            let (author, size) = (self.author.id().to_owned(), if nth % 4 == 0 { 20_000 } else { 300 });
            let message = wire::subtree_of_size(&author, size);
            self.author.publish(&topic, &message)?;
            self.judge.expect_message(Kind::Subtree, &Kind::Subtree.mark(&message), SOON)?;
            let back = wire::subtree(self.judge.id());
            self.judge.publish(&topic, &back)?;
            for ours in &mut self.ours {
                ours.expect_produced(&Kind::Subtree.mark(&back), SOON)?;
            }
        }
        Ok(())
    }

    /// Forged messages, promises that nobody keeps, refusals, to each of our nodes.
    fn lie(&mut self) -> Result<(), Failure> {
        let topic = Kind::Subtree.topic();
        let (liar, author) = (self.liar.id().to_owned(), self.author.id().to_owned());
        for ours in &self.ours {
            let to = ours.id().to_owned();
            let long = wire::subtree_of_size(&liar, 3_000);
            for forge in [json!({"corrupt": true}), json!({"from": author}), json!({"unsigned": true})] {
                self.liar.forge(&to, &topic, &long, &forge)?;
            }
            // Properly signed, and provably wrong.
            self.liar.forge(&to, &topic, &wire::subtree("somebody"), &json!({}))?;
            let rpc = json!({"ihave": [{"topic": topic, "fresh": 5}], "prune": [{"topic": topic}], "graft": [topic]});
            self.liar.write_rpc(&to, &rpc, 1)?;
        }
        Ok(())
    }

    /// The judge leaves a topic, which tells our nodes to keep away for 10 s, and comes back.
    fn leave_and_come_back(&mut self) -> Result<(), Failure> {
        let topic = Kind::Subtree.topic();
        for cmd in ["leave", "join"] {
            self.judge.process().call(json!({"cmd": cmd, "topic": topic}))?;
        }
        retry(LATE, || {
            let message = wire::subtree(self.author.id());
            self.author.publish(&topic, &message)?;
            self.judge.expect_message(Kind::Subtree, &Kind::Subtree.mark(&message), 8 * TRY_EVERY)
        })?;
        Ok(())
    }

    fn scores(&mut self) -> Result<Report, Failure> {
        let told = self.judge.process().call(json!({"cmd": "scores"}))?;
        let mut report = Report { looks: told["looks"].as_u64().unwrap_or_default(), ..Report::default() };
        for ours in &mut self.ours {
            let score = &told["peers"][ours.id()];
            let Some(worst) = score["worst"].as_f64() else {
                return Err(self.judge.process().failure(&format!("no score of ours: {told}")));
            };
            let (name, meshes) = (ours.process().name().to_owned(), score["meshes"].as_u64().unwrap_or(0));
            report.ours.push(Score { name, worst, meshes, told: score.to_string() });
        }
        Ok(report)
    }

    /// Has the liar lie to the judge, so that it shows that lies cost.
    fn liars_score(&mut self) -> Result<f64, Failure> {
        let (address, to) = (self.judge.addr().to_owned(), self.judge.id().to_owned());
        self.liar.connect(&address)?;
        let (judge, liar) = (&mut self.judge, &mut self.liar);
        let id = liar.id().to_owned();
        retry(SOON, || {
            liar.forge(&to, &Kind::Subtree.topic(), &wire::subtree(&id), &json!({"corrupt": true}))?;
            judge.process().expect_none("end of the world", TRY_EVERY, |_: &Value| false)?;
            let told = judge.process().call(json!({"cmd": "scores"}))?;
            match told["peers"][&id]["worst"].as_f64() {
                Some(worst) if worst < 0.0 => Ok(worst),
                _ => Err(judge.process().failure("lies cost nothing")),
            }
        })
    }
}
