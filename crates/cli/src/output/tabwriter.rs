//! Text with tabs into aligned columns, as Go's `text/tabwriter` does it: a column is a run of lines that have a tab
//! there, and each run has its own width. `describe`, `events` and `rollout history` are laid out with it.

/// Aligns `text`; `padding` spaces part columns at least.
pub(crate) fn align(text: &str, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths = Vec::new();
    let mut out = String::new();
    format(&lines, padding, &mut widths, &mut out);
    out
}

/// Writes `lines`, all of which lie within the columns whose widths are known.
fn format(lines: &[Vec<&str>], padding: usize, widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has_cell = |line: &Vec<&str>| column + 1 < line.len();
    let mut start = 0;
    while start < lines.len() {
        let Some(first) = lines[start..].iter().position(has_cell).map(|at| at + start) else { break };
        write(&lines[start..first], widths, out);
        let run = lines[first..].iter().take_while(|line| has_cell(line)).count();
        let block = &lines[first..first + run];
        let width = block.iter().map(|line| line[column].chars().count() + padding).max().unwrap_or(0);
        widths.push(width);
        format(block, padding, widths, out);
        widths.pop();
        start = first + run;
    }
    write(&lines[start..], widths, out);
}

fn write(lines: &[Vec<&str>], widths: &[usize], out: &mut String) {
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            match widths.get(column) {
                Some(width) if column + 1 < line.len() => out.push_str(&format!("{cell:<width$}")),
                _ => out.push_str(cell),
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_of_lines_has_its_own_columns() {
        let text = "Name:\tweb\nNamespace:\tdefault\nContainers:\n  c:\n    Image:\tx\nEvents:\n  Type\tReason\tAge\n  Normal\tPulled\t5s\n";
        assert_eq!(
            align(text, 2),
            "Name:       web\nNamespace:  default\nContainers:\n  c:\n    Image:  x\nEvents:\n  Type    Reason  Age\n  Normal  Pulled  5s\n"
        );
    }

    #[test]
    fn a_line_without_a_tab_ends_a_column() {
        assert_eq!(align("aaaa\tb\nplain\na\tb\n", 2), "aaaa  b\nplain\na  b\n");
        assert_eq!(align("a\tb\tc\nlonger\tx\n", 1), "a      b c\nlonger x\n");
    }
}
