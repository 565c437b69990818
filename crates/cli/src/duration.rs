//! Spans of time as Go writes them: `30s`, `1m30s`, `1.5h`, `0`, `-1s` (`time.ParseDuration`).

use jiff::SignedDuration;

/// Nanoseconds of each unit, longer names first where one begins another.
const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
/// How long "for ever" is where a span below zero asks for it.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Reads a span of time.
///
/// # Errors
/// A sentence, when the text is none.
pub(crate) fn parse(text: &str) -> Result<SignedDuration, String> {
    let invalid = || format!("{text:?} is no span of time: write for instance 30s, 5m or 1h30m");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).ok_or_else(invalid)?;
        let count: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let word = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..word]).ok_or_else(invalid)?;
        nanos += count * unit;
        rest = &rest[word..];
    }
    if text.is_empty() || text == "-" {
        return Err(invalid());
    }
    SignedDuration::try_from_secs_f64(sign * nanos / 1e9).map_err(|_| invalid())
}

/// How long to wait for something: below zero means a week, as kubectl has it.
pub(crate) fn patience(timeout: SignedDuration) -> std::time::Duration {
    let span = if timeout.is_negative() { WEEK } else { timeout };
    span.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_go_reads_them() {
        let check = |text: &str, millis: i64| {
            assert_eq!(parse(text), Ok(SignedDuration::from_millis(millis)), "{text}");
        };
        check("0", 0);
        check("0s", 0);
        check("30s", 30_000);
        check("1m30s", 90_000);
        check("1.5h", 5_400_000);
        check("100ms", 100);
        check("-1s", -1000);
        for bad in ["", "-", "30", "s", "1x", "1m 30s", "1..5s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(patience(SignedDuration::from_secs(-1)).as_secs(), 7 * 24 * 3600);
    }
}
