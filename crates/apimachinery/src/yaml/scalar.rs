//! What a plain word means (`sigs.k8s.io/yaml/goyaml.v2/resolve.go`).

use serde_json::{Number, Value};

/// Above this a float no longer holds every whole number (2^53).
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let looks_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let number = if looks_like_a_number { integer(text).or_else(|| float(text)) } else { None };
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// Decimal, `0x`, `0o`, `0b`, and octal with a leading zero; digits may be set apart by `_`.
fn integer(text: &str) -> Option<Number> {
    let digits = text.replace('_', "");
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (radix, body) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // from_str_radix takes a sign of its own, which would be a second one here.
    if !body.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(body, radix).ok()?;
    if negative { Some(0_i64.checked_sub_unsigned(value)?.into()) } else { Some(value.into()) }
}

/// `1.5`, `.5`, `5.`, `1e3`; not infinities, which JSON has no word for.
fn float(text: &str) -> Option<Number> {
    let text = text.replace('_', "");
    let body = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let exponent_is_fine = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    if !(digits(whole) && digits(fraction) && has_digits && exponent_is_fine) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Go writes whole floats into JSON without a fraction: `1e3` is 1000.
    let is_whole = value.fract() == 0.0 && value.abs() < LARGEST_WHOLE;
    if is_whole {
        format!("{value:.0}").parse::<i64>().ok().map(Number::from)
    } else {
        Number::from_f64(value)
    }
}

/// Whether a text in plain style would be read back as that same text, by readers of full YAML 1.1 too.
pub(super) fn stays_text(text: &str) -> bool {
    resolve(text).is_string() && !is_sexagesimal(text) && !is_moment(text) && !matches!(text, "<<" | "=")
}

/// `2024-01-02`, alone or with a time: a timestamp to others.
fn is_moment(text: &str) -> bool {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let number = |part: &str, lengths: &[usize]| {
        lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    let is_date = match date.split('-').collect::<Vec<_>>().as_slice() {
        [year, month, day] => number(year, &[4]) && number(month, &[1, 2]) && number(day, &[1, 2]),
        _ => false,
    };
    is_date && time.is_none_or(|time| time.contains(':') && time.starts_with(|c: char| c.is_ascii_digit()))
}

/// `1:30` is a number to readers of full YAML 1.1; go-yaml quotes it for them (`isBase60Float`).
fn is_sexagesimal(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some((first, rest)) = body.split_once(':') else { return false };
    let rest = rest.split_once('.').map_or(rest, |(whole, _)| whole);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let sixty = |part: &str| digits(part) && part.len() <= 2 && part.parse().is_ok_and(|n: u8| n < 60);
    first.starts_with(|c: char| c.is_ascii_digit()) && digits(first) && rest.split(':').all(sixty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_words_mean_what_kubectl_takes_them_for() {
        let check = |text: &str, expect: Value| assert_eq!(resolve(text), expect, "{text}");
        check("yes", json!(true));
        check("Off", json!(false));
        check("yEs", json!("yEs"));
        check("", Value::Null);
        check("~", Value::Null);
        check("0644", json!(420));
        check("0o644", json!(420));
        check("0x1F", json!(31));
        check("1_000", json!(1000));
        check("-12", json!(-12));
        check("+12", json!(12));
        check("--12", json!("--12"));
        check("18446744073709551615", json!(u64::MAX));
        check("1.50", json!(1.5));
        check("1e3", json!(1000));
        check(".5", json!(0.5));
        check(".", json!("."));
        check("1.2.3", json!("1.2.3"));
        check("10Gi", json!("10Gi"));
        check("0.5.0", json!("0.5.0"));
        check("2024-01-02", json!("2024-01-02"));
        check("10.42.0.1", json!("10.42.0.1"));
        check("08", json!(8));
        check("é", json!("é"));
    }

    #[test]
    fn words_that_would_change_meaning_do_not_stay_text() {
        for word in
            ["true", "no", "1", "0644", "", "null", "12:30", "1e3", "2024-01-02", "2024-01-02T03:04:05Z"]
        {
            assert!(!stays_text(word), "{word}");
        }
        for word in ["a", "postgres:14", "10Gi", "12:75", "10.42.0.1", "2024-01-02-x", "2024-01"] {
            assert!(stays_text(word), "{word}");
        }
    }
}
