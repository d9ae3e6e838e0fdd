//! Control of a running node: package `peerage.v1`.
#![allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]

include!(concat!(env!("OUT_DIR"), "/peerage.v1.rs"));
