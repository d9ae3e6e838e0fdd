//! What is looked at now and then: whether the data directory still stands, and what the system says about names.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures_timer::Delay;
use serde_json::{Value, json};

use crate::data_dir::DataDir;
use crate::http::server::{FAILURES_MIN, Tally};

/// Between two looks at the data directory.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks whether the data directory still stands and the listeners work, and tells when that changes.
#[derive(Debug)]
pub struct Watch {
    data_dir: Arc<DataDir>,
    stood: bool,
    listeners: Vec<Watched>,
    facts: VecDeque<Value>,
    next: Delay,
}

#[derive(Debug)]
struct Watched {
    name: &'static str,
    tally: Arc<Tally>,
    /// Failures when it was looked at last.
    seen: u64,
    failed: bool,
}

impl Watched {
    /// Whether nobody gets in, as the listener knows, or as its failures since the last look show.
    fn is_failing(&mut self) -> bool {
        let failed = self.tally.failed();
        let new = failed - std::mem::replace(&mut self.seen, failed);
        self.tally.is_failing() || new >= u64::from(FAILURES_MIN)
    }
}

impl Watch {
    /// Everything is well so far.
    pub fn new(data_dir: Arc<DataDir>, listeners: &[(&'static str, Arc<Tally>)]) -> Self {
        Self {
            data_dir,
            stood: true,
            listeners: listeners
                .iter()
                .map(|(name, tally)| Watched { name, tally: Arc::clone(tally), seen: 0, failed: false })
                .collect(),
            facts: VecDeque::new(),
            next: Delay::new(INTERVAL),
        }
    }

    /// What there is to tell.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Value> {
        while self.next.poll_unpin(cx).is_ready() {
            self.next.reset(INTERVAL);
            self.look();
        }
        self.facts.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// The counts of a listener: connections that gave way, and failures to accept.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        self.listeners.iter().map(|watched| (watched.name, watched.tally.displaced(), watched.tally.failed()))
    }

    fn look(&mut self) {
        let stands = self.data_dir.stands();
        if stands != std::mem::replace(&mut self.stood, stands) {
            self.facts.push_back(told(stands, self.data_dir.path()));
        }
        for watched in &mut self.listeners {
            let failing = watched.is_failing();
            if failing != std::mem::replace(&mut watched.failed, failing) {
                let event = if failing { "listener_failing" } else { "listener_works" };
                let mut fact = json!({"event": event, "listener": watched.name});
                if failing {
                    fact["problem"] = "nobody gets in: the system refuses every connection".into();
                    fact["remedy"] = "look whether the process has file descriptors left (ulimit -n)".into();
                }
                self.facts.push_back(fact);
            }
        }
    }
}

fn told(stands: bool, path: &Path) -> Value {
    let path = path.display().to_string();
    if stands {
        return json!({"event": "data_dir_back", "data_dir": path});
    }
    json!({
        "event": "data_dir_gone",
        "data_dir": path,
        "problem": "the data directory was removed or replaced while the node runs: nothing that is stored now will be found again, and no client finds the node",
        "remedy": "put it back, or stop the node with a signal and start it again",
    })
}

/// What is to be told when the system's settings name no name server: the node runs, names cannot be dialled.
pub fn no_name_server(resolv_conf: &Path) -> Option<Value> {
    let names = std::fs::read(resolv_conf).is_ok_and(|text| names_a_server(&String::from_utf8_lossy(&text)));
    (!names).then(|| {
        json!({
            "event": "no_name_server",
            "problem": format!("{} names no name server: addresses with names cannot be dialled", resolv_conf.display()),
        })
    })
}

fn names_a_server(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        let address = |word: &str| word.split('%').next().is_some_and(|ip| ip.parse::<IpAddr>().is_ok());
        words.next() == Some("nameserver") && words.next().is_some_and(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::tests::Scratch;

    #[test]
    fn a_listener_that_fails_again_and_again_is_told_of_once_and_so_is_the_end_of_it() {
        let scratch = Scratch::new();
        let data_dir = Arc::new(DataDir::open(&scratch.0).unwrap());
        let tally = Arc::<Tally>::default();
        let mut watch = Watch::new(data_dir, &[("p2p", Arc::clone(&tally))]);
        let mut told = |failures: u32| {
            (0..failures).for_each(|_| tally.fail());
            watch.look();
            watch.facts.drain(..).map(|fact| fact["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(told(9).is_empty(), "a few connections may die in the backlog");
        assert_eq!(told(10), ["listener_failing"]);
        assert!(told(50).is_empty());
        assert_eq!(told(0), ["listener_works"]);
    }

    #[test]
    fn a_system_without_a_name_server_is_told_of() {
        for (text, names) in [
            ("", false),
            ("# nameserver 127.0.0.53\nsearch lan\n", false),
            ("nameserver\n", false),
            ("search lan\nnameserver 127.0.0.53\n", true),
            ("  nameserver fe80::1%eth0", true),
        ] {
            assert_eq!(names_a_server(text), names, "{text:?}");
        }
        let scratch = Scratch::new();
        let missing = no_name_server(&scratch.0.join("resolv.conf")).unwrap();
        assert_eq!(missing["event"], "no_name_server");
        std::fs::write(scratch.0.join("resolv.conf"), "nameserver 127.0.0.53").unwrap();
        assert_eq!(no_name_server(&scratch.0.join("resolv.conf")), None);
    }
}
