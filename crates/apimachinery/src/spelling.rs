//! What somebody probably meant who wrote a word that is not known.

/// The known word that differs from `wrong` by a slip or two of the pen, if one does; in any case of letters. The
/// nearest of several, and of equally near ones the first by the alphabet.
///
/// ```
/// use apimachinery::spelling::nearest;
///
/// assert_eq!(nearest("replcas", ["replicas", "selector"]), Some("replicas"));
/// assert_eq!(nearest("replcas", ["selector", "template"]), None);
/// ```
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match wrong.len() {
        0..=2 => return None,
        3..=5 => 1,
        6..=11 => 2,
        12..=64 => 3,
        _ => return None,
    };
    let wrong = wrong.to_lowercase();
    let near = known.into_iter().map(|word| (distance(&wrong, &word.to_lowercase()), word));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, word)| word)
}

/// How many letters must be put in, taken out, exchanged or swapped with their neighbour
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = exchanged.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
