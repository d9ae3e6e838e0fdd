//! What a world is made of.

use std::fmt;

use crate::entropy::{Dice, Entropy};

/// Classes of faults. A run has each of them switched off with some probability, so that what one hides another shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Processes die, stop and start again.
    Crash,
    /// The network falls apart.
    Partition,
    /// Processes stand still.
    Pause,
    /// Clocks run fast or slow, and jump.
    Clock,
    /// Brokers fail or are slow.
    Broker,
    /// Chains do not answer, or change their state.
    Chain,
    /// Stores are full or slow.
    Store,
    /// Peers that are no nodes of ours send whatever they like.
    Puppet,
    /// Clients of the feed do not read.
    Feed,
    /// Timeouts that are early, or too old.
    Timeout,
    /// Addresses that are private, or nobody's.
    Address,
    /// Connections are reset.
    Reset,
    /// Limits are so small that they are met all the time.
    Tight,
    /// There is no DHT.
    NoDht,
    /// The topics of the older family are on.
    Legacy,
    /// The reference with its quirks.
    Strict,
    /// The registry is so small that strangers fill it.
    Crowded,
    /// Streams fall silent without a word: their senders are not heard any more.
    Choke,
    /// Streams cannot be opened, or end while their connection stands.
    Stream,
    /// Signatures take their time, are not made, or cannot be checked.
    Signer,
}

impl Fault {
    /// Every class, in order.
    pub const ALL: [Self; 20] = [
        Self::Crash,
        Self::Partition,
        Self::Pause,
        Self::Clock,
        Self::Broker,
        Self::Chain,
        Self::Store,
        Self::Puppet,
        Self::Feed,
        Self::Timeout,
        Self::Address,
        Self::Reset,
        Self::Tight,
        Self::NoDht,
        Self::Legacy,
        Self::Strict,
        Self::Crowded,
        Self::Choke,
        Self::Stream,
        Self::Signer,
    ];

    /// How often it may happen in a world, in a hundred.
    const fn percent(self) -> u32 {
        match self as u32 {
            kind if kind == Self::Strict as u32 => 10,
            kind if kind >= Self::Tight as u32 && kind < Self::Choke as u32 => 30,
            _ => 65,
        }
    }
}

/// What a world is made of. With a list of steps it determines everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Seeds nodes, latencies and keys.
    pub seed: u64,
    /// Number of nodes.
    pub nodes: u32,
    /// Peers that are no nodes of ours.
    pub puppets: u32,
    /// Longest latency of a link, in milliseconds.
    pub latency_ms: u32,
    /// Bit by [`Fault`]: set, it may happen.
    pub faults: u32,
}

impl Options {
    /// A calm world: no faults, short latencies.
    pub fn calm(seed: u64, nodes: u32) -> Self {
        Self { seed, nodes, puppets: 4, latency_ms: 80, faults: 0 }
    }

    /// The world of a seed: each class of faults is off with some probability.
    pub fn from_seed(seed: u64, nodes: u32) -> Self {
        Self::draw(&mut Dice::new(seed, "options"), seed, nodes)
    }

    /// A world as `entropy` decides.
    pub fn draw(entropy: &mut impl Entropy, seed: u64, nodes: u32) -> Self {
        let mut options = Self::calm(seed, nodes);
        options.latency_ms = [5, 80, 400, 2000][entropy.below(4).unwrap_or(0) as usize];
        for fault in Fault::ALL {
            if entropy.below(100).unwrap_or(100) < fault.percent() {
                options = options.with(fault);
            }
        }
        options
    }

    /// The same with `fault`.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults |= 1 << fault as u32;
        self
    }

    /// Whether `fault` may happen.
    pub fn has(&self, fault: Fault) -> bool {
        self.faults & (1 << fault as u32) != 0
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let mut number = |word: &str| -> Option<u64> {
            (words.next()? == word).then_some(())?;
            words.next()?.parse().ok()
        };
        let narrow = |number: u64| u32::try_from(number).ok();
        Some(Self {
            seed: number("seed")?,
            nodes: narrow(number("nodes")?).filter(|nodes| (1..=2000).contains(nodes))?,
            puppets: narrow(number("puppets")?).filter(|puppets| *puppets <= 100)?,
            latency_ms: narrow(number("latency_ms")?).filter(|latency| *latency <= 60_000)?,
            faults: narrow(number("faults")?)?,
        })
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, puppets, latency_ms, faults } = self;
        write!(f, "seed {seed} nodes {nodes} puppets {puppets} latency_ms {latency_ms} faults {faults}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_switch_each_class_on_and_off() {
        for fault in Fault::ALL {
            let on = (0..200).filter(|seed| Options::from_seed(*seed, 3).has(fault)).count();
            assert!((5..195).contains(&on), "{fault:?} is on in {on} of 200");
        }
    }

    #[test]
    fn options_are_read_back() {
        let options = Options::from_seed(9, 50);
        assert_eq!(Options::parse(&options.to_string()), Some(options));
    }
}
