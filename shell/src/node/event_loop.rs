//! The loop: one input at a time into the core, every action of it started before the next (core, `contract`). Local
//! work comes first, remote work last; callers, viewers, chain, signals and network take turns. Starting only enqueues.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::stream::BoxStream;
use peerage_core::explain::Notice;
use peerage_core::input::{Action, Document, Input, Neighbour};
use peerage_core::teranode::{Action as TeranodeAction, Input as TeranodeInput};
use peerage_core::{Node, Pump};
use peerage_proto::Hash256;
use peerage_proto::control::{AnnounceKind, AnnounceReply, AnnounceRequest, Announced};
use serde_json::{Value, json};
use tonic::Status;

use super::assembly::cannot_listen;
use super::broker::Broker;
use super::chain::Chain;
use super::clock::{Clock, header_time};
use super::metrics::{self, ShellCounters};
use super::recording::Recording;
use super::report::Report;
use super::status::{self, Identity};
use super::store::FileStore;
use super::watch::Watch;
use crate::data_dir::files;
use crate::fault::{Fault, code};
use crate::http::control::Call;
use crate::http::hub::Hub;
use crate::p2p::P2p;
use crate::runtime::Alarm;

/// Everything that the loop drives.
pub struct EventLoop {
    pub(super) pump: Pump<Node>,
    pub(super) clock: Clock,
    pub(super) p2p: P2p,
    pub(super) chain: Box<dyn Chain>,
    pub(super) broker: Box<dyn Broker>,
    pub(super) store: FileStore,
    pub(super) hub: Hub,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) signals: BoxStream<'static, ()>,
    pub(super) report: Report,
    pub(super) recording: Option<Recording>,
    pub(super) identity: Identity,
    pub(super) floods: Arc<std::sync::atomic::AtomicU64>,
    pub(super) timer: Timer,
    pub(super) turn: usize,
    pub(super) health: Vec<(Neighbour, String)>,
    pub(super) memory_max: Option<u64>,
    pub(super) watch: Watch,
    pub(super) readiness: Readiness,
    pub(super) stopping: Option<Instant>,
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Whether the node has said that it is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readiness {
    /// Not every listener has an address yet.
    Listening,
    /// Each has one; further addresses of an unspecified one may be on their way.
    Due,
    /// It has.
    Said,
}

/// What happened.
enum Happening {
    Fact(Value),
    Input(Input),
    Call(Call),
    Signal,
    Drained,
}

/// Inputs in one go before other tasks of the process get their turn.
const INPUTS_MAX: u32 = 64;
/// Longest time between the wish to stop and the end.
const DRAIN_MAX: Duration = Duration::from_millis(1800);
/// Shortest time for the same, so that the last answers and goodbyes leave.
const DRAIN_MIN: Duration = Duration::from_millis(60);
/// WebSocket close code: going away.
const GOING_AWAY: u16 = 1001;
/// Things announced by one call at once.
const ANNOUNCE_MAX: u32 = 1000;
/// The same, so many a second.
const ANNOUNCE_PACED_MAX: u32 = 20_000;

impl EventLoop {
    /// Runs until the node has stopped.
    ///
    /// # Errors
    /// When it cannot start, or a second signal came while it stopped.
    pub async fn run(mut self) -> Result<(), Fault> {
        self.load();
        self.feed(Input::Start);
        let outcome = self.turns().await;
        let hash = self.pump.core().state_hash();
        if let Some(recording) = self.recording.take() {
            match recording.end(hash) {
                Ok(inputs) => self.report.event(&json!({"event": "recorded", "inputs": inputs})),
                Err(fault) => self.recording_ended(&fault),
            }
        }
        let hash = peerage_proto::hex::encode(&hash);
        self.report.event(&json!({"event": "stopped", "state_hash": hash}));
        self.report.close();
        outcome
    }

    async fn turns(&mut self) -> Result<(), Fault> {
        let mut inputs = 0;
        loop {
            if let Some(failed) = self.p2p.take_failure() {
                return Err(cannot_listen(&failed));
            }
            match poll_fn(|cx| self.poll_happening(cx)).await {
                Happening::Input(input) => self.feed(input),
                Happening::Call(call) => self.answer(call),
                Happening::Fact(fact) => self.report.event(&fact),
                Happening::Signal if self.stopping.is_some() => {
                    return Err(Fault::new(code::INTERRUPTED, "interrupted while stopping", ""));
                }
                Happening::Signal => self.stop("signal"),
                Happening::Drained => return Ok(()),
            }
            inputs = (inputs + 1) % INPUTS_MAX;
            if inputs == 0 {
                yield_now().await;
            }
        }
    }

