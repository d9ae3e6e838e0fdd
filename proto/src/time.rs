//! Unix time as calendar time and back; the proleptic Gregorian calendar, UTC.

use alloc::vec::Vec;

const DAY: u64 = 86_400;
const NANOSECONDS: u64 = 1_000_000_000;
/// 9999-12-31T23:59:59Z.
pub(crate) const SECONDS_MAX: u64 = 253_402_300_799;

/// `YYYY-MM-DDTHH:MM:SSZ` of at most [`SECONDS_MAX`].
pub(crate) fn date_time(unix_s: u64) -> [u8; 20] {
    let (year, month, day) = civil_from_days((unix_s / DAY) as i64);
    let second = unix_s % DAY;
    let mut text = *b"0000-00-00T00:00:00Z";
    put(&mut text[0..4], year as u64);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], second / 3600);
    put(&mut text[14..16], second / 60 % 60);
    put(&mut text[17..19], second % 60);
    text
}

fn put(digits: &mut [u8], value: u64) {
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Year, month and day of a number of days since 1970-01-01. Years are counted from March, so that a leap day is the last
/// of its year, and in eras of 400 years, which are all of 146,097 days.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

/// Days since 1970-01-01 of a date, which need not exist in its month.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Appends an RFC 3339 time in UTC with as many digits of the second as it needs; `None` is Go's zero time.
pub(crate) fn write_rfc3339(unix_ns: Option<i64>, out: &mut Vec<u8>) {
    let Some(unix_ns) = unix_ns else {
        out.extend_from_slice(b"0001-01-01T00:00:00Z");
        return;
    };
    // Times before 1970 do not occur in the files that are written here.
    let unix_ns = unix_ns.max(0) as u64;
    out.extend_from_slice(&date_time(unix_ns / NANOSECONDS)[..19]);
    let fraction = unix_ns % NANOSECONDS;
    if fraction > 0 {
        let mut digits = [0; 9];
        put(&mut digits, fraction);
        let used = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
        out.push(b'.');
        out.extend_from_slice(&digits[..used]);
    }
    out.push(b'Z');
}

/// Reads an RFC 3339 time as Unix nanoseconds, with any offset and any number of digits of the second. Go's zero time,
/// and any other time before 1970, is `Some(None)`; what is no time, or lies beyond 2262, is `None`.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Option<i64>> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| digits.iter().fold(0, |n, &d| n * 10 + i64::from(d - b'0')))
    };
    let (date, time) =
        ((number(0, 4)?, number(5, 7)?, number(8, 10)?), (number(11, 13)?, number(14, 16)?, number(17, 19)?));
    let marks = [bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]];
    let in_range =
        (1..=12).contains(&date.1) && (1..=31).contains(&date.2) && time.0 < 24 && time.1 < 60 && time.2 < 60;
    if marks != *b"--T::" || !in_range {
        return None;
    }
    let mut rest = &bytes[19..];
    let mut fraction = 0;
    if let [b'.', digits @ ..] = rest {
        let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
        let digit = |index: usize| if index < count { i64::from(digits[index] - b'0') } else { 0 };
        fraction = (0..9).fold(0, |value, index| value * 10 + digit(index));
        rest = if count > 0 { &digits[count..] } else { return None };
    }
    let seconds = days_from_civil(date.0, date.1, date.2) * DAY as i64 + time.0 * 3600 + time.1 * 60 + time.2;
    let seconds = seconds - offset(rest)?;
    let nanoseconds = i128::from(seconds) * i128::from(NANOSECONDS) + i128::from(fraction);
    if nanoseconds < 0 { Some(None) } else { i64::try_from(nanoseconds).ok().map(Some) }
}

/// Seconds that `Z` or `+hh:mm` is ahead of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    if text == b"Z" {
        return Some(0);
    }
    let [sign @ (b'+' | b'-'), a, b, b':', c, d] = *text else { return None };
    if ![a, b, c, d].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |high: u8, low: u8| i64::from(high - b'0') * 10 + i64::from(low - b'0');
    let seconds = two(a, b) * 3600 + two(c, d) * 60;
    Some(if sign == b'+' { seconds } else { -seconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn text(unix_s: u64) -> String {
        String::from_utf8(date_time(unix_s).to_vec()).unwrap()
    }

    #[test]
    fn known_times_are_met() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(text(951_868_800), "2000-03-01T00:00:00Z");
        assert_eq!(text(1_795_248_316), "2026-11-21T08:05:16Z");
        assert_eq!(text(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(text(SECONDS_MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn rfc_3339_times_are_read_with_offsets_and_fractions() {
        let ns = 1_795_248_313_348_377_041;
        assert_eq!(parse_rfc3339("2026-11-21T08:05:13.348377041Z"), Some(Some(ns)));
        assert_eq!(parse_rfc3339("2026-11-21T10:35:13.348377041+02:30"), Some(Some(ns)));
        assert_eq!(parse_rfc3339("2026-11-21T07:05:13.3483770419-01:00"), Some(Some(ns)));
        assert_eq!(parse_rfc3339("0001-01-01T00:00:00Z"), Some(None));
        for bad in [
            "",
            "2026-11-21",
            "2026-11-21T08:05:13",
            "2026-11-21T08:05:13.Z",
            "2026-13-21T08:05:13Z",
            "2026-11-21T24:05:13Z",
            "2026/11/21T08:05:13Z",
            "2026-11-21T08:05:13+2:30",
            "2026-11-21T08:05:13+aa:bb",
            "9999-11-21T08:05:13Z",
            "2026-11-21T08:05:13Zx",
            "20\u{e9}6-11-21T08:05:13Z",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn rfc_3339_times_come_back(unix_ns in 0..i64::MAX) {
            for unix_ns in [Some(unix_ns), Some(unix_ns / 1000 * 1000), Some(unix_ns / 1_000_000_000 * 1_000_000_000), None] {
                let mut text = Vec::new();
                write_rfc3339(unix_ns, &mut text);
                prop_assert_eq!(parse_rfc3339(core::str::from_utf8(&text).unwrap()), Some(unix_ns));
            }
        }

        #[test]
        fn days_come_back(days in -800_000i64..3_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month as i64, day as i64), days);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        }
    }
}
