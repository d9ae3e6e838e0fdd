//! What is remembered of one peer, and the parts of its score that follow from it alone.

use alloc::collections::{BTreeMap, BTreeSet};

use super::{Params, Place, TopicParams, VALUE_MAX};
use crate::gossipsub::topic::TopicName;
use crate::state::state;
use crate::time::Instant;

/// Adds to a counter that has a cap.
pub(super) fn add(counter: &mut f64, amount: f64, cap: f64) {
    *counter = (*counter + amount).min(cap);
}

/// Lets a counter fade; what is left of next to nothing is nothing.
fn fade(counter: &mut f64, decay: f64, zero: f64) {
    *counter *= decay;
    if *counter < zero {
        *counter = 0.0;
    }
}

state! {
    /// What a peer did in one topic.
    #[derive(Clone, Debug, Default)]
    pub(super) struct TopicStats {
        /// Since when it is in the mesh, if it is.
        grafted: Option<Instant>,
        /// How long it was there at the last decay, in microseconds.
        time_in_mesh: u64,
        /// Whether it was there long enough for a deficit of deliveries to count.
        is_active: bool,
        pub(super) first_deliveries: f64,
        mesh_deliveries: f64,
        mesh_failure: f64,
        pub(super) invalid: f64,
    }
}

impl TopicStats {
    pub(super) fn graft(&mut self, now: Instant) {
        (self.grafted, self.time_in_mesh, self.is_active) = (Some(now), 0, false);
    }

    /// Left the mesh: a deficit sticks.
    pub(super) fn prune(&mut self, params: &TopicParams) {
        let deficit = self.deficit(params);
        add(&mut self.mesh_failure, deficit * deficit, VALUE_MAX);
        (self.grafted, self.time_in_mesh, self.is_active) = (None, 0, false);
    }

    pub(super) fn delivered(&mut self, params: &TopicParams) {
        if self.grafted.is_some() {
            add(&mut self.mesh_deliveries, 1.0, params.mesh_deliveries_cap);
        }
    }

    fn deficit(&self, params: &TopicParams) -> f64 {
        let missing = params.mesh_deliveries_threshold - self.mesh_deliveries;
        if self.is_active && missing > 0.0 { missing } else { 0.0 }
    }

    fn score(&self, params: &TopicParams) -> f64 {
        // A quantum is at least a microsecond.
        let quantum = u64::try_from(params.time_in_mesh_quantum.as_micros()).unwrap_or(u64::MAX).max(1);
        let time = ((self.time_in_mesh / quantum) as f64).min(params.time_in_mesh_cap);
        let deficit = self.deficit(params);
        params.weight
            * (time * params.time_in_mesh_weight
                + self.first_deliveries * params.first_deliveries_weight
                + deficit * deficit * params.mesh_deliveries_weight
                + self.mesh_failure * params.mesh_failure_weight
                + self.invalid * self.invalid * params.invalid_weight)
    }

    fn decay(&mut self, now: Instant, params: &TopicParams, zero: f64) {
        fade(&mut self.first_deliveries, params.first_deliveries_decay, zero);
        fade(&mut self.mesh_deliveries, params.mesh_deliveries_decay, zero);
        fade(&mut self.mesh_failure, params.mesh_failure_decay, zero);
        fade(&mut self.invalid, params.invalid_decay, zero);
        if let Some(grafted) = self.grafted {
            let time = now.saturating_since(grafted);
            self.time_in_mesh = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            self.is_active |= time > params.mesh_deliveries_activation;
        }
    }
}

state! {
    /// What a peer did.
    #[derive(Clone, Debug, Default)]
    pub(super) struct Stats {
        /// Until when it is remembered, if it is gone.
        pub(super) gone_until: Option<Instant>,
        /// In the topics that are scored.
        topics: BTreeMap<TopicName, TopicStats>,
        pub(super) places: BTreeSet<Place>,
        pub(super) application: f64,
        pub(super) behaviour: f64,
    }
}

impl Stats {
    pub(super) fn topic(&mut self, topic: &TopicName) -> &mut TopicStats {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.clone(), TopicStats::default());
        }
        self.topics.entry(topic.clone()).or_default()
    }

    /// The peer is gone: what it did well is not kept.
    pub(super) fn leave(&mut self, params: &Params) {
        for (topic, stats) in &mut self.topics {
            stats.first_deliveries = 0.0;
            if let Some(of_topic) = params.topics.get(topic) {
                stats.prune(of_topic);
            }
        }
    }

    pub(super) fn topics_score(&self, params: &Params) -> f64 {
        let of_topics =
            self.topics.iter().filter_map(|(topic, stats)| Some((params.topics.get(topic)?, stats)));
        let sum: f64 = of_topics.map(|(params, stats)| stats.score(params)).sum();
        if params.topic_score_cap > 0.0 { sum.min(params.topic_score_cap) } else { sum }
    }

    /// The square of the breaches too many.
    pub(super) fn misbehaviour(&self, params: &Params) -> f64 {
        let excess = self.behaviour - params.behaviour_threshold;
        if excess > 0.0 { excess * excess } else { 0.0 }
    }

    pub(super) fn decay(&mut self, now: Instant, params: &Params) {
        let zero = params.decay_to_zero;
        for (topic, stats) in &mut self.topics {
            if let Some(of_topic) = params.topics.get(topic) {
                stats.decay(now, of_topic, zero);
            }
        }
        fade(&mut self.behaviour, params.behaviour_decay, zero);
    }
}