    fn poll_happening(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        if let Poll::Ready(input) = self.poll_local(cx) {
            return Poll::Ready(Happening::Input(input));
        }
        let demand = self.pump.demand();
        self.hub.set_accepting(demand.feed && self.stopping.is_none());
        self.p2p.set_demand(demand.accept, demand.gossip);
        const SOURCES: usize = 5;
        for offset in 0..SOURCES {
            let source = (self.turn + offset) % SOURCES;
            let happening = match source {
                0 => self.poll_call(cx),
                1 => self
                    .hub
                    .poll_event(cx)
                    .map(|event| Happening::Input(Input::Teranode(TeranodeInput::Feed(event)))),
                2 => self.chain.poll_next(cx, demand.chain).map(Happening::Input),
                3 => self.poll_signal(cx),
                _ => self.p2p.poll_next(cx).map(Happening::Input),
            };
            if happening.is_ready() {
                self.turn = source + 1;
                return happening;
            }
        }
        if self.readiness == Readiness::Due {
            self.readiness = Readiness::Said;
            self.ready();
        }
        if let Poll::Ready(fact) = self.watch.poll(cx) {
            return Poll::Ready(Happening::Fact(fact));
        }
        self.poll_drained(cx)
    }

    fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        match self.signals.poll_next_unpin(cx) {
            Poll::Ready(Some(())) => Poll::Ready(Happening::Signal),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        match self.calls.poll_next_unpin(cx) {
            Poll::Ready(Some(call)) => Poll::Ready(Happening::Call(call)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Completions and deadlines.
    fn poll_local(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if let Poll::Ready(input) = self.store.poll_next(cx) {
            return Poll::Ready(input);
        }
        if let Poll::Ready(input) = self.broker.poll_next(cx) {
            return Poll::Ready(input);
        }
        let deadline = self.pump.deadline().map(|deadline| deadline.at.as_micros());
        self.timer.poll(cx, deadline, &self.clock).map(|()| Input::Timeout)
    }

    /// While stopping: whether everything has left.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        let Some(since) = self.stopping else { return Poll::Pending };
        let idle = self.store.is_idle() && self.hub.is_empty();
        let elapsed = since.elapsed();
        if elapsed >= DRAIN_MAX || idle && elapsed >= DRAIN_MIN {
            return Poll::Ready(Happening::Drained);
        }
        self.timer.wake_after(cx, DRAIN_MIN);
        Poll::Pending
    }

    /// Reads what the last run stored.
    fn load(&mut self) {
        let document = Document::AddressCache;
        match self.store.load(document) {
            Ok(Some(content)) => self.feed(Input::Loaded(document, content)),
            Ok(None) => {}
            Err(error) => {
                let what = super::store::name(document).to_owned();
                self.tell(&Notice::Unreadable { what, problem: error.to_string() });
            }
        }
    }

    /// One input into the core, and every action of it started.
    fn feed(&mut self, input: Input) {
        let now = self.clock.now();
        let core = self.pump.core();
        if let Some(recording) = &mut self.recording
            && let Err(fault) = recording.input(now, &input, || core.state_hash())
        {
            self.recording = None;
            self.recording_ended(&fault);
        }
        if let Input::Health { neighbour, detail, .. } = &input {
            self.health.retain(|(other, _)| other != neighbour);
            self.health.push((*neighbour, detail.clone()));
        }
        let mut notices = Vec::new();
        let Self { pump, p2p, chain, broker, store, hub, report, .. } = self;
        pump.feed(now, input, |action| match action {
            Action::Conn(action) => p2p.start_conn(action),
            Action::Gossipsub(action) => p2p.start_gossip(action),
            Action::Teranode(TeranodeAction::Query { op, query }) => chain.start(op, query),
            Action::Teranode(TeranodeAction::Produce { op, topic, key, value }) => {
                report.produced(topic, &value);
                broker.start(op, topic, key, value);
            }
            Action::Teranode(TeranodeAction::Feed(action)) => hub.start(action),
            Action::Teranode(TeranodeAction::SendDirect { op, to: _, data: _ }) => p2p.refuse_direct(op),
            Action::Store { op, document, content } => store.start(op, document, content),
            Action::Notice(notice) => notices.push(notice),
        });
        notices.iter().for_each(|notice| self.tell(notice));
    }

    fn tell(&mut self, notice: &Notice) {
        // The first line of a report is what the node is; until then its addresses are gathered.
        let early = matches!(notice, Notice::Listening { .. }) && self.readiness != Readiness::Said;
        if !early {
            self.report.notice(notice);
        }
        if let Notice::Unreadable { .. } = notice {
            self.set_aside(Document::AddressCache);
        }
        let listens = matches!(notice, Notice::Listening { .. }) && self.p2p.listens_everywhere();
        if listens && self.readiness == Readiness::Listening {
            self.readiness = Readiness::Due;
        }
    }

    /// Says once that the node is up, and what it is.
    pub(super) fn ready(&mut self) {
        let identity = &self.identity;
        let listening: Vec<String> =
            self.pump.core().view().conns().listening().iter().map(ToString::to_string).collect();
        self.report.event(&json!({
            "event": "ready",
            "version": env!("CARGO_PKG_VERSION"),
            "peer_id": identity.peer_id,
            "network": identity.network,
            "profile": identity.profile,
            "data_dir": identity.data_dir,
            "p2p": listening,
            "feed": identity.feed,
            "admin": identity.admin,
        }));
    }

    fn set_aside(&mut self, document: Document) {
        let path = self.store.path(document);
        let event = match files::set_aside(&path) {
            Ok(name) => {
                json!({"event": "set_aside", "what": path.display().to_string(), "as": name.display().to_string()})
            }
            Err(error) => {
                self.store.keep(document);
                json!({"event": "set_aside", "what": path.display().to_string(), "failed": error.to_string()})
            }
        };
        self.report.event(&event);
    }

    fn recording_ended(&mut self, fault: &Fault) {
        self.report
            .event(&json!({"event": "recording_ended", "problem": fault.problem, "remedy": fault.remedy}));
    }

    fn stop(&mut self, cause: &str) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Instant::now());
        self.report.event(&json!({"event": "stopping", "cause": cause}));
        self.feed(Input::Stop);
        self.hub.close_all(GOING_AWAY);
    }

