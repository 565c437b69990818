//! Kinds that upstream serves in a second version too. There is one object in the store, of the kind in
//! [`crate::KINDS`]; it is converted as it comes and goes. A second version is one file and one line.

use apimachinery::field::FieldError;
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::{Map, Value};

use crate::kind::Kind;

mod autoscaling_v1;
mod events_v1;

/// A second version of a kind.
pub struct Version {
    /// How the kind is called in this version. It has the rules of the stored kind, which never see an object of
    /// this version.
    pub served: Kind,
    /// The kind that is stored.
    pub stored: &'static Kind,
    /// Fields that selectors ask for in this version, and what the stored kind calls them; all that may be asked.
    pub field_labels: &'static [(&'static str, &'static str)],
    to_stored: fn(&mut Map<String, Value>),
    from_stored: fn(&mut Map<String, Value>),
    /// What is wrong with a new object of this version, in the form that is stored, beside the stored kind's rules.
    check_new: fn(&Value) -> Vec<FieldError>,
    /// The same for a change, from the second to the first.
    check_change: fn(&Value, &Value) -> Vec<FieldError>,
}

/// Every second version that is served.
pub static VERSIONS: &[&Version] = &[&events_v1::VERSION, &autoscaling_v1::VERSION];

impl Version {
    /// Turns an object of this version into one of the stored kind. An object of the stored kind stays as it is.
    pub fn to_stored(&self, object: &mut Value) {
        Self::convert(object, &self.served, self.stored, self.to_stored);
    }

    /// Turns an object of the stored kind into one of this version.
    pub fn from_stored(&self, object: &mut Value) {
        Self::convert(object, self.stored, &self.served, self.from_stored);
    }

    /// Refuses a new object, or a change to one, as this version does. Both are in the form that is stored.
    ///
    /// # Errors
    /// 422.
    pub fn check(&self, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let errors = match old {
            None => (self.check_new)(new),
            Some(old) => (self.check_change)(new, old),
        };
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(&self.served.group_kind(), new.name(), &errors))
    }

    fn convert(object: &mut Value, from: &Kind, to: &Kind, change: fn(&mut Map<String, Value>)) {
        let Some(fields) = object.as_object_mut() else { return };
        if fields.get("apiVersion").and_then(Value::as_str) == Some(&*from.api_version()) {
            change(fields);
            fields.insert("apiVersion".to_owned(), to.api_version().into());
        }
    }
}

/// Gives a field another name.
fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}
