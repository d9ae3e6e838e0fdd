//! The blockchain service: what the loop needs of it, and the embedded chain that serves when there is no other.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerage_core::input::{Input, OpResult};
use peerage_core::op::OpId;
use peerage_core::teranode::Input as TeranodeInput;
use peerage_core::teranode::chain::{Answer, Block, Event, FsmState, Query, QueryError, Status};
use peerage_proto::header::BlockHeader;
use peerage_proto::{Hash256, Network};

use crate::runtime::Alarm;

/// The blockchain service as the event loop sees it.
pub trait Chain: Send {
    /// Asks. Answered by [`Chain::poll_next`].
    fn start(&mut self, op: OpId, query: Query);
    /// The next answer, or notification while `demand` lasts.
    fn poll_next(&mut self, cx: &mut Context<'_>, demand: bool) -> Poll<Input>;
    /// Adds a block on the tip; `now` in seconds since the epoch.
    ///
    /// # Errors
    /// When this chain cannot be added to.
    fn add_block(&mut self, now: u32) -> Result<(Hash256, u32), String>;
    /// Makes a subtree, of a given hash or a new one.
    ///
    /// # Errors
    /// When this chain cannot be added to.
    fn add_subtree(&mut self, hash: Option<Hash256>) -> Result<Hash256, String>;
    /// Announces a block that the chain has.
    ///
    /// # Errors
    /// When it has none of that hash.
    fn announce_again(&mut self, hash: Hash256) -> Result<u32, String>;
    /// What is announced from now on is so `every` after what was announced before; at once with none.
    fn set_pace(&mut self, every: Option<Duration>);
}

/// A chain in memory that starts at the genesis block and grows when told.
#[derive(Debug)]
pub struct EmbeddedChain {
    network: Network,
    blocks: BTreeMap<Hash256, Block>,
    order: VecDeque<Hash256>,
    tip: Option<Block>,
    /// Of the whole chain, big-endian.
    work: [u8; 32],
    answers: VecDeque<(OpId, OpResult)>,
    /// When each is due, if not at once.
    events: VecDeque<(Option<Instant>, Event)>,
    pace: Option<Duration>,
    alarm: Box<dyn Alarm>,
    rings_at: Option<Instant>,
    waker: Option<Waker>,
}

/// Blocks remembered.
const BLOCKS_MAX: usize = 10_000;
/// More than enough at the regression network's target, where every second hash will do.
const ATTEMPTS_MAX: u32 = 10_000;

impl EmbeddedChain {
    /// The chain of `network`: RUNNING, at its genesis block.
    pub fn new(network: Network, alarm: Box<dyn Alarm>) -> Self {
        let mut chain = Self {
            network,
            blocks: BTreeMap::new(),
            order: VecDeque::new(),
            tip: None,
            work: [0; 32],
            answers: VecDeque::new(),
            events: [Event::Connected, Event::Fsm { state: Some(FsmState::Running) }]
                .map(|event| (None, event))
                .into(),
            pace: None,
            alarm,
            rings_at: None,
            waker: None,
        };
        if let Some(header) = network.genesis() {
            chain.append(header, 0);
        }
        chain
    }

    fn append(&mut self, header: BlockHeader, height: u32) -> Hash256 {
        let hash = header.hash();
        let own = header.target().map(|target| target.work().to_be_bytes()).unwrap_or_default();
        let work = add(&self.work, &own);
        self.work = work;
        let block = Block {
            header,
            height,
            miner: "peerage".to_owned(),
            chain_work: Bytes::copy_from_slice(&work),
            invalid: false,
        };
        self.tip = Some(block.clone());
        self.blocks.insert(hash, block);
        self.order.push_back(hash);
        if self.order.len() > BLOCKS_MAX {
            let oldest = self.order.pop_front();
            oldest.map(|hash| self.blocks.remove(&hash));
        }
        hash
    }

    fn tell(&mut self, event: Event) {
        let now = Instant::now();
        let last = self.events.back().and_then(|(due, _)| *due).filter(|due| *due > now);
        self.events.push_back((self.pace.map(|every| last.unwrap_or(now) + every), event));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether the next event is due; if not, the task is woken when it is.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.events.front().and_then(|(due, _)| *due) else { return true };
        if due <= Instant::now() {
            return true;
        }
        if self.rings_at != Some(due) {
            self.rings_at = Some(due);
            self.alarm.set(due);
        }
        self.alarm.poll(cx).is_ready()
    }

