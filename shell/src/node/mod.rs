//! A running node: the core, its neighbours, and the loop between them.

pub mod assembly;
pub mod broker;
pub mod chain;
pub mod clock;
pub mod event_loop;
pub mod metrics;
pub mod recording;
pub mod report;
pub mod status;
pub mod store;
pub mod watch;

pub use assembly::{Options, run};
