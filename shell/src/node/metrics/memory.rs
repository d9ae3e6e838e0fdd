//! The memory contract: what is held, by component, and what was given up for it, by component and reason.

use peerage_core::memory::{Part, SUBSCRIBER_BYTES, Shed};
use peerage_core::node::View;

use super::{Page, ShellCounters};
use crate::heap;

pub(super) fn memory(page: &mut Page, view: &View<'_>, shell: &ShellCounters) {
    page.gauge("peerage_memory_max_bytes", "The memory contract; 0: none", shell.memory_max.unwrap_or(0));
    page.gauge("peerage_memory_heap_bytes", "Bytes that the process has allocated", heap::held());
    page.gauge(
        "peerage_memory_counted_bytes",
        "Of them: those that count towards the contract",
        heap::counted(),
    );
    let ledger = view.ledger();
    let name = "peerage_memory_bytes";
    page.head(
        name,
        "gauge",
        "What is held by component, by its ledger: entries at a price, messages by length",
    );
    for part in Part::ALL {
        page.labelled(name, &[("component", part.name())], ledger.of(part));
    }
    page.labelled(name, &[("component", "incoming")], shell.frames_bytes_in_transit);
    page.labelled(name, &[("component", "feed")], shell.feed_clients.saturating_mul(SUBSCRIBER_BYTES));
    shed(page, view, shell);
}

fn shed(page: &mut Page, view: &View<'_>, shell: &ShellCounters) {
    let table = &view.counters().shed;
    let rows = || {
        let ours = Shed::ORDER.map(|what| (what.name(), "ledger", table.of(what), table.bytes(what)));
        let (connections, bytes) = shell.relieved;
        ours.into_iter().chain([("connections", "heap", connections, bytes)])
    };
    let name = "peerage_memory_shed_total";
    page.head(name, "counter", "Messages, frames and connections given up for lack of memory, in this order");
    for (component, reason, count, _) in rows() {
        page.labelled(name, &[("component", component), ("reason", reason)], count);
    }
    let name = "peerage_memory_shed_bytes_total";
    page.head(name, "counter", "Bytes of them");
    for (component, reason, _, bytes) in rows() {
        page.labelled(name, &[("component", component), ("reason", reason)], bytes);
    }
}
