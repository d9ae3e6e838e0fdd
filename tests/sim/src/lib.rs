#![forbid(unsafe_code)]
//! Deterministic simulation: a world of nodes on one clock, with faults, oracles and a generator of steps.
//!
//! A seed makes a [`world::Options`] and, through [`generator::Generator`], a list of [`step::Step`]s; the
//! [`world::World`] applies them. Every input of every node passes the [`oracles`]. The same seed gives the same hash,
//! in every process and on every machine; a list of steps that fails can be shortened by [`shrink`].

pub mod entropy;
pub mod fuzz;
pub mod generator;
pub mod oracles;
pub mod run;
#[path = "../../wasm/src/scenario.rs"]
pub mod scenario;
pub mod shrink;
pub mod speed;
pub mod step;
pub mod watch;
pub mod world;