    fn answer(&self, query: &Query) -> Result<Answer, QueryError> {
        match query {
            Query::Header { hash } => {
                self.blocks.get(hash).cloned().map(Answer::Header).ok_or(QueryError::NotFound)
            }
            Query::Status => Ok(Answer::Status(Box::new(Status {
                best: self.tip.clone(),
                fsm: Some(FsmState::Running),
                tx_count: Some(0),
                subtree_count: Some(0),
                persisted_height: self.tip.as_ref().map(|tip| tip.height),
            }))),
        }
    }
}

impl Chain for EmbeddedChain {
    fn start(&mut self, op: OpId, query: Query) {
        let answer = self.answer(&query);
        self.answers.push_back((op, OpResult::Queried(answer)));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, demand: bool) -> Poll<Input> {
        if let Some((op, result)) = self.answers.pop_front() {
            return Poll::Ready(Input::Op(op, result));
        }
        if demand
            && self.is_due(cx)
            && let Some((_, event)) = self.events.pop_front()
        {
            return Poll::Ready(Input::Teranode(TeranodeInput::Chain(event)));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn add_block(&mut self, now: u32) -> Result<(Hash256, u32), String> {
        let bits = self.network.pow_limit_bits();
        let Some(tip) = self.tip.as_ref().filter(|_| bits == Network::Regtest.pow_limit_bits()) else {
            return Err(format!("the embedded chain mines on regtest, not on {}", self.network));
        };
        let mut root = [0; 32];
        getrandom::fill(&mut root).map_err(|error| format!("no randomness: {error}"))?;
        let time = now.max(tip.header.time().saturating_add(1));
        let height = tip.height.checked_add(1).ok_or_else(|| "the chain is full".to_owned())?;
        let mut header = BlockHeader::new(0x2000_0000, tip.header.hash(), Hash256(root), time, bits, 0);
        if !header.mine(ATTEMPTS_MAX) {
            return Err("no nonce was found".to_owned());
        }
        let hash = self.append(header, height);
        self.tell(Event::Block { hash: Bytes::copy_from_slice(hash.as_bytes()) });
        Ok((hash, height))
    }

    fn add_subtree(&mut self, hash: Option<Hash256>) -> Result<Hash256, String> {
        let hash = match hash {
            Some(hash) => hash,
            None => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
                Hash256(bytes)
            }
        };
        self.tell(Event::Subtree { hash: Bytes::copy_from_slice(hash.as_bytes()) });
        Ok(hash)
    }

    fn announce_again(&mut self, hash: Hash256) -> Result<u32, String> {
        let height = self.blocks.get(&hash).map(|block| block.height);
        let height = height.ok_or_else(|| "the embedded chain has no such block".to_owned())?;
        self.tell(Event::Block { hash: Bytes::copy_from_slice(hash.as_bytes()) });
        Ok(height)
    }

    fn set_pace(&mut self, every: Option<Duration>) {
        self.pace = every;
    }
}

/// The sum of two big-endian numbers; a carry out of the top is lost.
fn add(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut sum = [0; 32];
    let mut carry = false;
    for at in (0..32).rev() {
        let digit = u16::from(a[at]) + u16::from(b[at]) + u16::from(carry);
        let [high, low] = digit.to_be_bytes();
        sum[at] = low;
        carry = high != 0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::task::noop_waker_ref;

    #[derive(Debug)]
    struct Ring(smol::Timer);
    impl Alarm for Ring {
        fn set(&mut self, at: Instant) {
            self.0.set_at(at);
        }
        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.0.poll_unpin(cx).map(|_| ())
        }
    }

    fn alarm() -> Box<dyn Alarm> {
        Box::new(Ring(smol::Timer::never()))
    }

    #[test]
    fn a_mined_block_is_valid_and_stands_on_its_parent() {
        let mut chain = EmbeddedChain::new(Network::Regtest, alarm());
        let genesis = chain.tip.clone().unwrap();
        assert_eq!(genesis.height, 0);
        let (hash, height) = chain.add_block(1_764_201_600).unwrap();
        let Ok(Answer::Header(block)) = chain.answer(&Query::Header { hash }) else { panic!("no block") };
        assert_eq!((height, block.header.hash()), (1, hash));
        assert_eq!(block.header.previous(), genesis.header.hash());
        assert!(block.header.meets_own_target());
        assert!(block.chain_work > genesis.chain_work);
        assert_ne!(chain.add_block(0).unwrap().0, hash, "time goes on even if the clock does not");
    }

    #[test]
    fn it_starts_running_and_tells_of_blocks_only_on_demand() {
        let mut chain = EmbeddedChain::new(Network::Regtest, alarm());
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(chain.poll_next(&mut cx, false).is_pending());
        let mut seen = Vec::new();
        chain.add_block(0).unwrap();
        while let Poll::Ready(Input::Teranode(TeranodeInput::Chain(event))) = chain.poll_next(&mut cx, true) {
            seen.push(event);
        }
        assert!(matches!(
            seen[..],
            [Event::Connected, Event::Fsm { state: Some(FsmState::Running) }, Event::Block { .. }]
        ));
    }

    #[test]
    fn what_is_paced_is_told_at_its_time_and_in_order() {
        let mut chain = EmbeddedChain::new(Network::Regtest, alarm());
        let mut told = Vec::new();
        let begun = Instant::now();
        chain.set_pace(Some(Duration::from_millis(20)));
        let hashes = [1, 2, 3].map(|n| chain.add_subtree(Some(Hash256([n; 32]))).unwrap());
        chain.set_pace(None);
        let last = chain.add_subtree(Some(Hash256([4; 32]))).unwrap();
        futures::executor::block_on(std::future::poll_fn(|cx| {
            while told.len() < 6 {
                match chain.poll_next(cx, true) {
                    Poll::Ready(Input::Teranode(TeranodeInput::Chain(event))) => {
                        told.push((begun.elapsed(), event))
                    }
                    Poll::Ready(_) => panic!("nothing was asked"),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        }));
        for (nth, hash) in hashes.into_iter().chain([last]).enumerate() {
            let (at, event) = &told[2 + nth];
            assert_eq!(*event, Event::Subtree { hash: Bytes::copy_from_slice(hash.as_bytes()) });
            assert!(*at >= Duration::from_millis(20) * (nth as u32 + 1).min(3), "{at:?}");
        }
    }

    #[test]
    fn it_does_not_mine_on_a_real_network() {
        assert!(EmbeddedChain::new(Network::Mainnet, alarm()).add_block(0).is_err());
    }
}
