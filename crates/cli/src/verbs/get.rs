//! `get`: objects as tables or data, once or as they change.

use apimachinery::meta::ObjectExt;
use serde_json::{Value, json};

use crate::api::{AS_TABLE, Url};
use crate::error::Error;
use crate::follow::{Seen, follow};
use crate::jsonpath::Template;
use crate::manifests::Files;
use crate::output::table::{self, Aligner, Columns, Grid};
use crate::output::{DataFormat, Format, list_of, without_managed_fields};
use crate::selection::{self, Filters, Found, Pick, Selection};
use crate::session::{Failures, Session};

/// Flags of `get`.
#[derive(Clone, Debug, clap::Args)]
pub struct Get {
    /// TYPE, TYPE,TYPE, TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    filters: Filters,
    /// The form of output: wide, name, json, yaml, jsonpath=…, custom-columns=…
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    /// After listing, tell changes as they happen
    #[arg(short = 'w', long)]
    watch: bool,
    /// Tell changes only
    #[arg(long)]
    watch_only: bool,
    /// With a watch: say whether an object was added, modified or deleted
    #[arg(long)]
    output_watch_events: bool,
    /// Show all labels in the last column
    #[arg(long)]
    show_labels: bool,
    /// Show the kind before each name
    #[arg(long)]
    show_kind: bool,
    /// Show these labels, each in a column
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    label_columns: Vec<String>,
    /// Leave the headings out
    #[arg(long)]
    no_headers: bool,
    /// Order by what stands at this path: .metadata.creationTimestamp
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,
    /// It is no failure when an object is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// Keep metadata.managedFields in json and yaml
    #[arg(long)]
    show_managed_fields: bool,
    /// Show this part of the object: status, scale
    #[arg(long, value_name = "PART")]
    subresource: Option<String>,
    /// Print what the server answers at this path
    #[arg(long, value_name = "PATH", conflicts_with = "words")]
    raw: Option<String>,
}

