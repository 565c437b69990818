//! Objects as clients asked to see them: whole, as rows of a table, or their metadata alone.

use apimachinery::inject::Clock;
use apimachinery::status::Status;
use bytes::Bytes;
use jiff::Timestamp;
use registry::{Kind, Version};
use serde_json::{Value, json};
use store::Revision;

use crate::codec::{self, Stored};
use crate::negotiate::{Form, IncludeObject, MetaVersion};

/// Turns objects of one kind into answers of one form.
pub(crate) struct Renderer {
    kind: &'static Kind,
    form: Form,
    prefix: String,
    /// Ages in tables are told as of now.
    clock: Clock,
    /// The second version that objects are shown in.
    version: Option<&'static Version>,
}

/// `meta/v1.ListMeta`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: Revision,
    /// The token for the next page.
    pub(crate) continue_token: Option<String>,
    /// How many more there are, when that is known.
    pub(crate) remaining: Option<u64>,
}

impl ListMeta {
    fn to_json(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.revision.to_string()});
        if let Some(token) = &self.continue_token {
            meta["continue"] = token.as_str().into();
            if let Some(remaining) = self.remaining {
                meta["remainingItemCount"] = remaining.into();
            }
        }
        meta
    }
}

impl Renderer {
    pub(crate) fn new(kind: &'static Kind, form: Form, clock: Clock) -> Self {
        Self { kind, form, prefix: codec::prefix(kind), clock, version: None }
    }

    /// Shows objects in this version of the kind.
    pub(crate) fn in_version(self, version: Option<&'static Version>) -> Self {
        Self { version, ..self }
    }

    /// The kind, in the version that objects are shown in.
    pub(crate) fn shown_kind(&self) -> &'static Kind {
        self.version.map_or(self.kind, |version| &version.served)
    }

    /// The form of the answers.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// One object as a whole answer.
    pub(crate) fn one(&self, stored: &Stored) -> Result<Bytes, Status> {
        let mut out = Vec::new();
        self.write(&mut out, stored, true)?;
        out.push(b'\n');
        Ok(Bytes::from(out))
    }

    /// Appends one object as it stands in a watch event or an answer of its own. In a table the columns
    /// are told when `with_columns`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, stored: &Stored, with_columns: bool) -> Result<(), Status> {
        match self.form {
            Form::Object => self.whole(out, stored)?,
            Form::Partial(version) => put(out, &partial(&codec::decode(stored)?, version)),
            Form::Table(version, include) => {
                let row = self.row(stored, version, include, self.clock.now())?;
                let meta = ListMeta { revision: stored.revision, ..ListMeta::default() };
                put(out, &self.table(version, &meta, &[row], with_columns));
            }
        }
        Ok(())
    }

    /// A list as a whole answer.
    pub(crate) fn list(&self, items: &[Stored], meta: &ListMeta) -> Result<Bytes, Status> {
        let mut out = Vec::new();
        match self.form {
            Form::Object => {
                let kind = self.shown_kind();
                let head = json!({"kind": kind.list_kind(), "apiVersion": kind.api_version(),
                    "metadata": meta.to_json()});
                self.write_items(&mut out, &head, items, |out, item| self.whole(out, item))?;
            }
            Form::Partial(version) => {
                let head = json!({"kind": "PartialObjectMetadataList", "apiVersion": version.api_version(),
                    "metadata": meta.to_json()});
                self.write_items(&mut out, &head, items, |out, item| {
                    put(out, &partial(&codec::decode(item)?, version));
                    Ok(())
                })?;
            }
            Form::Table(version, include) => {
                let now = self.clock.now();
                let rows: Result<Vec<Value>, Status> =
                    items.iter().map(|item| self.row(item, version, include, now)).collect();
                put(&mut out, &self.table(version, meta, &rows?, true));
            }
        }
        out.push(b'\n');
        Ok(Bytes::from(out))
    }

    /// Appends the object itself.
    fn whole(&self, out: &mut Vec<u8>, stored: &Stored) -> Result<(), Status> {
        match self.version {
            None => codec::write_object(out, &self.prefix, &stored.bytes, stored.revision),
            Some(_) => put(out, &self.decode(stored)?),
        }
        Ok(())
    }

    /// The object in the version that it is shown in.
    fn decode(&self, stored: &Stored) -> Result<Value, Status> {
        let mut object = codec::decode(stored)?;
        if let Some(version) = self.version {
            version.from_stored(&mut object);
        }
        Ok(object)
    }

    /// `head` with `items` as its last field, without holding the items twice.
    fn write_items(
        &self,
        out: &mut Vec<u8>,
        head: &Value,
        items: &[Stored],
        write: impl Fn(&mut Vec<u8>, &Stored) -> Result<(), Status>,
    ) -> Result<(), Status> {
        out.reserve(items.iter().map(|i| i.bytes.len() + 40).sum::<usize>() + 200);
        put(out, head);
        out.pop();
        out.extend_from_slice(br#","items":["#);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, item)?;
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    fn row(
        &self,
        stored: &Stored,
        version: MetaVersion,
        include: IncludeObject,
        now: Timestamp,
    ) -> Result<Value, Status> {
        let object = codec::decode(stored)?;
        let cells = self.kind.strategy.row(&object, now);
        let mut row = json!({"cells": cells});
        match include {
            IncludeObject::None => {}
            IncludeObject::Metadata => row["object"] = partial(&object, version),
            IncludeObject::Object => row["object"] = self.decode(stored)?,
        }
        Ok(row)
    }

    fn table(&self, version: MetaVersion, meta: &ListMeta, rows: &[Value], with_columns: bool) -> Value {
        let columns: Vec<Value> =
            self.kind.strategy.columns().iter().filter(|_| with_columns).map(column).collect();
        json!({"kind": "Table", "apiVersion": version.api_version(), "metadata": meta.to_json(),
            "columnDefinitions": columns, "rows": rows})
    }
}

fn column(column: &registry::Column) -> Value {
    json!({"name": column.name, "type": column.column_type, "format": column.format,
        "description": column.description, "priority": column.priority})
}

fn partial(object: &Value, version: MetaVersion) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(), "metadata": object["metadata"]})
}

fn put(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("writing to memory");
}
