//! The block assembly service that the node calls (spec 3.9).
#![allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]

include!(concat!(env!("OUT_DIR"), "/blockassembly_api.rs"));
