//! What was measured, beside what is compared with it.

use anyhow::Result;
use serde_json::json;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Megabytes,
    PercentOfCore,
    PerSecond,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Megabytes => "MB",
            Self::PercentOfCore => "%",
            Self::PerSecond => "/s",
        }
    }
}

/// What a row is compared with, in its unit.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    /// Kubernetes 1.36.2 with etcd and containerd on the machine where stead is made, by the same method.
    pub(crate) kubernetes: Option<f64>,
    /// What stead aims at.
    pub(crate) goal: Option<f64>,
}

impl Goal {
    /// Nothing to compare with.
    pub(crate) const NONE: Self = Self { kubernetes: None, goal: None };
}

/// A row of a report.
#[derive(Clone, Copy)]
pub(crate) struct RowId(usize);

struct Row {
    what: String,
    unit: Unit,
    goal: Goal,
    values: Vec<f64>,
}

impl Row {
    /// The lowest, the middle and the highest value; the middle of an even count is the mean of its two.
    fn summary(&self) -> Option<[f64; 3]> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let middle = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[half - 1], sorted[half])
        } else {
            sorted[half]
        };
        Some([low, middle, high])
    }
}

/// All that was measured, in order.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// The row of that name; a new one at the end when there is none.
    pub(crate) fn row(&mut self, what: impl Into<String>, unit: Unit, goal: Goal) -> RowId {
        let what = what.into();
        let found = self.rows.iter().position(|row| row.what == what);
        RowId(found.unwrap_or_else(|| {
            self.rows.push(Row { what, unit, goal, values: Vec::new() });
            self.rows.len() - 1
        }))
    }

    /// One more value of a row.
    pub(crate) fn add(&mut self, row: RowId, value: f64) {
        self.rows[row.0].values.push(value);
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let mut text = format!(
            "{:<width$}  {:>11}  {:>17}  {:>4}  {:>9}  {:>10}\n",
            "what", "median", "min … max", "runs", "goal", "Kubernetes"
        );
        for row in &self.rows {
            let Some([low, middle, high]) = row.summary() else { continue };
            let unit = row.unit.name();
            let known = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v} {unit}"));
            let range = match row.values.len() {
                1 => String::new(),
                _ => format!("{} … {}", digits(low), digits(high)),
            };
            let line = format!(
                "{:<width$}  {:>11}  {:>17}  {:>4}  {:>9}  {:>10}",
                row.what,
                format!("{} {unit}", digits(middle)),
                range,
                row.values.len(),
                known(row.goal.goal),
                known(row.goal.kubernetes),
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// For programs: a list of rows with all values.
    pub(crate) fn json(&self) -> Result<String> {
        let rows = self.rows.iter().filter_map(|row| {
            let [min, median, max] = row.summary()?;
            Some(json!({
                "what": row.what.trim(),
                "unit": row.unit.name(),
                "median": median,
                "min": min,
                "max": max,
                "values": row.values,
                "goal": row.goal.goal,
                "kubernetes": row.goal.kubernetes,
            }))
        });
        Ok(serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?)
    }
}

/// Three significant digits, or whole numbers above.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_median_range_and_what_it_is_compared_with() {
        let mut report = Report::default();
        let goal = Goal { kubernetes: Some(1.5), goal: Some(0.1) };
        let row = report.row("3 replicas", Unit::Seconds, goal);
        for value in [0.25, 0.125, 12.5, 0.5] {
            report.add(row, value);
        }
        let once = report.row("memory", Unit::Megabytes, Goal::NONE);
        report.add(once, 31.26);
        report.row("never measured", Unit::Seconds, Goal::NONE);
        let expected = concat!(
            "what             median          min … max  runs       goal  Kubernetes\n",
            "3 replicas      0.375 s     0.125 … 12.5     4      0.1 s       1.5 s\n",
            "memory          31.3 MB                       1\n",
        );
        let squeezed = |text: &str| {
            let lines = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&report.table()), squeezed(expected));
    }

    #[test]
    fn a_row_is_found_again_by_its_name() {
        let mut report = Report::default();
        for value in [1.0, 3.0, 2.0] {
            let row = report.row("API get", Unit::Milliseconds, Goal::NONE);
            report.add(row, value);
        }
        assert_eq!(report.rows.len(), 1);
        assert_eq!(report.rows[0].summary(), Some([1.0, 2.0, 3.0]));
    }
}
