//! Which ordinals a StatefulSet may use: those from its start on that nobody has reserved.
//!
//! A reservation is written `1,4-6`. Ranges stay ranges: `0-2147483647` costs as little as `0`.

use std::fmt;
use std::ops::Range;

/// The highest ordinal there is: upstream counts replicas in 32 bits.
pub const MAX: i64 = i32::MAX as i64;

/// Ordinals that a set must not use.
///
/// ```
/// use apimachinery::ordinals::Reserved;
///
/// let reserved = Reserved::parse("1, 4-6")?;
/// assert_eq!(reserved.free_from(0).take(4).collect::<Vec<_>>(), [0, 2, 3, 7]);
/// assert_eq!(reserved.rank(0, 3), Some(2));
/// # Ok::<(), apimachinery::ordinals::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// First and last of each range: ascending, and never two that touch.
    ranges: Vec<(i64, i64)>,
}

/// What is wrong with a reservation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither an ordinal nor a range.
    #[error("{0:?} is neither an ordinal nor a range; write for instance \"1,4-6\"")]
    NotAnOrdinal(String),
    /// The range ends before it begins.
    #[error("the range {0} ends before it begins; write {1}")]
    Backwards(String, String),
}

impl Reserved {
    /// Reads `1,4-6`. Blanks around numbers do no harm, and an empty text reserves nothing.
    ///
    /// # Errors
    /// When a part is neither an ordinal (0 to 2147483647) nor a range of them, or a range runs backwards.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut ranges = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Some(first), Some(last)) = (ordinal(first), ordinal(last)) else {
                return Err(ParseError::NotAnOrdinal(part.to_owned()));
            };
            if last < first {
                return Err(ParseError::Backwards(part.to_owned(), format!("{last}-{first}")));
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        let mut reserved = Self::default();
        for (first, last) in ranges {
            match reserved.ranges.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => reserved.ranges.push((first, last)),
            }
        }
        Ok(reserved)
    }

    /// Whether the ordinal is reserved.
    pub fn contains(&self, ordinal: i64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&ordinal))
    }

    /// Whether nothing is reserved.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ordinals that are free, upward from `start` to [`MAX`].
    pub fn free_from(&self, start: i64) -> impl Iterator<Item = i64> {
        self.gaps(start).into_iter().flatten()
    }

    /// The free ordinal from `start` on before which there are `rank` others.
    pub fn nth_free(&self, start: i64, mut rank: i64) -> Option<i64> {
        self.gaps(start).into_iter().find_map(|gap| {
            let length = (gap.end - gap.start).max(0);
            if (0..length).contains(&rank) {
                return Some(gap.start + rank);
            }
            rank -= length;
            None
        })
    }

    /// What lies between the ranges, from `start` on; some gaps are empty.
    fn gaps(&self, start: i64) -> Vec<Range<i64>> {
        let mut gaps = Vec::new();
        let mut next = start.max(0);
        for (first, last) in &self.ranges {
            gaps.push(next..*first);
            next = next.max(last + 1);
        }
        gaps.push(next..MAX + 1);
        gaps
    }

    /// How many free ordinals from `start` on come before this one; `None` when it is not one of them.
    pub fn rank(&self, start: i64, ordinal: i64) -> Option<i64> {
        let start = start.max(0);
        let is_free = (start..=MAX).contains(&ordinal) && !self.contains(ordinal);
        is_free.then(|| self.free_between(start, ordinal))
    }

    /// How many ordinals are free from `start` on.
    pub fn free_count(&self, start: i64) -> i64 {
        self.free_between(start.max(0), MAX + 1)
    }

    fn free_between(&self, start: i64, end: i64) -> i64 {
        let skipped = self.ranges.iter().map(|(first, last)| {
            let (first, end) = ((*first).max(start), (last + 1).min(end));
            (end - first).max(0)
        });
        (end - start).max(0) - skipped.sum::<i64>()
    }
}

/// `1,4-6`, in order and without what is said twice.
impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// An ordinal in digits alone.
fn ordinal(text: &str) -> Option<i64> {
    let text = text.trim();
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|ordinal| all_digits && *ordinal <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(text: &str, start: i64, count: usize) -> Vec<i64> {
        Reserved::parse(text).expect("a reservation").free_from(start).take(count).collect()
    }

    #[test]
    fn reserved_ordinals_are_stepped_over() {
        assert_eq!(free("", 0, 3), [0, 1, 2]);
        assert_eq!(free("1", 0, 3), [0, 2, 3]);
        assert_eq!(free("0-2,4", 0, 3), [3, 5, 6]);
        assert_eq!(free("1-5", 3, 2), [6, 7], "a range that began before the start");
        assert_eq!(free("0-2147483647", 0, 3), [0_i64; 0], "nothing is left, and that costs nothing");
    }

    #[test]
    fn a_rank_counts_the_free_ordinals_before() {
        let reserved = Reserved::parse("1,4-6").expect("a reservation");
        for start in 0..9 {
            let free: Vec<i64> = reserved.free_from(start).take(20).collect();
            for ordinal in 0..20 {
                let wanted = free.iter().position(|held| *held == ordinal).map(|at| at as i64);
                assert_eq!(reserved.rank(start, ordinal), wanted, "{ordinal} from {start}");
            }
            for (rank, ordinal) in free.iter().enumerate() {
                assert_eq!(reserved.nth_free(start, rank as i64), Some(*ordinal), "{rank} from {start}");
            }
        }
    }

    #[test]
    fn what_is_free_is_counted_without_being_spelled_out() {
        let count = |text, start| Reserved::parse(text).map(|reserved| reserved.free_count(start));
        assert_eq!(count("", 0), Ok(MAX + 1));
        assert_eq!(count("1,4-6", 5), Ok(MAX + 1 - 7));
        assert_eq!(count("3-2147483647", 1), Ok(2));
        assert_eq!(count("0-2147483647", 9), Ok(0));
        assert_eq!(Reserved::default().nth_free(3, -1), None);
        let last = |text| Reserved::parse(text).map(|reserved| reserved.nth_free(0, MAX - 1));
        assert_eq!((last(""), last("7"), last("7,9")), (Ok(Some(MAX - 1)), Ok(Some(MAX)), Ok(None)));
    }

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        assert_eq!(Reserved::parse("7,4-6, 5 - 9,1").map(|r| r.to_string()), Ok("1,4-9".to_owned()));
    }

    #[test]
    fn what_is_no_ordinal_is_refused_in_one_sentence() {
        let refusal = |text| Reserved::parse(text).map_err(|error| error.to_string()).unwrap_err();
        let words = r#"" is neither an ordinal nor a range; write for instance "1,4-6""#;
        for bad in ["x", "-1", "1-", "+1", "2147483648", "1-2-3"] {
            assert_eq!(refusal(bad), format!("\"{bad}{words}"));
        }
        assert_eq!(refusal("6-4"), "the range 6-4 ends before it begins; write 4-6");
    }
}
