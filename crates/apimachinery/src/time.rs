//! Moments as the API writes them, and durations as people read them. The moment "now" is always an argument.

use std::time::Duration;

use jiff::Timestamp;

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// RFC 3339 in UTC to the second, as `meta/v1.Time` prints: `2026-01-02T03:04:05Z`.
pub fn format_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3339 in UTC with six digits, as `meta/v1.MicroTime` prints: `2026-01-02T03:04:05.000006Z`.
pub fn format_micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads RFC 3339: a date, `T`, a time to the second or finer, and `Z` or an offset.
pub fn parse(text: &str) -> Option<Timestamp> {
    // jiff reads more than RFC 3339 (no seconds, a space for `T`, a zone in brackets); clients of the API may not.
    let bytes = text.as_bytes();
    let shape = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    let digits =
        |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    let date = digits(0..4) && shape(4, b'-') && digits(5..7) && shape(7, b'-') && digits(8..10);
    let time = shape(10, b'T') && digits(11..13) && shape(13, b':') && digits(14..16) && shape(16, b':');
    let ends_well = text.ends_with('Z')
        || (bytes.len() >= 25
            && matches!(bytes[bytes.len() - 6], b'+' | b'-')
            && shape(bytes.len() - 3, b':')
            && digits(bytes.len() - 2..bytes.len()));
    let after_seconds = matches!(bytes.get(19), Some(b'.' | b'Z' | b'+' | b'-'));
    if !(date && time && digits(17..19) && after_seconds && ends_well) {
        return None;
    }
    text.parse().ok()
}

/// How long ago, as kubectl's AGE column says it: `45s`, `2m30s`, `5h`, `3d4h`, `400d`, `2y30d`
/// (`k8s.io/apimachinery/pkg/util/duration.HumanDuration`).
pub fn human_duration(duration: Duration) -> String {
    let all = duration.as_secs();
    match all {
        _ if all < 2 * MINUTE => format!("{all}s"),
        _ if all < 10 * MINUTE => two(all, MINUTE, "m", SECOND, "s"),
        _ if all < 3 * HOUR => format!("{}m", all / MINUTE),
        _ if all < 8 * HOUR => two(all, HOUR, "h", MINUTE, "m"),
        _ if all < 2 * DAY => format!("{}h", all / HOUR),
        _ if all < 8 * DAY => two(all, DAY, "d", HOUR, "h"),
        _ if all < 2 * YEAR => format!("{}d", all / DAY),
        _ if all < 8 * YEAR => two(all, YEAR, "y", DAY, "d"),
        _ => format!("{}y", all / YEAR),
    }
}

/// How long before `now` a moment was, as [`human_duration`] says it; a moment that is still to come by a
/// second or more (clocks differ) is `<invalid>`, as kubectl prints it.
pub fn human_age(then: Timestamp, now: Timestamp) -> String {
    let age = now.duration_since(then);
    match Duration::try_from(age) {
        Ok(age) => human_duration(age),
        Err(_) if age.as_secs() >= -1 => "0s".to_owned(),
        Err(_) => "<invalid>".to_owned(),
    }
}

fn two(all: u64, big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    match all % big / small {
        0 => format!("{}{big_unit}", all / big),
        rest => format!("{}{big_unit}{rest}{small_unit}", all / big),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_in_utc() {
        let time: Timestamp = "2026-01-02T03:04:05.123456789+01:00".parse().expect("a timestamp");
        assert_eq!(format_seconds(time), "2026-01-02T02:04:05Z");
        assert_eq!(format_micros(time), "2026-01-02T02:04:05.123456Z");
        assert_eq!(
            format_micros(parse("2026-01-02T02:04:05Z").expect("a timestamp")),
            "2026-01-02T02:04:05.000000Z"
        );
    }

    #[test]
    fn only_rfc_3339_parses() {
        for good in ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05-07:00"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "now",
            "2026-01-02",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05,5Z",
            "2026-01-02T03:04:05.Z",
            "2026-13-02T03:04:05Z",
            "2026-01-02T03:04:05Z[UTC]",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        let check = |seconds, expect: &str| assert_eq!(human_duration(Duration::from_secs(seconds)), expect);
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(150, "2m30s");
        check(10 * MINUTE + 5, "10m");
        check(3 * HOUR - 1, "179m");
        check(3 * HOUR + 5 * MINUTE, "3h5m");
        check(8 * HOUR + 5 * MINUTE, "8h");
        check(47 * HOUR, "47h");
        check(5 * DAY + 3 * HOUR, "5d3h");
        check(8 * DAY + 3 * HOUR, "8d");
        check(2 * YEAR - DAY, "729d");
        check(2 * YEAR + 30 * DAY, "2y30d");
        check(9 * YEAR, "9y");
    }

    #[test]
    fn a_clock_a_little_behind_still_shows_an_age() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a timestamp");
        assert_eq!(human_age(now - Duration::from_secs(61), now), "61s");
        assert_eq!(human_age(now + Duration::from_millis(900), now), "0s");
        assert_eq!(human_age(now + Duration::from_secs(10), now), "<invalid>");
    }
}
