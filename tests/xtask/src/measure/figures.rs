//! What figures are made of: medians, the rule by which a run counts, the lines of the tables.

/// What became of one flood, by every count that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that the publisher sent.
    pub(crate) sent: u64,
    /// Every further count.
    pub(crate) seen: Vec<Seen>,
}

/// One count of a run, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    name: &'static str,
    count: u64,
    expected: Expected,
}

/// What a count must be for its run to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// As many as were sent.
    Sent,
    /// As many as were sent, and up to so many that the node makes of itself.
    SentAndOwn(u64),
    /// None at all.
    Nothing,
}

impl Seen {
    /// A count that must equal what was sent.
    pub(crate) fn all(name: &'static str, count: u64) -> Self {
        Self { name, count, expected: Expected::Sent }
    }

    /// A count in which up to `own_max` of the node itself are as well.
    pub(crate) fn all_and_own(name: &'static str, count: u64, own_max: u64) -> Self {
        Self { name, count, expected: Expected::SentAndOwn(own_max) }
    }

    /// A count that must not have moved.
    pub(crate) fn none(name: &'static str, count: u64) -> Self {
        Self { name, count, expected: Expected::Nothing }
    }

    fn is_as_expected(&self, sent: u64) -> bool {
        match self.expected {
            Expected::Sent => self.count == sent,
            Expected::SentAndOwn(own_max) => (sent..=sent.saturating_add(own_max)).contains(&self.count),
            Expected::Nothing => self.count == 0,
        }
    }
}

/// Why a run does not count; `None` if it does.
pub(crate) fn void_reason(counts: &Counts) -> Option<String> {
    if counts.sent == 0 {
        return Some("nothing was sent".to_owned());
    }
    if arrived(counts).next().is_none() {
        return Some("nothing was counted".to_owned());
    }
    let off: Vec<String> = counts
        .seen
        .iter()
        .filter(|seen| !seen.is_as_expected(counts.sent))
        .map(|seen| format!("{} {}", seen.name, seen.count))
        .collect();
    if off.is_empty() { None } else { Some(format!("sent {}, but {}", counts.sent, off.join(", "))) }
}

/// The counts that tell of messages.
fn arrived(counts: &Counts) -> impl Iterator<Item = u64> {
    counts.seen.iter().filter(|seen| seen.expected != Expected::Nothing).map(|seen| seen.count)
}

/// Lost messages in per cent: the least of the counts against what was sent.
pub(crate) fn loss_percent(counts: &Counts) -> f64 {
    let least = arrived(counts).min().unwrap_or(0);
    if counts.sent == 0 {
        100.0
    } else {
        100.0 * counts.sent.saturating_sub(least) as f64 / counts.sent as f64
    }
}

/// The middle value; of an even number, the mean of the middle two; `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// What one kind of peer made of one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    /// One value of each run that counts.
    pub(crate) values: Vec<f64>,
    /// Resident MiB at the end of those runs.
    pub(crate) rss_mib: Vec<f64>,
    /// The most that was lost in any run, void ones included, in per cent.
    pub(crate) loss_worst_percent: f64,
    /// Why the others do not count.
    pub(crate) void: Vec<String>,
}

impl Series {
    /// The median, if as many runs count as were asked for.
    pub(crate) fn result(&self, runs: usize) -> Option<f64> {
        if self.values.len() < runs.max(1) { None } else { median(&self.values) }
    }
}

/// Value, ratio and word for one line of a table. Only a ratio of two results is judged.
pub(crate) fn judged(
    ours: Option<f64>,
    theirs: Option<f64>,
    ratio_max: Option<f64>,
) -> (String, &'static str) {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return ("-".to_owned(), "VOID") };
    if theirs <= 0.0 {
        return ("-".to_owned(), "VOID");
    }
    let ratio = ours / theirs;
    let word = match ratio_max {
        None => "not judged",
        Some(most) if ratio <= most => "reached",
        Some(_) => "MISSED",
    };
    (format!("{ratio:.2}"), word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sent: u64, seen: &[u64]) -> Counts {
        Counts { sent, seen: seen.iter().map(|n| Seen::all("count", *n)).collect() }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_run_counts_only_if_all_counts_are_equal() {
        assert_eq!(void_reason(&counts(7, &[7, 7])), None);
        assert_eq!(void_reason(&counts(7, &[7, 6])).as_deref(), Some("sent 7, but count 6"));
        assert!(void_reason(&counts(7, &[8])).is_some(), "one too many is as wrong as one too few");
    }

    #[test]
    fn a_run_without_messages_or_without_counts_is_void() {
        assert!(void_reason(&counts(0, &[0])).is_some());
        assert!(void_reason(&counts(7, &[])).is_some());
        assert!(loss_percent(&counts(7, &[])) > 99.0 && loss_percent(&counts(0, &[])) > 99.0);
    }

    #[test]
    fn a_count_with_the_nodes_own_in_it_has_all_that_was_sent_and_few_more() {
        let void = |frames| {
            let seen = vec![Seen::all("delivered", 7), Seen::all_and_own("frames", frames, 2)];
            void_reason(&Counts { sent: 7, seen })
        };
        assert_eq!((void(7), void(9)), (None, None));
        assert_eq!(void(6).as_deref(), Some("sent 7, but frames 6"));
        assert_eq!(void(10).as_deref(), Some("sent 7, but frames 10"));
    }

    #[test]
    fn a_count_that_must_not_move_voids_a_run_and_is_no_loss() {
        let counts = |frames| {
            let seen = vec![Seen::all("delivered", 7), Seen::none("frames", frames)];
            Counts { sent: 7, seen }
        };
        assert_eq!(void_reason(&counts(0)), None);
        assert_eq!(void_reason(&counts(1)).as_deref(), Some("sent 7, but frames 1"));
        assert!(loss_percent(&counts(0)) < 1e-9);
        let alone = Counts { sent: 7, seen: vec![Seen::none("frames", 0)] };
        assert!(void_reason(&alone).is_some(), "that nothing moved is no count of messages");
    }

    #[test]
    fn loss_is_that_of_the_worst_count() {
        assert!((loss_percent(&counts(200, &[200, 198])) - 1.0).abs() < 1e-9);
        assert!(loss_percent(&counts(200, &[200])) < 1e-9);
    }

    #[test]
    fn a_series_short_of_runs_has_no_result() {
        let series = Series { values: vec![1.0, 2.0], ..Series::default() };
        assert_eq!((series.result(2), series.result(3)), (Some(1.5), None));
        assert_eq!(Series::default().result(0), None);
    }

    #[test]
    fn without_both_results_the_word_is_void() {
        assert_eq!(judged(None, Some(1.0), Some(9.0)).1, "VOID");
        assert_eq!(judged(Some(1.0), None, Some(9.0)).1, "VOID");
        assert_eq!(judged(Some(1.0), Some(0.0), Some(9.0)).1, "VOID");
        assert_eq!(judged(Some(1.0), Some(2.0), Some(0.5)), ("0.50".to_owned(), "reached"));
        assert_eq!(judged(Some(1.2), Some(2.0), Some(0.5)), ("0.60".to_owned(), "MISSED"));
        assert_eq!(judged(Some(1.0), Some(2.0), None).1, "not judged");
    }
}
