//! What somebody probably meant who wrote a field that a type does not have.

use std::fmt;

use super::{Item, Schema, Shape, TypeId};

/// How many structs below the wrong place are looked into for the field.
const MAX_DEPTH: usize = 3;

/// What was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Suggestion {
    /// A field with nearly the same name.
    Near(&'static str),
    /// A field of just this name, further inside.
    Inside(String),
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Near(name) => write!(f, "did you mean {name:?}?"),
            Self::Inside(path) => write!(f, "did you mean {path:?}, further inside?"),
        }
    }
}

impl Suggestion {
    pub(super) fn find(schema: &Schema, type_id: TypeId, wrong: &str) -> Option<Self> {
        let most = match wrong.len() {
            0..=2 => return None,
            3..=5 => 1,
            6..=11 => 2,
            12..=64 => 3,
            _ => return None,
        };
        let near = schema
            .fields(type_id)
            .iter()
            .map(|f| (distance(&wrong.to_ascii_lowercase(), &f.name.to_ascii_lowercase()), f.name))
            .filter(|(distance, _)| *distance <= most)
            .min();
        if let Some((_, name)) = near {
            return Some(Self::Near(name));
        }
        (1..=MAX_DEPTH).find_map(|depth| inside(schema, type_id, wrong, depth)).map(Self::Inside)
    }
}

/// The path, `depth` structs down, of a field called `name`.
fn inside(schema: &Schema, type_id: TypeId, name: &str, depth: usize) -> Option<String> {
    schema.fields(type_id).iter().find_map(|field| {
        let Shape::One(Item::Type(inner)) = field.shape else { return None };
        let rest = match depth {
            1 => schema.field(inner, name)?.name.to_owned(),
            _ => inside(schema, inner, name, depth - 1)?,
        };
        Some(format!("{}.{rest}", field.name))
    })
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
