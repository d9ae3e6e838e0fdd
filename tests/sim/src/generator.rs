//! From decisions to steps: one generator for simulation, shrinking and fuzzing.

use crate::entropy::{Dice, Entropy};
use crate::step::{Script, Step};
use crate::world::{Fault, KINDS, Options};

/// Draws steps that suit a world.
#[derive(Debug)]
pub struct Generator<'o, E> {
    options: &'o Options,
    entropy: E,
}

/// What may be drawn, how often, and which class of faults it belongs to.
const TABLE: &[(u32, Option<Fault>, &str)] = &[
    (40, None, "advance"),
    (6, None, "mine"),
    (4, None, "subtree"),
    (3, None, "reject"),
    (3, None, "feed-join"),
    (2, None, "feed-leave"),
    (2, Some(Fault::Crash), "crash"),
    (6, Some(Fault::Crash), "restart"),
    (1, Some(Fault::Crash), "stop"),
    (2, Some(Fault::Pause), "pause"),
    (1, Some(Fault::Partition), "partition"),
    (2, Some(Fault::Partition), "heal"),
    (3, Some(Fault::Reset), "reset"),
    (3, Some(Fault::Choke), "choke"),
    (3, Some(Fault::Stream), "end-stream"),
    (3, Some(Fault::Broker), "broker"),
    (2, Some(Fault::Chain), "chain"),
    (3, Some(Fault::Chain), "fsm"),
    (2, Some(Fault::Store), "store"),
    (2, Some(Fault::Feed), "feed-lag"),
    (30, Some(Fault::Puppet), "puppet"),
    (2, Some(Fault::Puppet), "puppet-leave"),
    (3, Some(Fault::Address), "found"),
    (2, Some(Fault::Timeout), "spurious"),
    (2, Some(Fault::Timeout), "stale"),
    (1, Some(Fault::Clock), "wall-step"),
];

/// What the first puppet sends most: offences, and what would be accepted of anybody else.
const HOT: [u64; 7] = [8, 9, 10, 10, 0, 2, 4];

impl<'o, E: Entropy> Generator<'o, E> {
    /// A generator for the world of `options`.
    pub fn new(options: &'o Options, entropy: E) -> Self {
        Self { options, entropy }
    }

    /// The next step; none when the entropy is exhausted.
    pub fn step(&mut self) -> Option<Step> {
        let rows = TABLE.iter().filter(|(_, fault, _)| fault.is_none_or(|fault| self.options.has(fault)));
        let rows: Vec<(u32, &str)> = rows.map(|(weight, _, word)| (*weight, *word)).collect();
        let mut ticket = self.entropy.below(rows.iter().map(|(weight, _)| weight).sum())?;
        let word = rows.iter().find_map(|(weight, word)| match ticket.checked_sub(*weight) {
            Some(left) => {
                ticket = left;
                None
            }
            None => Some(*word),
        });
        self.of_word(word.unwrap_or("advance"))
    }

    fn number(&mut self, bound: u32) -> Option<u64> {
        self.entropy.below(bound).map(u64::from)
    }

    fn of_word(&mut self, word: &str) -> Option<Step> {
        let node = self.number(self.options.nodes)?;
        Some(match word {
            "mine" => Step::Mine { node },
            "subtree" => Step::Subtree { node, salt: self.number(1000)? },
            "reject" => Step::Reject { node, salt: self.number(20)? },
            "crash" => Step::Crash { node },
            "restart" => Step::Restart { node },
            "stop" => Step::Stop { node },
            "pause" => Step::Pause { node, ms: self.number(20_000)? },
            "partition" => Step::Partition { mask: self.mask()? },
            "heal" => Step::Heal {},
            "reset" => Step::Reset { link: self.number(10_000)? },
            "choke" => Step::Choke { link: self.number(20_000)?, kib: self.number(1024)? },
            "end-stream" => Step::EndStream { link: self.number(20_000)? },
            "broker" => Step::Broker { node, state: self.number(3)? },
            "chain" => Step::Chain { node, state: self.number(2)? },
            "fsm" => Step::Fsm { node, state: self.number(5)? },
            "store" => Step::Store { node, state: self.number(3)? },
            "feed-join" => Step::FeedJoin { node },
            "feed-leave" => Step::FeedLeave { node, client: self.number(100)? },
            "feed-lag" => Step::FeedLag { node, client: self.number(100)? },
            "puppet" => {
                // Hot and cold: the first puppet talks as much as all others.
                let puppets = self.options.puppets;
                let puppet = self.number(2 * puppets)?.saturating_sub(u64::from(puppets));
                let (mut kind, salt) = (self.number(KINDS as u32)?, self.number(100_000)?);
                if puppet == 0 && salt % 3 > 0 {
                    // And the first one is bad enough to be banned here and there, and still speaks elsewhere.
                    kind = HOT[(salt % HOT.len() as u64) as usize];
                }
                Step::Puppet { puppet, node, kind, salt }
            }
            "puppet-leave" => Step::PuppetLeave { puppet: self.number(self.options.puppets)? },
            "found" => {
                Step::Found { node, other: self.number(self.options.nodes + 4)?, kind: self.number(3)? }
            }
            "spurious" => Step::Spurious { node },
            "stale" => Step::Stale { node, ms: self.number(5000)? },
            "wall-step" => Step::WallStep { node, secs: self.number(100_000)? },
            _ => {
                let longest = [10, 300, 3000, 30_000][self.number(4)? as usize];
                Step::Advance { ms: self.number(longest)? }
            }
        })
    }

    fn mask(&mut self) -> Option<u64> {
        (0..4).try_fold(0, |mask, _| Some(mask << 16 | self.number(1 << 16)?))
    }
}

/// The script of a seed: `secs` virtual seconds of `nodes` nodes.
pub fn script(seed: u64, nodes: u32, secs: u64) -> Script {
    let options = Options::from_seed(seed, nodes);
    let mut generator = Generator::new(&options, Dice::new(seed, "steps"));
    let (mut steps, mut left) = (Vec::new(), secs * 1000);
    while let Some(mut step) = generator.step().filter(|_| left > 0) {
        if let Step::Advance { ms } = &mut step {
            *ms = (*ms).min(left);
            left -= *ms;
        }
        steps.push(step);
    }
    Script { options, steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::EXAMPLES;

    #[test]
    fn every_step_can_be_drawn() {
        let options = Fault::ALL.into_iter().fold(Options::calm(1, 3), Options::with);
        let mut generator = Generator::new(&options, Dice::new(1, "steps"));
        let drawn: Vec<&str> = (0..5000).filter_map(|_| Some(generator.step()?.word())).collect();
        for example in EXAMPLES {
            assert!(drawn.contains(&example.word()), "{} is never drawn", example.word());
        }
    }

    #[test]
    fn a_seed_has_one_script_and_it_lasts_as_long_as_asked() {
        let total = |script: &Script| -> u64 {
            let ms = |step: &Step| if let Step::Advance { ms } = step { *ms } else { 0 };
            script.steps.iter().map(ms).sum()
        };
        let one = script(5, 3, 60);
        assert_eq!(one, script(5, 3, 60));
        assert_ne!(one, script(6, 3, 60));
        assert_eq!(total(&one), 60_000);
    }
}