impl Get {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        if let Some(path) = &self.raw {
            return session.print(session.api.get_text(&Url::new(path)).await?);
        }
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.forbid_names_with(&self.filters)?;
        if self.watch || self.watch_only {
            return self.watch(session, &selection).await;
        }
        match &self.output {
            None | Some(Format::Wide) => self.tables(session, &selection).await,
            Some(Format::Name) => self.names(session, &selection).await,
            Some(Format::Data(format)) => self.data(session, &selection, format).await,
        }
    }

    fn url(&self, pick: &Pick) -> Url {
        match (&self.subresource, &pick.name) {
            (Some(part), Some(name)) => pick.resource.part_url(&pick.namespace, name, part),
            _ => pick.url(&self.filters),
        }
    }

    fn columns(&self, pick: &Pick, many_kinds: bool) -> Columns {
        Columns {
            wide: matches!(self.output, Some(Format::Wide)),
            namespace: self.filters.all_namespaces && pick.resource.namespaced,
            labels: self.show_labels,
            label_columns: self.label_columns.clone(),
            kind: (self.show_kind || many_kinds).then(|| pick.resource.type_name()),
        }
    }

    /// One table for each kind, parted by empty lines.
    async fn tables(&self, session: &Session, selection: &Selection) -> Result<(), Error> {
        let mut failures = Failures::default();
        let mut portions: Vec<(&Pick, Grid)> = Vec::new();
        for pick in &selection.picks {
            let table = self.table(session, pick).await;
            let Some(Some(table)) = failures.note(session, self.forgive(table))? else { continue };
            let mut grid = grid_of(&table, &self.columns(pick, selection.many_kinds));
            match portions.last_mut().filter(|(last, _)| last.resource == pick.resource) {
                Some((_, rows)) => rows.rows.append(&mut grid.rows),
                None => portions.push((pick, grid)),
            }
        }
        portions.retain(|(_, grid)| !grid.rows.is_empty());
        if portions.is_empty() && !failures.any() && !selection.has_names() && !self.ignore_not_found {
            self.say_nothing_found(session, selection)?;
        }
        for (index, (_, grid)) in portions.into_iter().enumerate() {
            let mut lines = if self.no_headers { Vec::new() } else { vec![grid.headings] };
            lines.extend(grid.rows);
            let gap = if index > 0 { "\n" } else { "" };
            session.print(format!("{gap}{}", table::align(&lines)))?;
        }
        failures.end()
    }

    fn say_nothing_found(&self, session: &Session, selection: &Selection) -> Result<(), Error> {
        let namespaced = selection.picks.iter().any(|pick| pick.resource.namespaced);
        if namespaced && !self.filters.all_namespaces {
            session.note(format!("No resources found in {} namespace.", session.namespace))
        } else {
            session.note("No resources found")
        }
    }

    async fn table(&self, session: &Session, pick: &Pick) -> Result<Value, Error> {
        let whole = if self.sort_by.is_some() { "Object" } else { "" };
        let url = self.url(pick).with("includeObject", whole);
        let mut table = session.api.get_as(&url, AS_TABLE).await?;
        if table["kind"] != "Table" {
            // A server without tables for this kind: a name and an age can be told all the same.
            table = plain_table(&table, pick);
        }
        if let (Some(path), Some(rows)) = (&self.sort_by, table["rows"].as_array_mut()) {
            sort(rows, path, |row| &row["object"])?;
        }
        Ok(table)
    }

    async fn names(&self, session: &Session, selection: &Selection) -> Result<(), Error> {
        let (found, failures) = self.fetch_all(session, selection).await?;
        for found in &found {
            session.say(found.type_and_name())?;
        }
        failures.end()
    }

    async fn data(&self, session: &Session, selection: &Selection, format: &DataFormat) -> Result<(), Error> {
        let (found, failures) = self.fetch_all(session, selection).await?;
        let keep = |object| if self.show_managed_fields { object } else { without_managed_fields(object) };
        let mut objects: Vec<Value> = found.into_iter().map(|f| keep(f.object)).collect();
        let is_one = matches!(selection.picks.as_slice(), [Pick { name: Some(_), .. }]);
        if is_one {
            if let Some(object) = objects.pop() {
                session.print(format.print(&object)?)?;
            }
        } else {
            session.print(format.print(&list_of(objects))?)?;
        }
        failures.end()
    }

    async fn fetch_all(
        &self,
        session: &Session,
        selection: &Selection,
    ) -> Result<(Vec<Found>, Failures), Error> {
        let mut failures = Failures::default();
        let mut all = Vec::new();
        for pick in &selection.picks {
            let answer = session.api.get(&self.url(pick)).await;
            let Some(Some(answer)) = failures.note(session, self.forgive(answer))? else { continue };
            match &pick.name {
                Some(_) => all.push(Found { resource: pick.resource.clone(), object: answer }),
                None => all.extend(selection::items(answer, &pick.resource)),
            }
        }
        if let Some(path) = &self.sort_by {
            sort(&mut all, path, |found| &found.object)?;
        }
        Ok((all, failures))
    }

    /// `None` for an object that may be missing and is.
    fn forgive<T>(&self, answer: Result<T, Error>) -> Result<Option<T>, Error> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.ignore_not_found && error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects now, then each change, until the reader has enough.
    async fn watch(&self, session: &Session, selection: &Selection) -> Result<(), Error> {
        let [pick] = selection.picks.as_slice() else {
            return Err(Error::plain("you may only specify a single resource type or name with --watch"));
        };
        let mut printer = WatchPrinter {
            verb: self,
            columns: self.columns(pick, false),
            definitions: Value::Null,
            aligner: Aligner::default(),
            headed: self.no_headers,
        };
        if pick.name.is_some() && !self.watch_only {
            // Says that the object is not there; a list would only be empty.
            session.api.get(&self.url(pick)).await?;
        }
        let mut skip_list = self.watch_only;
        let as_table = printer.as_table();
        follow(&session.api, &pick.watch_url(&self.filters), as_table, |seen| {
            match seen {
                Seen::List(_) if std::mem::take(&mut skip_list) => {}
                Seen::List(list) => printer.list(session, list, pick)?,
                Seen::Change(change, object) => printer.change(session, change, object, pick)?,
            }
            Ok(None)
        })
        .await
    }
}

/// What a watch has printed so far.
struct WatchPrinter<'a> {
    verb: &'a Get,
    columns: Columns,
    definitions: Value,
    aligner: Aligner,
    headed: bool,
}

