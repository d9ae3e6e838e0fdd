//! The counters of the pubsub router: what came in, what became of it, what waits.

use peerage_core::conn::outbox::Class;
use peerage_core::gossipsub::router::Router;
use peerage_core::node::View;

use super::Page;

pub(super) fn router(page: &mut Page, view: &View<'_>) {
    let router = view.router();
    frames(page, router);
    messages(page, router);
    control(page, router);
    sizes(page, router);
    outboxes(page, view);
}

fn frames(page: &mut Page, router: &Router) {
    let tally = router.tally();
    page.counter("peerage_pubsub_frames_total", "Frames that came in", tally.frames);
    page.counter("peerage_pubsub_frames_bytes_total", "Bytes of them", tally.frame_bytes);
    page.group(
        "peerage_pubsub_frames_dropped_total",
        "Of them: not used, by reason",
        "reason",
        &[
            ("stray", tally.frames_stray),
            ("malformed", tally.frames_malformed),
            ("graylisted", tally.frames_graylisted),
        ],
    );
    page.counter(
        "peerage_pubsub_frames_too_long_total",
        "Frames that were announced with more bytes than allowed",
        tally.frames_too_long,
    );
    page.counter("peerage_pubsub_streams_ended_total", "Streams of ours that ended", tally.streams_ended);
    page.counter(
        "peerage_pubsub_streams_given_up_total",
        "Connections given up because streams on them kept ending",
        tally.streams_given_up,
    );
}

fn messages(page: &mut Page, router: &Router) {
    let (tally, seen) = (router.tally(), router.seen().outcomes());
    page.counter("peerage_pubsub_messages_total", "Messages and copies that came in", tally.messages);
    page.group(
        "peerage_pubsub_messages_ended_total",
        "Of them: what became of them before their signature was checked",
        "outcome",
        &[
            ("unknown_topic", tally.messages_unknown_topic),
            ("breach", tally.messages_breach),
            ("incompatible", tally.messages_incompatible),
            ("own", tally.messages_own),
            ("duplicate", seen.duplicates),
            ("joined", seen.joined),
            ("refused", seen.refused),
            ("over_share", seen.over_share),
            ("checked", seen.begun),
        ],
    );
    page.group(
        "peerage_pubsub_checks_total",
        "Signatures checked, by outcome",
        "outcome",
        &[("first", seen.first), ("late", seen.late), ("failed", seen.failed), ("unchecked", seen.unchecked)],
    );
    page.counter(
        "peerage_pubsub_forgotten_total",
        "Messages that may come again since we judged them for reasons of our own",
        seen.forgotten,
    );
    page.counter("peerage_pubsub_forwarded_total", "Frames queued to hand messages on", tally.forwarded);
    page.counter(
        "peerage_pubsub_forwards_declined_total",
        "Messages not handed on because the neighbour has them",
        tally.forwards_declined,
    );
}

fn control(page: &mut Page, router: &Router) {
    let tally = router.tally();
    page.group(
        "peerage_pubsub_control_total",
        "Control messages and ids, by kind and direction",
        "kind",
        &[
            ("graft_in", tally.grafts_in),
            ("graft_refused", tally.grafts_refused),
            ("graft_out", tally.grafts_out),
            ("prune_in", tally.prunes_in),
            ("prune_out", tally.prunes_out),
            ("exchange_named", tally.exchange_named),
            ("exchange_taken", tally.exchange_taken),
            ("iwant_out", tally.iwant_out),
            ("iwant_given", tally.iwant_given),
            ("iwant_not_given", tally.iwant_not_given),
            ("idontwant_in", tally.idontwant_in),
            ("idontwant_out", tally.idontwant_out),
            ("unexpected", tally.control_unexpected),
            ("excess", tally.control_excess),
            ("id_too_long", tally.ids_too_long),
            ("extensions_late", tally.extensions_late),
        ],
    );
    page.counter(
        "peerage_pubsub_promises_broken_total",
        "Messages that were named and not given",
        tally.promises_broken,
    );
}

fn sizes(page: &mut Page, router: &Router) {
    let (checks, seen, refused) = router.seen().len();
    page.gauge("peerage_pubsub_peers", "Neighbours that speak pubsub", router.peers().len());
    let members: usize = router.mesh().joined().map(|topic| router.mesh().members(topic).count()).sum();
    page.gauge("peerage_pubsub_mesh_members", "Members of all meshes", members);
    for (name, help, value) in [
        ("peerage_pubsub_checks_pending", "Checks that run", checks),
        ("peerage_pubsub_refused", "Copies remembered for their wrong signature", refused),
        ("peerage_pubsub_seen", "Ids remembered as seen", seen),
        ("peerage_pubsub_cached", "Messages kept to be given", router.cache().len()),
    ] {
        page.gauge(name, help, value);
    }
    page.gauge("peerage_pubsub_cached_bytes", "Bytes of them", router.cache().bytes());
}

fn outboxes(page: &mut Page, view: &View<'_>) {
    let outboxes = view.conns().outboxes();
    let name = "peerage_outbox_frames_total";
    page.head(name, "counter", "Frames for neighbours, by class and by what became of them");
    for (class, text) in [(Class::High, "high"), (Class::Normal, "normal"), (Class::Bulk, "bulk")] {
        let outcomes = outboxes.outcomes(class);
        for (outcome, count) in [
            ("queued", outcomes.queued),
            ("sent", outcomes.sent),
            ("aged", outcomes.aged),
            ("gone", outcomes.gone),
            ("shed", outcomes.shed),
            ("refused", outcomes.refused),
        ] {
            page.labelled(name, &[("class", text), ("outcome", outcome)], count);
        }
    }
    page.gauge("peerage_outbox_bytes", "Bytes that wait for neighbours", outboxes.bytes());
}
