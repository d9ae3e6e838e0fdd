//! What is done to a world: steps that can be written down, read back, deleted and made smaller.
//!
//! A file of steps is text: a first line with the format's version, a line with the world, and one step a line, each a
//! word and its numbers. Steps name nodes, peers and links by a number taken modulo what exists, so that a shortened
//! list is still valid.

use std::fmt;

use crate::world::Options;

/// First line of a file of steps. The number is the format's version.
pub const MAGIC: &str = "peerage steps 1";

macro_rules! steps {
    ($($(#[$meta:meta])* $name:ident $word:literal { $($(#[$fmeta:meta])* $field:ident),* })*) => {
        /// One thing that is done to a world.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Step {
            $($(#[$meta])* $name { $($(#[$fmeta])* $field: u64),* },)*
        }

        impl Step {
            /// The word that stands for the step in a file.
            pub fn word(&self) -> &'static str {
                match self { $(Self::$name { .. } => $word,)* }
            }

            /// Its numbers, to make smaller.
            pub fn numbers_mut(&mut self) -> Vec<&mut u64> {
                match self { $(Self::$name { $($field),* } => vec![$($field),*],)* }
            }

            fn numbers(mut self) -> Vec<u64> {
                self.numbers_mut().into_iter().map(|number| *number).collect()
            }

            fn parse(line: &str) -> Option<Self> {
                let mut words = line.split_ascii_whitespace();
                let word = words.next()?;
                let step = match word {
                    $($word => Self::$name { $($field: words.next()?.parse().ok()?),* },)*
                    _ => return None,
                };
                words.next().is_none().then_some(step)
            }
        }

        /// One example of every step.
        pub const EXAMPLES: &[Step] = &[$(Step::$name { $($field: 3),* }),*];
    };
}

steps! {
    /// Time passes.
    Advance "advance" {
        /// Virtual milliseconds.
        ms
    }
    /// A node's chain mines a block on its tip.
    Mine "mine" {
        /// Which node.
        node
    }
    /// A node's block assembly makes a subtree.
    Subtree "subtree" {
        /// Which node.
        node,
        /// Makes the hash: the same number, the same subtree.
        salt
    }
    /// A node's validator refuses a transaction.
    Reject "reject" {
        /// Which node.
        node,
        /// Makes the transaction id.
        salt
    }
    /// A node's process dies; what its disk holds stays.
    Crash "crash" {
        /// Which node.
        node
    }
    /// A dead node starts again.
    Restart "restart" {
        /// Which node.
        node
    }
    /// A node is told to stop, and comes to its end.
    Stop "stop" {
        /// Which node.
        node
    }
    /// A node does nothing for a while.
    Pause "pause" {
        /// Which node.
        node,
        /// Virtual milliseconds.
        ms
    }
    /// The network falls apart: endpoints whose bit is set reach only each other, and so do the rest.
    Partition "partition" {
        /// Bit by endpoint.
        mask
    }
    /// The network is whole again.
    Heal "heal" {}
    /// A connection is reset.
    Reset "reset" {
        /// Which link.
        link
    }
    /// A message over its reader's limit ends a stream, and nobody is told; the connection stays.
    Choke "choke" {
        /// Which end of which link: twice the link's number, and one more for the end that was dialled.
        link,
        /// How much of it arrives, in KiB.
        kib
    }
    /// A node's stream ends; its connection stands.
    EndStream "end-stream" {
        /// Which end of which link: twice the link's number, and one more for the stream of the end that was dialled.
        link
    }
    /// A node's broker changes: 0 works, 1 refuses, 2 is slow.
    Broker "broker" {
        /// Which node.
        node,
        /// How it works.
        state
    }
    /// A node's chain changes: 0 answers, 1 does not.
    Chain "chain" {
        /// Which node.
        node,
        /// How it works.
        state
    }
    /// A node's chain changes its machine's state.
    Fsm "fsm" {
        /// Which node.
        node,
        /// 0 running, 1 catching blocks, 2 legacy syncing, 3 idle, 4 unknown.
        state
    }
    /// A node's store changes: 0 works, 1 is full, 2 is slow.
    Store "store" {
        /// Which node.
        node,
        /// How it works.
        state
    }
    /// A client joins a node's feed.
    FeedJoin "feed-join" {
        /// Which node.
        node
    }
    /// A client leaves a node's feed.
    FeedLeave "feed-leave" {
        /// Which node.
        node,
        /// Which client.
        client
    }
    /// A client of a node's feed does not read.
    FeedLag "feed-lag" {
        /// Which node.
        node,
        /// Which client.
        client
    }
    /// A peer that is no node of ours sends something; it connects first if it is not connected.
    Puppet "puppet" {
        /// Which puppet.
        puppet,
        /// To which node.
        node,
        /// What: see `world::puppet::KINDS`.
        kind,
        /// Makes the content.
        salt
    }
    /// A puppet closes its connections.
    PuppetLeave "puppet-leave" {
        /// Which puppet.
        puppet
    }
    /// A node hears of addresses.
    Found "found" {
        /// Which node.
        node,
        /// Of which endpoint.
        other,
        /// 0 true ones, 1 private ones, 2 nobody's.
        kind
    }
    /// A timeout that is not due.
    Spurious "spurious" {
        /// Which node.
        node
    }
    /// A timeout with a time that has passed.
    Stale "stale" {
        /// Which node.
        node,
        /// Milliseconds ago.
        ms
    }
    /// A node's wall clock jumps ahead.
    WallStep "wall-step" {
        /// Which node.
        node,
        /// Seconds.
        secs
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        self.numbers().iter().try_for_each(|number| write!(f, " {number}"))
    }
}

/// A world and what is done to it.
#[derive(Clone, PartialEq, Debug)]
pub struct Script {
    /// The world.
    pub options: Options,
    /// What is done to it.
    pub steps: Vec<Step>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}\n{}", self.options)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Script {
    /// Reads a file of steps.
    ///
    /// # Errors
    /// Which line cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().zip(1..);
        match lines.next() {
            Some((MAGIC, _)) => {}
            Some((other, _)) => return Err(format!("line 1: {other:?} where {MAGIC:?} was expected")),
            None => return Err("the file is empty".into()),
        }
        let (world, _) = lines.next().ok_or("line 2: the world is missing")?;
        let options = Options::parse(world).ok_or_else(|| format!("line 2: no world: {world:?}"))?;
        let steps = lines
            .filter(|(line, _)| !line.trim().is_empty())
            .map(|(line, at)| Step::parse(line).ok_or_else(|| format!("line {at}: no step: {line:?}")))
            .collect::<Result<_, _>>()?;
        Ok(Self { options, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_back_what_was_written() {
        let script = Script { options: Options::from_seed(7, 3), steps: EXAMPLES.to_vec() };
        assert_eq!(Script::parse(&script.to_string()), Ok(script));
    }

    #[test]
    fn a_broken_line_is_named() {
        let text = format!("{MAGIC}\n{}\nheal\nheal 1\n", Options::from_seed(7, 3));
        assert_eq!(Script::parse(&text), Err("line 4: no step: \"heal 1\"".into()));
        assert!(Script::parse("hello").is_err());
    }
}
