//! Which objects a list or a watch is about: label and field selectors.

use std::sync::Arc;

use apimachinery::status::Status;
use apimachinery::{fields, labels};
use registry::{Kind, Version};
use serde_json::Value;
use store::Versioned;

use crate::api::Request;
use crate::attributes::{Attributes, Lately};
use crate::route::Target;

/// What an object must satisfy to be shown.
pub(crate) struct Selection {
    kind: &'static Kind,
    labels: Option<labels::Selector>,
    fields: Option<fields::Selector>,
    /// Whether a field besides the name and the namespace is asked for: then the whole object is read.
    deep: bool,
    lately: Option<Arc<Lately>>,
}

/// Upstream's kinds with fields of their own say it in other words than those without
/// (`DefaultMetaV1FieldSelectorConversion`).
fn unknown_field(field: &str, only_metadata: bool) -> Status {
    Status::bad_request(if only_metadata {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    })
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`. 400 for selectors that cannot be understood and for fields
    /// that the kind does not offer.
    pub(crate) fn from_request(request: &Request, target: &Target) -> Result<Self, Status> {
        let (kind, query) = (target.kind, &request.query);
        let labels = query
            .get("labelSelector")
            .map(labels::Selector::parse)
            .transpose()
            .map_err(|e| Status::bad_request(format!("unable to parse requirement: {e}")))?;
        let fields = query
            .get("fieldSelector")
            .map(fields::Selector::parse)
            .transpose()
            .map_err(|e| Status::bad_request(e.to_string()))?
            .map(|selector| stored_fields(selector, request.version))
            .transpose()?
            .filter(|f| !f.is_empty());
        let mut deep = false;
        if let Some(fields) = &fields {
            let offered = kind.strategy.selectable_fields(&Value::Null);
            for term in fields.terms() {
                if matches!(term.field.as_str(), "metadata.name" | "metadata.namespace") {
                    continue;
                }
                if !offered.iter().any(|(field, _)| *field == term.field) {
                    return Err(unknown_field(&term.field, offered.is_empty()));
                }
                deep = true;
            }
        }
        Ok(Self { kind, labels, fields, deep, lately: None })
    }

    /// Whether every object is shown.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// The one name that can be shown, when the selector says so.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.as_ref()?.required("metadata.name")
    }

    /// For a watch: what others have just looked at is not read again.
    pub(crate) fn remembering(self, lately: &Arc<Lately>) -> Self {
        Self { lately: Some(Arc::clone(lately)), ..self }
    }

    /// Whether the stored object is shown.
    pub(crate) fn matches(&self, bytes: &[u8]) -> Result<bool, Status> {
        if self.is_everything() {
            return Ok(true);
        }
        Ok(self.admits(&Attributes::read(self.kind, bytes, self.deep)?))
    }

    /// The same for one that a watch has told of.
    pub(crate) fn shows(&self, told: &Versioned) -> Result<bool, Status> {
        match &self.lately {
            Some(lately) if !self.is_everything() => {
                let attributes = lately.attributes(self.kind, told, self.deep)?;
                Ok(self.admits(&attributes))
            }
            _ => self.matches(&told.value),
        }
    }

    fn admits(&self, attributes: &Attributes) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.matches(|field| attributes.field(field)))
            && self.labels.as_ref().is_none_or(|labels| labels.matches(&attributes.labels))
    }
}

/// The selector with the fields as the stored kind calls them.
fn stored_fields(
    mut selector: fields::Selector,
    version: Option<&Version>,
) -> Result<fields::Selector, Status> {
    let Some(version) = version else { return Ok(selector) };
    for field in selector.fields_mut() {
        if matches!(field.as_str(), "metadata.name" | "metadata.namespace") {
            continue;
        }
        let known = version.field_labels.iter().find(|(asked, _)| asked == field);
        let (_, stored) =
            known.ok_or_else(|| Status::bad_request(format!("field label not supported: {field}")))?;
        (*stored).clone_into(field);
    }
    Ok(selector)
}
