//! What is scored, and how much it weighs.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::codec::codec_struct;
use crate::error::ConfigError;
use crate::gossipsub::topic::TopicName;

/// Largest weight, cap or threshold, and largest value of any counter. Products of these are far from infinity, and so no
/// score can be infinite or no number.
pub const VALUE_MAX: f64 = 1e9;

/// Scoring of one topic. All weights zero: nothing is scored.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopicParams {
    /// Weight of the topic's score in the whole.
    pub weight: f64,
    /// P1, time in the mesh: weight, at least 0.
    pub time_in_mesh_weight: f64,
    /// P1: what counts as one.
    pub time_in_mesh_quantum: Duration,
    /// P1: at most.
    pub time_in_mesh_cap: f64,
    /// P2, first to deliver a message: weight, at least 0.
    pub first_deliveries_weight: f64,
    /// P2: what is left of it after each interval.
    pub first_deliveries_decay: f64,
    /// P2: at most.
    pub first_deliveries_cap: f64,
    /// P3, too few deliveries while in the mesh: weight of the deficit's square, at most 0.
    pub mesh_deliveries_weight: f64,
    /// P3: what is left of the deliveries after each interval.
    pub mesh_deliveries_decay: f64,
    /// P3: at most.
    pub mesh_deliveries_cap: f64,
    /// P3: below is a deficit.
    pub mesh_deliveries_threshold: f64,
    /// P3: a copy this long after the verdict still counts as delivered.
    pub mesh_deliveries_window: Duration,
    /// P3: time in the mesh from which it counts.
    pub mesh_deliveries_activation: Duration,
    /// P3b, left the mesh with a deficit: weight, at most 0.
    pub mesh_failure_weight: f64,
    /// P3b: what is left of it after each interval.
    pub mesh_failure_decay: f64,
    /// P4, invalid messages: weight of the number's square, at most 0.
    pub invalid_weight: f64,
    /// P4: what is left of it after each interval.
    pub invalid_decay: f64,
}

impl Default for TopicParams {
    fn default() -> Self {
        Self {
            weight: 1.0,
            time_in_mesh_weight: 0.0,
            time_in_mesh_quantum: Duration::from_secs(1),
            time_in_mesh_cap: 3_600.0,
            first_deliveries_weight: 0.0,
            first_deliveries_decay: 0.5,
            first_deliveries_cap: 2_000.0,
            mesh_deliveries_weight: 0.0,
            mesh_deliveries_decay: 0.5,
            mesh_deliveries_cap: 100.0,
            mesh_deliveries_threshold: 20.0,
            mesh_deliveries_window: Duration::from_millis(10),
            mesh_deliveries_activation: Duration::from_secs(5),
            mesh_failure_weight: 0.0,
            mesh_failure_decay: 0.5,
            invalid_weight: 0.0,
            invalid_decay: 0.3,
        }
    }
}

/// Scoring. With no topics and no weights every score is 0.
#[derive(Clone, PartialEq, Debug)]
pub struct Params {
    /// By topic; others are not scored.
    pub topics: BTreeMap<TopicName, TopicParams>,
    /// The sum over all topics is at most this; 0 for no cap.
    pub topic_score_cap: f64,
    /// P5, what the application thinks of the peer: weight.
    pub application_weight: f64,
    /// P6, many peers at one address: weight of the surplus' square, at most 0.
    pub colocation_weight: f64,
    /// P6: peers at one address that are nothing special, at least 1.
    pub colocation_threshold: u32,
    /// P7, breaches of protocol: weight of the excess' square, at most 0.
    pub behaviour_weight: f64,
    /// P7: that many are nothing special.
    pub behaviour_threshold: f64,
    /// P7: what is left of it after each interval.
    pub behaviour_decay: f64,
    /// Between decays.
    pub decay_interval: Duration,
    /// What is less counts as zero.
    pub decay_to_zero: f64,
    /// How long a score that is not positive outlives the connection.
    pub retain: Duration,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            topic_score_cap: 0.0,
            application_weight: 0.0,
            colocation_weight: 0.0,
            colocation_threshold: 1,
            behaviour_weight: 0.0,
            behaviour_threshold: 0.0,
            behaviour_decay: 0.9,
            decay_interval: Duration::from_secs(1),
            decay_to_zero: 0.01,
            retain: Duration::from_secs(3_600),
        }
    }
}

