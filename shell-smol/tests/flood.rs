//! A peer that sends more than its budget. The scenario is that of every shell.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

#[path = "../../shell/tests/support/flood.rs"]
mod flood;

use std::sync::Arc;

use peerage_core::conn::CloseReason;
use peerage_smol::runtime::{Smol, block_on};

#[test]
fn a_flood_of_messages_is_read_slowly_and_then_closed_and_named() {
    block_on(async {
        let (heard, closed) = flood::flood(Arc::new(Smol), flood::small(1 << 40, 100), 100).await;
        assert_eq!(closed, CloseReason::Flood);
        assert!(heard > 0 && heard < flood::PUBLICATIONS, "some at once, and then slowly: {heard}");
    });
}

#[test]
fn a_flood_of_bytes_is_read_slowly_and_then_closed_and_named() {
    block_on(async {
        let (heard, closed) = flood::flood(Arc::new(Smol), flood::small(100_000, 1 << 40), 10_000).await;
        assert_eq!(closed, CloseReason::Flood);
        assert!(heard < flood::PUBLICATIONS, "{heard}");
    });
}
