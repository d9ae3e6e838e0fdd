//! Verdicts: what the router is told about a message, and what its author pays. One table; each row has a test.
//!
//! *Reject* is only what every honest node can prove wrong. *Ignore* is what nobody is at fault for, or what only we
//! know. A local ban or dislike must never become censorship of the network: what we merely do not want to use is
//! accepted, forwarded and dropped locally.

use super::TopicKind;
use super::ban::BanReason;
use super::service::Env;
use crate::codec::codec_enum;
use crate::gossipsub::Acceptance;

/// How the handling of one message ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// Used in full.
    Handled,
    /// Longer than its topic allows.
    TooLarge,
    /// Not an envelope around a JSON document of its topic.
    NotJson,
    /// A bare document where an envelope is asked for.
    NoEnvelope,
    /// The signed author is not the id that the document claims.
    ForeignClaim,
    /// A field breaks its form: a hash that is none, an over-long text, a block without URL.
    BadField,
    /// The header does not hash to the hash, or misses its own or the chain's target.
    BadHeader,
    /// A block without header while those are asked for (`require_header`).
    NoHeader,
    /// Our own message, come back.
    Own,
    /// The author is banned here.
    Banned,
    /// The hash was handed on often enough in this window.
    RepeatCap,
    /// Our queue towards the broker is full.
    QueueFull,
    /// The author's reputation is below what we use.
    LowReputation,
    /// The URL's host is on the operator's list.
    BlacklistedUrl,
    /// The URL points into a private network.
    PrivateUrl,
    /// The height is beyond what we believe.
    BeyondHorizon,
    /// A greeting of another chain's node (older family).
    OtherNetwork,
}

impl Cause {
    /// Number of causes.
    pub const COUNT: usize = 17;
    /// Every cause, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Handled,
        Self::TooLarge,
        Self::NotJson,
        Self::NoEnvelope,
        Self::ForeignClaim,
        Self::BadField,
        Self::BadHeader,
        Self::NoHeader,
        Self::Own,
        Self::Banned,
        Self::RepeatCap,
        Self::QueueFull,
        Self::LowReputation,
        Self::BlacklistedUrl,
        Self::PrivateUrl,
        Self::BeyondHorizon,
        Self::OtherNetwork,
    ];

    /// Name for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::NoEnvelope => "no_envelope",
            Self::ForeignClaim => "foreign_claim",
            Self::BadField => "bad_field",
            Self::BadHeader => "bad_header",
            Self::NoHeader => "no_header",
            Self::Own => "own",
            Self::Banned => "banned",
            Self::RepeatCap => "repeat_cap",
            Self::QueueFull => "queue_full",
            Self::LowReputation => "low_reputation",
            Self::BlacklistedUrl => "blacklisted_url",
            Self::PrivateUrl => "private_url",
            Self::BeyondHorizon => "beyond_horizon",
            Self::OtherNetwork => "other_network",
        }
    }

    /// The table's second column.
    pub const fn acceptance(self) -> Acceptance {
        match self {
            Self::TooLarge | Self::NotJson | Self::ForeignClaim | Self::BadHeader => Acceptance::Reject,
            Self::NoEnvelope
            | Self::BadField
            | Self::NoHeader
            | Self::Own
            | Self::Banned
            | Self::RepeatCap
            | Self::QueueFull
            | Self::OtherNetwork => Acceptance::Ignore,
            Self::Handled
            | Self::LowReputation
            | Self::BlacklistedUrl
            | Self::PrivateUrl
            | Self::BeyondHorizon => Acceptance::Accept,
        }
    }

    /// What the router is told by this node: the reference judges nothing before it forwards.
    pub fn acceptance_by(self, env: &Env<'_>) -> Acceptance {
        if env.is_strict() && self != Self::Own { Acceptance::Accept } else { self.acceptance() }
    }

    /// The table's third column: what the author pays. Undecodable and over-long messages cost nothing (spec 14.1).
    pub const fn penalty(self) -> Option<BanReason> {
        match self {
            Self::ForeignClaim | Self::BadField | Self::BadHeader => Some(BanReason::ProtocolViolation),
            Self::Handled
            | Self::TooLarge
            | Self::NotJson
            | Self::NoEnvelope
            | Self::NoHeader
            | Self::Own
            | Self::Banned
            | Self::RepeatCap
            | Self::QueueFull
            | Self::LowReputation
            | Self::BlacklistedUrl
            | Self::PrivateUrl
            | Self::BeyondHorizon
            | Self::OtherNetwork => None,
        }
    }
}

/// The end of handling one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Verdict {
    /// On which topic.
    pub kind: TopicKind,
    /// Why.
    pub cause: Cause,
}

codec_enum!(Cause {
    0 => Handled, 1 => TooLarge, 2 => NotJson, 3 => NoEnvelope, 4 => ForeignClaim, 5 => BadField, 6 => BadHeader,
    7 => NoHeader, 8 => Own, 9 => Banned, 10 => RepeatCap, 11 => QueueFull, 12 => LowReputation,
    13 => BlacklistedUrl, 14 => PrivateUrl, 15 => BeyondHorizon, 16 => OtherNetwork,
});

#[cfg(test)]
mod tests {
    use super::*;
    use Acceptance::{Accept, Ignore, Reject};

    macro_rules! rows {
        ($($test:ident: $cause:ident => $acceptance:expr, $penalty:expr;)*) => {
            $(#[test]
            fn $test() {
                assert_eq!(Cause::$cause.acceptance(), $acceptance);
                assert_eq!(Cause::$cause.penalty(), $penalty);
            })*

            #[test]
            fn every_row_of_the_table_has_its_test() {
                assert_eq!([$(Cause::$cause),*], Cause::ALL);
            }
        };
    }

    rows! {
        a_handled_message_is_forwarded: Handled => Accept, None;
        an_over_long_message_is_rejected_without_points: TooLarge => Reject, None;
        what_is_not_json_is_rejected_without_points: NotJson => Reject, None;
        a_bare_document_is_nobodys_fault: NoEnvelope => Ignore, None;
        a_foreign_claim_is_rejected_and_costs_20: ForeignClaim => Reject, Some(BanReason::ProtocolViolation);
        a_bad_field_is_not_forwarded_and_costs_20: BadField => Ignore, Some(BanReason::ProtocolViolation);
        a_bad_header_is_rejected_and_costs_20: BadHeader => Reject, Some(BanReason::ProtocolViolation);
        a_missing_header_is_only_our_wish: NoHeader => Ignore, None;
        our_own_message_is_ignored: Own => Ignore, None;
        a_banned_author_is_ignored_not_rejected: Banned => Ignore, None;
        a_repetition_is_ignored: RepeatCap => Ignore, None;
        our_full_queue_is_nobodys_fault: QueueFull => Ignore, None;
        low_reputation_is_forwarded: LowReputation => Accept, None;
        a_blacklisted_url_is_forwarded: BlacklistedUrl => Accept, None;
        a_private_url_is_forwarded: PrivateUrl => Accept, None;
        a_height_beyond_our_horizon_is_forwarded: BeyondHorizon => Accept, None;
        a_greeting_of_another_chain_is_ignored: OtherNetwork => Ignore, None;
    }
}
