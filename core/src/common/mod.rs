//! What both families need: bounded and fair containers, timers, backoff, rate limits. No protocol words.

pub mod backoff;
pub mod fair_map;
pub mod ring;
pub mod share;
pub mod sip;
pub mod timers;
pub mod token_bucket;
