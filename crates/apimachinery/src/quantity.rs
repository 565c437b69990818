//! Amounts of resources: `1500m`, `10Gi`, `1e3` (`k8s.io/apimachinery/pkg/api/resource`).

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// An amount, exact to the billionth, and the family of suffixes that it prints with.
/// Two quantities are equal when their amounts are.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// A family of suffixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `n u m k M G T P E`: powers of 1000.
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`: powers of 1024.
    BinarySi,
    /// `e3`: a power of ten.
    DecimalExponent,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text has the wrong shape.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', like 1, 500m or 10Gi"
    )]
    Malformed,
    /// The suffix is not one of those that exist.
    #[error(
        "unable to parse quantity's suffix; the suffixes are n u m k M G T P E, Ki Mi Gi Ti Pi Ei, and e3"
    )]
    Suffix,
}

const NANOS: i128 = 1_000_000_000;
/// Larger amounts are cut to this one, as upstream does.
const MAX_ALLOWED: i128 = i64::MAX as i128 * NANOS;
/// More digits than this say nothing about any amount up to [`MAX_ALLOWED`] to the billionth.
const MAX_LENGTH: usize = 128;

const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// No amount.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Reads a quantity. Amounts above 2^63-1 are cut to it, and those finer than a billionth are rounded
    /// away from zero, as upstream does.
    ///
    /// # Errors
    /// When the text has the wrong shape or an unknown suffix.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || text.len() > MAX_LENGTH {
            return Err(Error::Malformed);
        }
        let (format, scale) = parse_suffix(suffix)?;
        let amount = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent),
            Scale::Two(exponent) => binary(whole, fraction, exponent),
        };
        let nanos = amount.min(MAX_ALLOWED);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    /// Reads a quantity in JSON: a string, or a plain number.
    ///
    /// # Errors
    /// As [`Quantity::parse`]; any other JSON type is malformed.
    pub fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(Error::Malformed),
        }
    }

    /// So many bytes, printed with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS, format: Format::BinarySi }
    }

    /// So many whole units (cores, pods), printed with decimal suffixes.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANOS, format: Format::DecimalSi }
    }

    /// So many thousandths (of a core), printed with decimal suffixes.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANOS / 1000), format: Format::DecimalSi }
    }

    /// The amount in whole units (bytes, cores), rounded up.
    pub fn value(self) -> i64 {
        self.scaled(NANOS)
    }

    /// The amount in thousandths (of a core), rounded up; cut to what 64 bits hold.
    pub fn milli_value(self) -> i64 {
        self.scaled(NANOS / 1000)
    }

    /// Whether there is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The family of suffixes that it prints with.
    pub fn format(self) -> Format {
        self.format
    }

    /// Both amounts together, cut to what a quantity holds. Zero takes the other's suffixes.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX_ALLOWED, MAX_ALLOWED), format }
    }

    /// What is left without `other`; may be below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self { nanos: -other.nanos, ..other })
    }

    fn scaled(self, unit: i128) -> i64 {
        let up = self.nanos.div_euclid(unit) + i128::from(self.nanos.rem_euclid(unit) != 0);
        i64::try_from(up).unwrap_or(if up > 0 { i64::MAX } else { i64::MIN })
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical form: no fraction, and the largest suffix that leaves none.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANOS == 0;
        if self.format == Format::BinarySi && whole && self.nanos.abs() >= 1024 * NANOS {
            let (amount, power) = divide_out(self.nanos / NANOS, 1024, BINARY_SUFFIXES.len());
            return write!(f, "{amount}{}", power.checked_sub(1).map_or("", |i| BINARY_SUFFIXES[i]));
        }
        let (amount, power) = divide_out(self.nanos, 1000, DECIMAL_SUFFIXES.len() - 1);
        let (suffix, exponent) = DECIMAL_SUFFIXES[power];
        match (self.format, exponent) {
            (Format::DecimalExponent, 0) => write!(f, "{amount}"),
            (Format::DecimalExponent, _) => write!(f, "{amount}e{exponent}"),
            _ => write!(f, "{amount}{suffix}"),
        }
    }
}

/// Divides by `base` as often as it goes without a remainder, at most `most` times.
fn divide_out(mut amount: i128, base: i128, most: usize) -> (i128, usize) {
    let mut power = 0;
    while power < most && amount % base == 0 {
        amount /= base;
        power += 1;
    }
    (amount, power)
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn parse_suffix(suffix: &str) -> Result<(Format, Scale), Error> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::DecimalSi, Scale::Ten(*exponent)));
    }
    if let Some(at) = BINARY_SUFFIXES.iter().position(|s| *s == suffix) {
        return Ok((Format::BinarySi, Scale::Two(10 * (u32::try_from(at).unwrap_or(0) + 1))));
    }
    let Some(exponent) = suffix.strip_prefix(['e', 'E']) else {
        return Err(if suffix.chars().all(|c| "eEinumkKMGTP+-0123456789".contains(c)) {
            Error::Suffix
        } else {
            Error::Malformed
        });
    };
    Ok((Format::DecimalExponent, Scale::Ten(exponent.parse().map_err(|_| Error::Suffix)?)))
}

/// `whole.fraction * 10^exponent` in billionths, rounded up, at most a little over [`MAX_ALLOWED`].
fn decimal(whole: &str, fraction: &str, exponent: i32) -> i128 {
    // The digits that count stand left of the cut; one more that is not zero behind it rounds up.
    let fraction_digits = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let mut shift = exponent.saturating_sub(fraction_digits).saturating_add(9);
    let mut digits: Vec<i128> = whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0')).collect();
    let mut rounds_up = false;
    while shift < 0 && !digits.is_empty() {
        rounds_up |= digits.pop() != Some(0);
        shift += 1;
    }
    let mut amount: i128 = 0;
    for digit in digits {
        amount = (amount * 10 + digit).min(MAX_ALLOWED);
    }
    while shift > 0 && amount > 0 && amount < MAX_ALLOWED {
        amount *= 10;
        shift -= 1;
    }
    amount + i128::from(rounds_up)
}

/// `whole.fraction * 2^exponent` in billionths, rounded up, at most a little over [`MAX_ALLOWED`].
fn binary(whole: &str, fraction: &str, exponent: u32) -> i128 {
    // Eighteen decimals are exact for any amount that people write; finer ones only round up.
    const PLACES: usize = 18;
    const UNIT: i128 = 1_000_000_000_000_000_000;
    let mut parts: i128 = 0;
    for place in 0..PLACES {
        parts = parts * 10 + fraction.as_bytes().get(place).map_or(0, |b| i128::from(b - b'0'));
    }
    parts += i128::from(fraction.bytes().skip(PLACES).any(|b| b != b'0'));
    let whole = whole.bytes().fold(0, |n: i128, b| (n * 10 + i128::from(b - b'0')).min(MAX_ALLOWED));
    let whole = whole.checked_mul(NANOS << exponent).unwrap_or(MAX_ALLOWED);
    // parts < 2^60 and the shift is at most 60 bits, so that the product stays below 2^120.
    let shifted = parts << exponent;
    let nanos = shifted / (UNIT / NANOS) + i128::from(shifted % (UNIT / NANOS) != 0);
    whole.saturating_add(nanos).min(MAX_ALLOWED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        let shown = match Quantity::parse(text) {
            Ok(quantity) => quantity.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(shown.starts_with(canonical), "{text}: {shown}, not {canonical}");
        assert!(!canonical.is_empty());
    }

    #[test]
    fn canonical_forms_are_upstreams() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("-1.5", "-1500m"),
            ("1500m", "1500m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1e-3", "1e-3"),
            ("12e2", "1200"),
            ("1E", "1E"),
            ("1024Mi", "1Gi"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1.5Gi", "1536Mi"),
            ("0.1Ki", "102400m"),
            ("1000Ki", "1000Ki"),
            ("100u", "100u"),
            ("0.0000000001", "1n"),
            ("99999999999999999999", "9223372036854775807"),
            ("1e400", "9223372036854775807"),
            ("9223372036854775807Ki", "9223372036854775807"),
        ] {
            check(text, canonical);
        }
    }

    #[test]
    fn what_is_no_quantity_is_told() {
        for bad in ["", "-", ".", "1.2.3", "Gi", "1 Gi", "1Gb", "ten", "1,5"] {
            check(bad, "quantities must match");
        }
        for bad in ["1mm", "1KI", "1ki", "1e", "1e1x", "1K"] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
        check("1K", "unable to parse quantity's suffix");
        assert_eq!(Quantity::from_value(&json!(0.5)).map(Quantity::milli_value), Ok(500));
        assert_eq!(Quantity::from_value(&json!(true)), Err(Error::Malformed));
    }

    #[test]
    fn amounts_round_up_to_the_unit_asked_for() {
        let quantity = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(quantity("1500m").value(), 2);
        assert_eq!(quantity("-1500m").value(), -1);
        assert_eq!(quantity("1500m").milli_value(), 1500);
        assert_eq!(quantity("1u").milli_value(), 1);
        assert_eq!(quantity("10Gi").value(), 10 << 30);
        assert_eq!(quantity("9E").milli_value(), i64::MAX);
    }

    #[test]
    fn amounts_compare_add_and_subtract() {
        let quantity = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(quantity("1Ki"), quantity("1024"));
        assert!(quantity("999m") < quantity("1"));
        assert_eq!(quantity("1").plus(quantity("500m")).to_string(), "1500m");
        assert_eq!(Quantity::ZERO.plus(quantity("1Gi")).to_string(), "1Gi");
        assert_eq!(quantity("1Gi").minus(quantity("512Mi")).to_string(), "512Mi");
        assert!(quantity("1").minus(quantity("2")).is_negative());
        assert_eq!(Quantity::from_bytes(10 << 30).to_string(), "10Gi");
        assert_eq!(Quantity::from_millis(250).to_string(), "250m");
        assert_eq!(Quantity::from_units(110).to_string(), "110");
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_the_same_amount(text in "[+-]?[0-9]{1,12}(\\.[0-9]{1,12})?(n|u|m|k|M|G|T|Ki|Mi|Gi|Ti|e[0-9]|e-[0-9])?") {
            let quantity = Quantity::parse(&text).expect("a quantity");
            let again = Quantity::parse(&quantity.to_string()).expect("canonical");
            prop_assert_eq!(quantity, again);
            prop_assert_eq!(quantity.to_string(), again.to_string());
        }

        #[test]
        fn no_text_panics(text in ".{0,40}|[+-]?[0-9.]{0,40}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
            }
        }
    }
}