impl WatchPrinter<'_> {
    fn as_table(&self) -> bool {
        matches!(self.verb.output, None | Some(Format::Wide))
    }

    fn list(&mut self, session: &Session, list: &Value, pick: &Pick) -> Result<(), Error> {
        if self.as_table() {
            return self.rows(session, "ADDED", list);
        }
        let found = selection::items(list.clone(), &pick.resource);
        found.into_iter().try_for_each(|found| self.object(session, "ADDED", found))
    }

    fn change(&mut self, session: &Session, change: &str, object: &Value, pick: &Pick) -> Result<(), Error> {
        if self.as_table() {
            return self.rows(session, change, object);
        }
        let found = Found { resource: pick.resource.clone(), object: object.clone() };
        self.object(session, change, found)
    }

    fn rows(&mut self, session: &Session, change: &str, table: &Value) -> Result<(), Error> {
        // Only the first table of a watch tells its columns.
        if table["columnDefinitions"].as_array().is_some_and(|columns| !columns.is_empty()) {
            self.definitions = table["columnDefinitions"].clone();
        }
        let mut grid = table::grid(table, &self.definitions, &self.columns);
        if self.verb.output_watch_events {
            grid.headings.insert(0, "EVENT".to_owned());
            grid.rows.iter_mut().for_each(|row| row.insert(0, change.to_owned()));
        }
        if grid.rows.is_empty() {
            return Ok(());
        }
        let mut lines = grid.rows;
        if !self.headed {
            self.headed = true;
            lines.insert(0, grid.headings);
        }
        session.print(self.aligner.lines(&lines))
    }

    fn object(&self, session: &Session, change: &str, found: Found) -> Result<(), Error> {
        let Some(Format::Data(format)) = &self.verb.output else { return session.say(found.type_and_name()) };
        let mut object = found.object;
        if !self.verb.show_managed_fields {
            object = without_managed_fields(object);
        }
        if self.verb.output_watch_events {
            object = json!({"type": change, "object": object});
        }
        let separator = if matches!(format, DataFormat::Yaml) { "---\n" } else { "" };
        session.print(format.print(&object)? + separator)
    }
}

fn grid_of(table: &Value, columns: &Columns) -> Grid {
    table::grid(table, &table["columnDefinitions"], columns)
}

/// Names and creation times of an object or a list.
fn plain_table(answer: &Value, pick: &Pick) -> Value {
    let objects = match pick.name {
        Some(_) => vec![answer.clone()],
        None => answer["items"].as_array().cloned().unwrap_or_default(),
    };
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| json!({"cells": [object.name(), object.meta_str("creationTimestamp")], "object": object}))
        .collect();
    json!({"columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Created At", "priority": 0}], "rows": rows})
}

/// Orders by what stands at a path; what has nothing there comes first.
fn sort<T>(items: &mut [T], path: &str, object: impl Fn(&T) -> &Value) -> Result<(), Error> {
    let template = Template::relaxed(path).map_err(|e| Error::plain(e.to_string()))?;
    let key = |item: &T| template.find(object(item)).ok().and_then(|found| found.into_iter().next());
    if !items.is_empty() && items.iter().all(|item| key(item).is_none()) {
        return Err(Error::plain(format!(
            "couldn't find any field with path {path:?} in the list of objects"
        )));
    }
    items.sort_by(|a, b| order(key(a).as_ref(), key(b).as_ref()));
    Ok(())
}

fn order(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (Some(a), Some(b)) => a.to_string().cmp(&b.to_string()),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_sort_by_numbers_and_by_words() {
        let mut items = vec![json!({"n": 10, "s": "b"}), json!({"n": 9, "s": "c"}), json!({"s": "a"})];
        sort(&mut items, ".n", |item| item).expect("sorted");
        assert_eq!(items.iter().map(|i| i["s"].as_str().unwrap_or_default()).collect::<String>(), "acb");
        sort(&mut items, "{.s}", |item| item).expect("sorted");
        assert_eq!(items.iter().map(|i| i["s"].as_str().unwrap_or_default()).collect::<String>(), "abc");
        assert!(sort(&mut items, ".nowhere", |item| item).is_err());
    }
}
