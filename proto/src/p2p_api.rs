//! The gRPC service that the node serves to its neighbours (spec 5.1).
#![allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]

include!(concat!(env!("OUT_DIR"), "/p2p_api.rs"));
