//! Meshes of many makes.

use std::time::Duration;

use peerage_conformance::churn::{self, Plan};
use peerage_conformance::score;
use peerage_conformance::{Failure, SOON};

/// No restart begins later, on however slow a machine.
const TRAFFIC: Duration = Duration::from_secs(60);

/// One of each make that is not a publisher alone.
const RESTARTS: usize = 5;

#[test]
fn each_message_reaches_each_node_of_a_mixed_mesh_once_while_one_at_a_time_is_restarted()
-> Result<(), Failure> {
    let report = churn::run(&Plan { traffic: TRAFFIC, restarts_max: RESTARTS, batch: 15 })?;
    assert!(report.restarts > 0 && report.delivered >= 15 * 11 * report.restarts, "{report:?}");
    Ok(())
}

#[test]
fn a_go_router_that_keeps_scores_holds_nothing_against_our_nodes() -> Result<(), Failure> {
    let report = score::run(SOON)?;
    assert_eq!(report.ours.len(), 2);
    for ours in &report.ours {
        assert!(ours.worst >= 0.0 && ours.meshes > 0, "{report:?}");
    }
    assert!(report.looks > 10 && report.liar < 0.0, "scores were kept: {report:?}");
    Ok(())
}
