//! Types that Teranode's services share (spec 5.2).
#![allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]

include!(concat!(env!("OUT_DIR"), "/model.rs"));
