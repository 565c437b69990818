//! Where in an object something is wrong, and how, in upstream's words
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

use std::fmt;

use serde_json::Value;

/// The path of a field as people write it: `spec.containers[0].ports[1].name`, `data[a/b]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(String);

impl Path {
    /// A path that starts at `root`, for instance `spec`.
    pub fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    /// The path before the first field: its children are top-level fields.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// The field `name` inside this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// Item `index` of this list.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of this map.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a field; the names that `Status.details.causes[].reason` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The field must be set.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value is of the wrong JSON type.
    TypeInvalid,
    /// The value is not one of an enumeration's.
    NotSupported,
    /// The field may not be set, or not be changed.
    Forbidden,
    /// The value stands elsewhere already.
    Duplicate,
    /// The value is longer than allowed.
    TooLong,
    /// The list or map has more entries than allowed.
    TooMany,
    /// What the value names does not exist.
    NotFound,
}

impl ErrorType {
    /// The reason as `Status` causes carry it, for instance `FieldValueRequired`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(self, Self::Required | Self::Forbidden | Self::TooLong | Self::TooMany)
    }
}

/// One thing wrong with one field. Its text is upstream's: `spec.replicas: Invalid value: -1: must be …`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What kind of fault it is.
    pub error_type: ErrorType,
    /// The field's path.
    pub field: Path,
    /// The value found there; not shown for faults that are not about a value.
    pub bad_value: Value,
    /// What is wrong and what would be right; may be empty.
    pub detail: String,
}

impl FieldError {
    /// The field must be set.
    pub fn required(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Required, field, Value::Null, detail)
    }

    /// The value breaks a rule.
    pub fn invalid(field: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, field, value.into(), detail)
    }

    /// The value is of the wrong JSON type.
    pub fn type_invalid(field: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::TypeInvalid, field, value.into(), detail)
    }

    /// The value is none of `supported`.
    pub fn not_supported(field: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        Self::new(
            ErrorType::NotSupported,
            field,
            value.into(),
            format!("supported values: {}", list.join(", ")),
        )
    }

    /// The field may not be set, or not be changed.
    pub fn forbidden(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Forbidden, field, Value::Null, detail)
    }

    /// The value stands elsewhere already.
    pub fn duplicate(field: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::Duplicate, field, value.into(), "")
    }

    /// The value has more than `max` bytes.
    pub fn too_long(field: &Path, max: usize) -> Self {
        Self::new(ErrorType::TooLong, field, Value::Null, format!("may not be more than {max} bytes"))
    }

    /// What the value names does not exist.
    pub fn not_found(field: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::NotFound, field, value.into(), "")
    }

    fn new(error_type: ErrorType, field: &Path, bad_value: Value, detail: impl Into<String>) -> Self {
        Self { error_type, field: field.clone(), bad_value, detail: detail.into() }
    }

    /// The text without the field's path, as `Status` causes carry it.
    pub fn body(&self) -> String {
        let mut text = self.error_type.words().to_owned();
        if self.error_type.shows_value() {
            text += &format!(": {}", self.bad_value);
        }
        if !self.detail.is_empty() {
            text += &format!(": {}", self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_upstream_prints_them() {
        let replicas = Path::new("spec").child("replicas");
        let shown = [
            FieldError::invalid(&replicas, -1, "must be greater than or equal to 0").to_string(),
            FieldError::required(&Path::new("spec").child("containers").index(0).child("name"), "")
                .to_string(),
            FieldError::not_supported(&Path::new("spec").child("type"), "x", &["A", "B"]).to_string(),
            FieldError::forbidden(&Path::new("spec"), "may not change").to_string(),
            FieldError::duplicate(&Path::new("data").key("a/b"), "v").to_string(),
        ];
        assert_eq!(
            shown,
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.containers[0].name: Required value",
                "spec.type: Unsupported value: \"x\": supported values: \"A\", \"B\"",
                "spec: Forbidden: may not change",
                "data[a/b]: Duplicate value: \"v\"",
            ]
        );
    }
}
