//! Numbers as the API gives and takes them: counts, shares of a count, and moments.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A count as a status holds it.
pub(crate) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A count that upstream leaves out of a status when it is zero.
pub(crate) fn unless_zero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// What becomes of a part of a pod.
#[derive(Clone, Copy)]
pub(crate) enum Rounded {
    /// It counts as a whole one.
    Up,
    /// It does not count.
    Down,
}

/// The number, or the share of `total` (`25%`); `None` when it is neither
/// (`intstr.GetScaledValueFromIntOrPercent`).
pub(crate) fn share(value: &IntOrString, total: i64, rounded: Rounded) -> Option<i64> {
    match value {
        IntOrString::Int(number) => Some((*number).into()),
        IntOrString::String(share) => {
            let percent: i64 = share.strip_suffix('%')?.parse().ok()?;
            let hundredths = percent.saturating_mul(total);
            Some(match rounded {
                Rounded::Up => hundredths.saturating_add(99).div_euclid(100),
                Rounded::Down => hundredths.div_euclid(100),
            })
        }
    }
}

/// The API's times are whole seconds: what comes back from it must equal what was sent.
pub(crate) fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_they_are_asked_to_be() {
        let check = |value: &str, total: i64, expect: Option<(i64, i64)>| {
            let value = IntOrString::String(value.to_owned());
            let found = [Rounded::Up, Rounded::Down].map(|rounded| share(&value, total, rounded));
            assert_eq!(
                found,
                [expect.map(|(up, _)| up), expect.map(|(_, down)| down)],
                "{value:?} of {total}"
            );
        };
        check("25%", 4, Some((1, 1)));
        check("25%", 3, Some((1, 0)));
        check("25%", 10, Some((3, 2)));
        check("34%", 3, Some((2, 1)));
        check("50%", 7, Some((4, 3)));
        check("1%", 0, Some((0, 0)));
        check("0%", 7, Some((0, 0)));
        check("100%", 7, Some((7, 7)));
        check("150%", 3, Some((5, 4)));
        check("many", 3, None);
        check("25", 4, None);
        assert_eq!(share(&IntOrString::Int(2), 9, Rounded::Up), Some(2));
    }
}
