//! The blockchain service that the node calls (spec 5.2).
#![allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]

include!(concat!(env!("OUT_DIR"), "/blockchain_api.rs"));
