//! Labels and what selects by them: the query form `a=b,c notin (d,e)` and `LabelSelector` objects
//! (`k8s.io/apimachinery/pkg/labels`, `meta/v1.LabelSelectorAsSelector`).

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use crate::names;

/// Something that has labels.
pub trait Labels {
    /// The value of the label `key`.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl<L: Labels + ?Sized> Labels for &L {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

/// An object without labels has none that match.
impl<L: Labels> Labels for Option<L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref()?.label(key)
    }
}

/// Which objects are meant. All requirements must hold; no requirement at all selects everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// `None`: nothing is selected, whatever its labels.
    requirements: Option<Vec<Requirement>>,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is one of the values: `key in (a,b)`, `key=a`.
    In,
    /// The label is absent or none of the values: `key notin (a,b)`, `key!=a`.
    NotIn,
    /// The label is there: `key`.
    Exists,
    /// The label is absent: `!key`.
    DoesNotExist,
    /// The label is a number above the value: `key>5`.
    GreaterThan,
    /// The label is a number below the value: `key<5`.
    LessThan,
}

/// Why a text or an object is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else stands where a key, an operator or a value belongs.
    #[error("unable to parse requirement: found '{found}', expected: {expected}")]
    Unexpected {
        /// What stands there; empty at the end.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The key is no label key.
    #[error("invalid label key {key:?}: {why}")]
    Key {
        /// The key.
        key: String,
        /// Which rule it breaks.
        why: String,
    },
    /// The value can be no label's.
    #[error("invalid value {value:?} for label key {key:?}: {why}")]
    Value {
        /// The label's key.
        key: String,
        /// The value.
        value: String,
        /// Which rule it breaks.
        why: String,
    },
    /// The number of values does not fit the operator.
    #[error("values for label key {key:?}: for {operator} {rule}")]
    Values {
        /// The label's key.
        key: String,
        /// The operator as written in a `LabelSelector`.
        operator: &'static str,
        /// How many values there must be.
        rule: &'static str,
    },
    /// A `LabelSelector` with an operator that does not exist.
    #[error("{operator:?} is not a valid label selector operator; use In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// The operator as written.
        operator: String,
    },
    /// A `LabelSelector` of the wrong shape.
    #[error("label selector: {field} must be {expected}")]
    Shape {
        /// The field inside the selector.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl Selector {
    /// Selects all objects.
    pub fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Reads the query form: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1,j<9`. Empty selects everything.
    ///
    /// # Errors
    /// When the text does not follow the grammar, or a key or a value can be no label's.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse::parse(text).map(Self::from_requirements)
    }

    /// Reads a `LabelSelector` object. Absent (`null`) selects nothing, empty (`{}`) everything, as upstream.
    ///
    /// # Errors
    /// When the object has the wrong shape, an unknown operator, or a key or value that can be no label's.
    pub fn from_label_selector(selector: &Value) -> Result<Self, Error> {
        let Value::Object(selector) = selector else {
            return match selector {
                Value::Null => Ok(Self::nothing()),
                _ => Err(Error::Shape { field: "selector", expected: "an object" }),
            };
        };
        let mut requirements = Vec::new();
        match selector.get("matchLabels") {
            None | Some(Value::Null) => {}
            Some(Value::Object(labels)) => {
                for (key, value) in labels {
                    let value = value
                        .as_str()
                        .ok_or(Error::Shape { field: "matchLabels", expected: "a map of strings" })?;
                    requirements.push(Requirement::new(key, Operator::In, [value.to_owned()])?);
                }
            }
            Some(_) => return Err(Error::Shape { field: "matchLabels", expected: "a map of strings" }),
        }
        match selector.get("matchExpressions") {
            None | Some(Value::Null) => {}
            Some(Value::Array(expressions)) => {
                for expression in expressions {
                    requirements.push(expression_requirement(expression)?);
                }
            }
            Some(_) => return Err(Error::Shape { field: "matchExpressions", expected: "a list" }),
        }
        Ok(Self::from_requirements(requirements))
    }

    /// Makes a selector of what a typed `LabelSelector` holds: its labels, and its expressions as
    /// (key, operator, values).
    ///
    /// # Errors
    /// As [`Selector::from_label_selector`].
    pub fn from_parts<'a>(
        match_labels: impl IntoIterator<Item = (&'a String, &'a String)>,
        match_expressions: impl IntoIterator<Item = (&'a str, &'a str, &'a [String])>,
    ) -> Result<Self, Error> {
        let mut requirements = Vec::new();
        for (key, value) in match_labels {
            requirements.push(Requirement::new(key, Operator::In, [value.clone()])?);
        }
        for (key, operator, values) in match_expressions {
            let operator = Operator::named(operator)?;
            requirements.push(Requirement::new(key, operator, values.iter().cloned())?);
        }
        Ok(Self::from_requirements(requirements))
    }

    /// Selects what has all of these labels, as a Service's `selector` does. None selects everything.
    pub fn from_set<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let exactly = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::In,
            values: BTreeSet::from([value.to_owned()]),
        };
        Self::from_requirements(labels.into_iter().map(exactly).collect())
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.requirements.as_ref().is_some_and(|all| all.iter().all(|r| r.matches(labels.label(&r.key))))
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// The requirements, sorted by key; none also for a selector of nothing.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }

    fn from_requirements(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements) }
    }
}

/// The query form, as `/scale` and tables show it; of nothing: the empty text, as upstream.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements().iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl Requirement {
    fn new(key: &str, operator: Operator, values: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let values: BTreeSet<String> = values.into_iter().collect();
        names::qualified_name(key).map_err(|why| Error::Key { key: key.to_owned(), why })?;
        if let Some(rule) = operator.values_rule(&values) {
            return Err(Error::Values { key: key.to_owned(), operator: operator.name(), rule });
        }
        for value in &values {
            names::label_value(value).map_err(|why| Error::Value {
                key: key.to_owned(),
                value: value.clone(),
                why,
            })?;
        }
        Ok(Self { key: key.to_owned(), operator, values })
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How the label is compared.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// What the label is compared with, sorted.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Whether a label with this value (`None`: absent) will do.
    pub fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |label, bound| label > bound),
            Operator::LessThan => self.compare(value, |label, bound| label < bound),
        }
    }

    fn compare(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = self.values.first().and_then(|v| number(v));
        matches!((value.and_then(number), bound), (Some(label), Some(bound)) if holds(label, bound))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = || self.values().collect::<Vec<_>>().join(",");
        match self.operator {
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", list()),
            Operator::LessThan => write!(f, "{key}<{}", list()),
            Operator::In if self.values.len() == 1 => write!(f, "{key}={}", list()),
            Operator::NotIn if self.values.len() == 1 => write!(f, "{key}!={}", list()),
            Operator::In => write!(f, "{key} in ({})", list()),
            Operator::NotIn => write!(f, "{key} notin ({})", list()),
        }
    }
}

impl Operator {
    fn named(name: &str) -> Result<Self, Error> {
        match name {
            "In" => Ok(Self::In),
            "NotIn" => Ok(Self::NotIn),
            "Exists" => Ok(Self::Exists),
            "DoesNotExist" => Ok(Self::DoesNotExist),
            other => Err(Error::Operator { operator: other.to_owned() }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::GreaterThan => "Gt",
            Self::LessThan => "Lt",
        }
    }

    /// The rule about the number of values that these break.
    fn values_rule(self, values: &BTreeSet<String>) -> Option<&'static str> {
        match self {
            Self::In | Self::NotIn => values.is_empty().then_some("the values must be non-empty"),
            Self::Exists | Self::DoesNotExist => (!values.is_empty()).then_some("there must be no values"),
            Self::GreaterThan | Self::LessThan => {
                let one_number = values.len() == 1 && values.iter().all(|v| v.parse::<i64>().is_ok());
                (!one_number).then_some("there must be one value, an integer")
            }
        }
    }
}

fn expression_requirement(expression: &Value) -> Result<Requirement, Error> {
    let text = |field| expression.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut values = Vec::new();
    match expression.get("values") {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) => {
            for item in items {
                let item =
                    item.as_str().ok_or(Error::Shape { field: "values", expected: "a list of strings" })?;
                values.push(item.to_owned());
            }
        }
        Some(_) => return Err(Error::Shape { field: "values", expected: "a list of strings" }),
    }
    Requirement::new(text("key"), Operator::named(text("operator"))?, values)
}

#[cfg(test)]
mod tests;
