//! Steps over values.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::{Error, Operator, Part, Step, text_of};

type Values<'a> = Vec<Cow<'a, Value>>;

pub(super) fn render(parts: &[Part], value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    each(parts, value, &mut |text, values| {
        out.push_str(text);
        let words: Vec<String> = values.iter().map(|v| text_of(v)).collect();
        out.push_str(&words.join(" "));
    })?;
    Ok(out)
}

pub(super) fn find(parts: &[Part], value: &Value) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    each(parts, value, &mut |_, values| found.extend(values.into_iter().map(Cow::into_owned)))?;
    Ok(found)
}

/// Calls `out` with every text, and with the values of every action.
fn each(parts: &[Part], value: &Value, out: &mut dyn FnMut(&str, Values<'_>)) -> Result<(), Error> {
    for part in parts {
        match part {
            Part::Text(text) => out(text, Vec::new()),
            Part::Action(steps) => out("", walk(steps, vec![Cow::Borrowed(value)])?),
            Part::Range(steps, inside) => {
                for item in walk(steps, vec![Cow::Borrowed(value)])? {
                    each(inside, &item, out)?;
                }
            }
        }
    }
    Ok(())
}

fn walk<'a>(steps: &'a [Step], mut values: Values<'a>) -> Result<Values<'a>, Error> {
    for step in steps {
        values = match step {
            Step::Text(text) => vec![Cow::Owned(Value::String(text.clone()))],
            Step::Literal(literal) => values.iter().map(|_| Cow::Borrowed(literal)).collect(),
            Step::Field(name) => values.into_iter().filter_map(|value| child(value, name)).collect(),
            Step::Wildcard => values.into_iter().flat_map(children).collect(),
            Step::Recursive => {
                let mut all = Vec::new();
                values.into_iter().for_each(|value| descend(value, &mut all));
                all
            }
            Step::Index(index) => each_list(values, |list| at(list, *index))?,
            Step::Slice { start, end, step } => each_list(values, |list| slice(list, *start, *end, *step))?,
            Step::Union(branches) => {
                let mut all = Vec::new();
                for branch in branches {
                    all.extend(walk(branch, values.clone())?);
                }
                all
            }
            Step::Filter { left, comparison } => {
                each_list(values, |list| filter(list, left, comparison.as_ref()))?
            }
        };
    }
    Ok(values)
}

fn child<'a>(value: Cow<'a, Value>, name: &str) -> Option<Cow<'a, Value>> {
    match value {
        Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
        Cow::Owned(mut value) => value.get_mut(name).map(|v| Cow::Owned(v.take())),
    }
}

fn children(value: Cow<'_, Value>) -> Values<'_> {
    match value {
        Cow::Borrowed(Value::Array(items)) => items.iter().map(Cow::Borrowed).collect(),
        Cow::Borrowed(Value::Object(fields)) => fields.values().map(Cow::Borrowed).collect(),
        Cow::Owned(Value::Array(items)) => items.into_iter().map(Cow::Owned).collect(),
        Cow::Owned(Value::Object(fields)) => fields.into_iter().map(|(_, v)| Cow::Owned(v)).collect(),
        _ => Vec::new(),
    }
}

/// Every collection below and including the value, parents first.
fn descend<'a>(value: Cow<'a, Value>, all: &mut Values<'a>) {
    let below = children(value.clone());
    if !below.is_empty() {
        all.push(value);
        below.into_iter().for_each(|child| descend(child, all));
    }
}

/// Applies `take` to every list; `null` has no items, anything else is no list.
fn each_list<'a>(
    values: Values<'a>,
    take: impl Fn(Values<'a>) -> Result<Values<'a>, Error>,
) -> Result<Values<'a>, Error> {
    let mut all = Vec::new();
    for value in values {
        match value.as_ref() {
            Value::Null => {}
            Value::Array(_) => all.extend(take(children(value))?),
            other => return Err(Error::new(format!("{other} is not a list: it has no index"))),
        }
    }
    Ok(all)
}

fn at(mut list: Values<'_>, index: i64) -> Result<Values<'_>, Error> {
    let from_start = place(index, list.len());
    match from_start {
        Some(at) if at < list.len() => Ok(vec![list.swap_remove(at)]),
        _ => Err(Error::new(format!("array index out of bounds: index {index}, length {}", list.len()))),
    }
}

/// An index from the start; `None` when it lies before it.
fn place(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

fn slice(
    list: Values<'_>,
    start: Option<i64>,
    end: Option<i64>,
    step: Option<i64>,
) -> Result<Values<'_>, Error> {
    let length = list.len();
    let outside =
        |index: i64| Error::new(format!("array index out of bounds: index {index}, length {length}"));
    let from = start.map_or(Some(0), |index| place(index, length));
    let to = end.map_or(Some(length), |index| place(index, length));
    if from == to {
        return Ok(Vec::new());
    }
    let from = from.filter(|at| *at < length).ok_or_else(|| outside(start.unwrap_or_default()))?;
    let to = to.filter(|at| *at <= length).ok_or_else(|| outside(end.unwrap_or_default() - 1))?;
    if from > to {
        return Err(Error::new(format!("starting index {from} is greater than ending index {to}")));
    }
    let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0);
    let step = step.ok_or_else(|| Error::new("step must be > 0"))?;
    Ok(list.into_iter().take(to).skip(from).step_by(step).collect())
}

fn filter<'a>(
    list: Values<'a>,
    left: &[Step],
    comparison: Option<&(Operator, Vec<Step>)>,
) -> Result<Values<'a>, Error> {
    let mut kept = Vec::new();
    for item in list {
        let lefts = walk(left, vec![Cow::Borrowed(item.as_ref())]);
        let keep = match comparison {
            None => !lefts?.is_empty(),
            Some((operator, right)) => {
                let rights = walk(right, vec![Cow::Borrowed(item.as_ref())])?;
                match (lefts?.as_slice(), rights.as_slice()) {
                    ([], _) | (_, []) => false,
                    ([left], [right]) => compare(left, *operator, right)?,
                    _ => return Err(Error::new("can only compare one element at a time")),
                }
            }
        };
        if keep {
            kept.push(item);
        }
    }
    Ok(kept)
}

fn compare(left: &Value, operator: Operator, right: &Value) -> Result<bool, Error> {
    let ordering = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().unwrap_or(f64::NAN).partial_cmp(&right.as_f64().unwrap_or(f64::NAN))
        }
        (Value::Bool(left), Value::Bool(right)) => match operator {
            Operator::Equal | Operator::NotEqual => Some(left.cmp(right)),
            _ => None,
        },
        _ => None,
    };
    let ordering = ordering.ok_or_else(|| Error::new(format!("cannot compare {left} with {right}")))?;
    Ok(match operator {
        Operator::Equal => ordering == Ordering::Equal,
        Operator::NotEqual => ordering != Ordering::Equal,
        Operator::Less => ordering == Ordering::Less,
        Operator::LessOrEqual => ordering != Ordering::Greater,
        Operator::Greater => ordering == Ordering::Greater,
        Operator::GreaterOrEqual => ordering != Ordering::Less,
    })
}