    fn answer(&mut self, call: Call) {
        // A caller that has gone needs no answer.
        match call {
            Call::Announce(request, reply) => {
                let _ = reply.send(self.announce(&request));
            }
            Call::Status(reply) => {
                let core = self.pump.core();
                let now = self.clock.now();
                let _ = reply.send(status::reply(
                    &self.identity,
                    &core.view(),
                    core.state_hash(),
                    now,
                    &self.health,
                ));
            }
            Call::Metrics(reply) => {
                let shell = ShellCounters {
                    frames_unheard: self.p2p.unheard(),
                    frames_bytes_in_transit: self.p2p.in_transit(),
                    floods: self.floods.load(Ordering::Relaxed),
                    feed_refused: self.hub.refused(),
                    feed_clients: self.hub.len() as u64,
                    feed_dropped: self.hub.dropped(),
                    report_lost: self.report.lost(),
                    providers_refused: self.p2p.providers_refused(),
                    relieved: self.p2p.relieved(),
                    memory_max: self.memory_max,
                    listeners: self.watch.counts().collect(),
                };
                let _ = reply.send(metrics::page(&self.pump.core().view(), &shell));
            }
            Call::Shutdown(reply) => {
                let _ = reply.send(());
                self.stop("shutdown");
            }
        }
    }

    /// Lets the chain make or find what is to be announced; the core announces it as it does all the chain's news.
    fn announce(&mut self, request: &AnnounceRequest) -> Result<AnnounceReply, Status> {
        if self.stopping.is_some() {
            return Err(Status::unavailable("the node stops"));
        }
        let hash = match &request.hash {
            Some(text) => Some(
                Hash256::from_display(text)
                    .map_err(|_| Status::invalid_argument("hash: want 64 hex characters"))?,
            ),
            None => None,
        };
        let count = request.count.max(1);
        let most = if request.per_second > 0 { ANNOUNCE_PACED_MAX } else { ANNOUNCE_MAX };
        if count > most || hash.is_some() && count > 1 {
            return Err(Status::invalid_argument(format!("count: at most {most}, and 1 with a hash")));
        }
        let now = header_time(self.clock.now());
        let one = |chain: &mut dyn Chain| match (AnnounceKind::try_from(request.kind), hash) {
            (Ok(AnnounceKind::Block), None) => {
                chain.add_block(now).map(|(hash, height)| (hash, Some(height)))
            }
            (Ok(AnnounceKind::Block), Some(hash)) => {
                chain.announce_again(hash).map(|height| (hash, Some(height)))
            }
            (Ok(AnnounceKind::Subtree), hash) => chain.add_subtree(hash).map(|hash| (hash, None)),
            (Ok(AnnounceKind::Unspecified) | Err(_), _) => Err("kind: block or subtree".to_owned()),
        };
        self.chain.set_pace(Duration::from_secs(1).checked_div(request.per_second));
        let made: Result<Vec<_>, String> = (0..count).map(|_| one(&mut *self.chain)).collect();
        self.chain.set_pace(None);
        let announced = made.map_err(Status::failed_precondition)?;
        let announced = announced
            .into_iter()
            .map(|(hash, height)| Announced { hash: hash.to_string(), height })
            .collect();
        Ok(AnnounceReply { announced })
    }
}

/// One alarm for the earliest deadline. Moving it costs, so it is left where it is when it would ring too early.
pub(super) struct Timer {
    alarm: Box<dyn Alarm>,
    rings_at: Option<Instant>,
}

impl Timer {
    pub(super) fn new(alarm: Box<dyn Alarm>) -> Self {
        Self { alarm, rings_at: None }
    }

    /// Ready when `deadline` (microseconds of `clock`) has passed.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<u64>, clock: &Clock) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let now = clock.mono_us();
        if deadline <= now {
            return Poll::Ready(());
        }
        self.wake_after(cx, Duration::from_micros(deadline - now));
        Poll::Pending
    }

    fn wake_after(&mut self, cx: &mut Context<'_>, wait: Duration) {
        let now = Instant::now();
        let until = now.checked_add(wait).unwrap_or(now);
        if self.rings_at.is_none_or(|at| until < at || at <= now) {
            self.alarm.set(until);
            self.rings_at = Some(until);
        }
        if self.alarm.poll(cx).is_ready() {
            // It rang between the look at the clock and now: look again.
            self.rings_at = None;
            cx.waker().wake_by_ref();
        }
    }
}

/// Lets the other tasks of the process run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