codec_struct!(TopicParams {
    weight,
    time_in_mesh_weight,
    time_in_mesh_quantum,
    time_in_mesh_cap,
    first_deliveries_weight,
    first_deliveries_decay,
    first_deliveries_cap,
    mesh_deliveries_weight,
    mesh_deliveries_decay,
    mesh_deliveries_cap,
    mesh_deliveries_threshold,
    mesh_deliveries_window,
    mesh_deliveries_activation,
    mesh_failure_weight,
    mesh_failure_decay,
    invalid_weight,
    invalid_decay,
});
codec_struct!(Params {
    topics,
    topic_score_cap,
    application_weight,
    colocation_weight,
    colocation_threshold,
    behaviour_weight,
    behaviour_threshold,
    behaviour_decay,
    decay_interval,
    decay_to_zero,
    retain,
});

/// Values that a parameter may have.
#[derive(Clone, Copy)]
enum Range {
    Any,
    Positive,
    Negative,
    Decay,
}

fn hold(key: &str, value: f64, range: Range) -> Result<(), ConfigError> {
    let (fits, remedy) = match range {
        Range::Any => (true, "use a number of at most 1e9 either way"),
        Range::Positive => (value >= 0.0, "use a number from 0 to 1e9"),
        Range::Negative => (value <= 0.0, "use a number from -1e9 to 0"),
        Range::Decay => (value > 0.0 && value < 1.0, "use a number between 0 and 1"),
    };
    // False for what is no number, too.
    if fits && (-VALUE_MAX..=VALUE_MAX).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(key, alloc::format!("{value}"), "a score could not be computed with it", remedy))
}

impl Params {
    /// Proves that every score is a number.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for topic in self.topics.values() {
            topic.validate()?;
        }
        hold("score topic_score_cap", self.topic_score_cap, Range::Positive)?;
        hold("score application_weight", self.application_weight, Range::Any)?;
        hold("score colocation_weight", self.colocation_weight, Range::Negative)?;
        hold("score colocation_threshold", f64::from(self.colocation_threshold) - 1.0, Range::Positive)?;
        hold("score behaviour_weight", self.behaviour_weight, Range::Negative)?;
        hold("score behaviour_threshold", self.behaviour_threshold, Range::Positive)?;
        hold("score behaviour_decay", self.behaviour_decay, Range::Decay)?;
        hold("score decay_to_zero", self.decay_to_zero, Range::Decay)?;
        if self.decay_interval.is_zero() {
            let problem = "scores would decay without end";
            return Err(ConfigError::new("score decay_interval", "0", problem, "use at least a second"));
        }
        Ok(())
    }
}

impl TopicParams {
    fn validate(&self) -> Result<(), ConfigError> {
        for (key, value, range) in [
            ("score topic weight", self.weight, Range::Positive),
            ("score time_in_mesh_weight", self.time_in_mesh_weight, Range::Positive),
            ("score time_in_mesh_cap", self.time_in_mesh_cap, Range::Positive),
            ("score first_deliveries_weight", self.first_deliveries_weight, Range::Positive),
            ("score first_deliveries_decay", self.first_deliveries_decay, Range::Decay),
            ("score first_deliveries_cap", self.first_deliveries_cap, Range::Positive),
            ("score mesh_deliveries_weight", self.mesh_deliveries_weight, Range::Negative),
            ("score mesh_deliveries_decay", self.mesh_deliveries_decay, Range::Decay),
            ("score mesh_deliveries_cap", self.mesh_deliveries_cap, Range::Positive),
            ("score mesh_deliveries_threshold", self.mesh_deliveries_threshold, Range::Positive),
            ("score mesh_failure_weight", self.mesh_failure_weight, Range::Negative),
            ("score mesh_failure_decay", self.mesh_failure_decay, Range::Decay),
            ("score invalid_weight", self.invalid_weight, Range::Negative),
            ("score invalid_decay", self.invalid_decay, Range::Decay),
        ] {
            hold(key, value, range)?;
        }
        if self.time_in_mesh_quantum.as_micros() == 0 {
            let problem = "time in the mesh is counted in it";
            let remedy = "use at least a microsecond";
            return Err(ConfigError::new("score time_in_mesh_quantum", "0", problem, remedy));
        }
        Ok(())
    }
}
