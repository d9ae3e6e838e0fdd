//! What is due when a deadline passes: expired work only, each kind once.

use core::time::Duration;

use super::Node;
use super::inputs::save_addresses;
use crate::conn::DisconnectReason;
use crate::conn::trim::Worth;
use crate::gossipsub::watchdog;
use crate::input::Action;
use crate::sink::Sink;
use crate::time::{Now, Timer};

impl Node {
    pub(super) fn on_timeout(&mut self, now: Now, out: &mut impl Sink<Action>) {
        for timer in Timer::ALL {
            if self.state.timers.take_expired(timer, now.mono) {
                self.on_timer(now, timer, out);
            }
        }
    }

    fn on_timer(&mut self, now: Now, timer: Timer, out: &mut impl Sink<Action>) {
        let (mut cx, mut parts) = self.split(now, out);
        let config = parts.conn_config;
        match timer {
            Timer::Dial => {
                let bans = parts.teranode.bans();
                parts.conns.dial_due(&mut cx, config, parts.timers, |peer| bans.is_banned(now, peer));
            }
            Timer::Trim => {
                let interests = parts.interests;
                parts.conns.trim(&mut cx, config, parts.timers, |peer| {
                    if interests.in_mesh(peer) {
                        Worth::Protected
                    } else {
                        Worth::Points(100u32.saturating_mul(interests.topic_count(peer)))
                    }
                });
            }
            Timer::AddressCache => save_addresses(&mut cx, &mut parts),
            Timer::Discovery => {
                let strangers = parts.teranode.registry().strangers();
                parts.conns.discover(&mut cx, config, parts.timers, strangers);
            }
            Timer::Heartbeat => {
                let (router, mut hand) = parts.router(&mut cx);
                router.heartbeat(&mut hand);
            }
            Timer::Reopen => {
                let (router, mut hand) = parts.router(&mut cx);
                router.reopen(&mut hand);
            }
            Timer::Router => {
                let (router, mut hand) = parts.router(&mut cx);
                router.on_left_over(&mut hand);
            }
            Timer::Provide => parts.conns.provide(&mut cx, config, parts.timers),
            Timer::Watchdog => {
                if let Some(peer) = parts.watchdog.bark(now) {
                    parts.conns.disconnect(&mut cx, &peer, DisconnectReason::Deaf);
                }
                if !parts.watchdog.is_idle() {
                    parts.timers.set(Timer::Watchdog, now.mono.after(watchdog::INTERVAL));
                }
            }
            Timer::NodeStatus => {
                parts.timers.set(Timer::NodeStatus, now.mono.after(parts.env.config.status_interval));
                parts.teranode.tick_status(&mut cx);
            }
            Timer::FeedPing => {
                parts.timers.set(Timer::FeedPing, now.mono.after(parts.env.config.ping_interval));
                parts.teranode.ping_feed(&mut cx, &parts.env);
            }
            Timer::Sweep => {
                let budget = cx.limits.work_per_input_max;
                let left = parts.teranode.sweep(now, &parts.env, budget);
                let left = parts.conns.sweep(now, config, budget) || left;
                let delay = if left { Duration::ZERO } else { parts.env.config.sweep_interval };
                parts.timers.set(Timer::Sweep, now.mono.after(delay));
                parts.watchdog.sweep(now);
                let registry = parts.teranode.registry();
                parts.conns.forget_asked(|author| registry.get(author).is_some());
            }
        }
    }
}
