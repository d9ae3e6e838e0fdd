//! What is done at each heartbeat.

use super::{Hand, Router, bump, control_frames};
use crate::conn::outbox::Class;
use crate::gossipsub::lazy;
use crate::gossipsub::mesh::Heartbeat;
use crate::gossipsub::seen::IdDigest;
use crate::input;
use crate::sink::Sink;
use crate::time::Timer;

/// Ids that are over are swept so many items of work at once: each is a removal from a map.
const EXPIRED_PER_ITEM: u32 = 16;

impl Router {
    /// A heartbeat.
    pub fn heartbeat<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>) {
        let now = hand.now();
        hand.timers.set(Timer::Heartbeat, now.after(hand.setup.config.heartbeat_interval));
        self.peers.on_heartbeat();
        self.look_at_promises(hand);
        if let Some(scoring) = hand.setup.scoring() {
            let budget = hand.cx.limits.work_per_input_max.saturating_mul(EXPIRED_PER_ITEM);
            self.scores.decay(now, budget, &scoring.params);
        }
        let Heartbeat { changes, gossip } =
            self.with_mesh(now, hand.setup, |mesh, around| mesh.heartbeat(around));
        self.send_changes(hand, changes);
        for (topic, peers) in gossip {
            for peer in peers {
                let ids = lazy::ids_to_name(&self.cache, &topic, &hand.setup.lazy, &mut self.rng);
                for frame in control_frames::ihave(&topic, &ids) {
                    hand.queue(peer, Class::Bulk, frame);
                }
            }
        }
        self.cache.shift();
        self.backoffs.expire(now, hand.cx.limits.work_per_input_max.saturating_mul(EXPIRED_PER_ITEM));
        hand.conns.outboxes_mut().expire(now, &hand.setup.outbox);
        self.expire(hand);
    }

    fn look_at_promises<S>(&mut self, hand: &Hand<'_, '_, S>) {
        let seen = &self.seen;
        let broken = self
            .promises
            .take_broken(hand.cx.now.mono, |peer, id| seen.is_pending(peer, &IdDigest::of(&id.0)));
        for (peer, count) in broken {
            bump(&mut self.tally.promises_broken, count as usize);
            self.scores.penalize(&peer, count);
        }
    }

    /// Forgets ids that are over, so many as one input may.
    pub(super) fn expire<S>(&mut self, hand: &mut Hand<'_, '_, S>) {
        let now = hand.cx.now.mono;
        let budget = hand.cx.limits.work_per_input_max.saturating_mul(EXPIRED_PER_ITEM);
        if self.seen.expire(now, budget) {
            hand.timers.set_earlier(Timer::Router, now);
        }
    }
}
