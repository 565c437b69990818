//! What a change means to one client, as a line of JSON.

use apimachinery::status::Status;
use bytes::Bytes;
use serde_json::{Value, json};
use store::{Event, Revision};

use crate::codec::Stored;
use crate::negotiate::Form;
use crate::route::Target;
use crate::selection::Selection;
use crate::table::Renderer;

/// The annotation of the bookmark that ends the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Writes events as lines.
pub(super) struct Lines {
    pub(super) target: Target,
    pub(super) renderer: Renderer,
    pub(super) selection: Selection,
    /// The first event of a table carries its columns.
    pub(super) columns_told: bool,
}

impl Lines {
    /// Appends what the event means to a client with this selection: an object that leaves the selection is
    /// gone, one that enters it is new.
    pub(super) fn event(&mut self, out: &mut Vec<u8>, event: &Event) -> Result<(), Status> {
        let shown = |side: &Option<store::Versioned>| match side {
            Some(versioned) => self.selection.shows(versioned),
            None => Ok(false),
        };
        let (before, after) = (shown(&event.previous)?, shown(&event.current)?);
        let (word, object) = match (before, after) {
            (false, false) => return Ok(()),
            (false, true) => ("ADDED", &event.current),
            (true, true) => ("MODIFIED", &event.current),
            (true, false) => ("DELETED", &event.previous),
        };
        let Some(object) = object else { return Ok(()) };
        self.object(out, word, &Stored { bytes: object.value.clone(), revision: event.revision })
    }

    pub(super) fn object(&mut self, out: &mut Vec<u8>, word: &str, stored: &Stored) -> Result<(), Status> {
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(br#"","object":"#);
        let with_columns = !std::mem::replace(&mut self.columns_told, true);
        self.renderer.write(out, stored, with_columns)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    pub(super) fn bookmark(&self, out: &mut Vec<u8>, revision: Revision, ends_initial: bool) {
        let kind = self.renderer.shown_kind();
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = match self.renderer.form() {
            Form::Object => {
                json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata})
            }
            Form::Partial(version) => json!({"kind": "PartialObjectMetadata",
                "apiVersion": version.api_version(), "metadata": metadata}),
            Form::Table(version, _) => json!({"kind": "Table", "apiVersion": version.api_version(),
                "metadata": metadata, "columnDefinitions": [], "rows": []}),
        };
        line(out, &json!({"type": "BOOKMARK", "object": object}));
    }

    pub(super) fn error(&self, status: &Status) -> Bytes {
        let mut out = Vec::new();
        line(&mut out, &json!({"type": "ERROR", "object": status.to_json()}));
        Bytes::from(out)
    }
}

fn line(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(&mut *out, value).expect("writing to memory");
    out.push(b'\n');
}
