//! `events`: what happened.

use apimachinery::meta::ObjectExt;
use jiff::Timestamp;
use serde_json::Value;

use crate::api::Url;
use crate::describe;
use crate::error::Error;
use crate::follow::{Seen, follow};
use crate::output::table::Aligner;
use crate::output::{Format, list_of, without_managed_fields};
use crate::selection::{self, Pick};
use crate::session::Session;

/// Flags of `events`.
#[derive(Clone, Debug, clap::Args)]
pub struct Events {
    /// Only about this object
    #[arg(long = "for", value_name = "TYPE/NAME")]
    about: Option<String>,
    /// Only of these types: Normal, Warning
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// After listing, tell events as they happen
    #[arg(short = 'w', long)]
    watch: bool,
    /// Leave the headings out
    #[arg(long)]
    no_headers: bool,
    /// The form of output: json, yaml, name, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Events {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let url = self.url(session).await?;
        if self.watch {
            return self.follow(session, &url).await;
        }
        let pick_resource = session.resource("events").await?;
        let list = session.api.get(&url).await?;
        let found = selection::items(list, &pick_resource);
        let mut events: Vec<Value> = found.into_iter().map(|f| f.object).filter(|e| self.wants(e)).collect();
        sort(&mut events);
        match &self.output {
            Some(Format::Data(format)) => {
                let events = events.into_iter().map(without_managed_fields).collect();
                session.print(format.print(&list_of(events))?)
            }
            Some(Format::Name) => events.iter().try_for_each(|e| session.say(format!("event/{}", e.name()))),
            _ if events.is_empty() => session.note(if self.all_namespaces {
                "No events found.".to_owned()
            } else {
                format!("No events found in {} namespace.", session.namespace)
            }),
            _ => {
                let mut rows = if self.no_headers { Vec::new() } else { vec![self.headings()] };
                let now = Timestamp::now();
                rows.extend(events.iter().map(|event| self.row(event, now)));
                session.print(Aligner::default().lines(&rows))
            }
        }
    }

    async fn url(&self, session: &Session) -> Result<Url, Error> {
        let resource = session.resource("events").await?;
        let namespace = Some(session.namespace.as_str()).filter(|_| !self.all_namespaces);
        let Some(about) = &self.about else { return Ok(resource.collection(namespace)) };
        let parts = about.split_once('/').filter(|(_, name)| !name.is_empty());
        let (kind, name) = parts.ok_or_else(|| {
            Error::plain(format!("--for must be in resource/name form, as in --for pod/web-0, not {about:?}"))
        })?;
        let pick = Pick::named(session.resource(kind).await?, &session.namespace, name);
        // Events about things without a namespace are kept in one all the same.
        let namespace = namespace.filter(|_| pick.resource.namespaced);
        Ok(about_object(resource.collection(namespace), &pick.resource.kind, name))
    }

    async fn follow(&self, session: &Session, url: &Url) -> Result<(), Error> {
        let mut aligner = Aligner::default();
        let mut headed = self.no_headers;
        let mut print = |events: &[Value]| -> Result<(), Error> {
            let now = Timestamp::now();
            let mut rows: Vec<_> =
                events.iter().filter(|e| self.wants(e)).map(|event| self.row(event, now)).collect();
            if rows.is_empty() {
                return Ok(());
            }
            if !std::mem::replace(&mut headed, true) {
                rows.insert(0, self.headings());
            }
            session.print(aligner.lines(&rows))
        };
        follow(&session.api, url, false, |seen| {
            match seen {
                Seen::List(list) => {
                    let mut events = list["items"].as_array().cloned().unwrap_or_default();
                    sort(&mut events);
                    print(&events)?;
                }
                Seen::Change("DELETED", _) => {}
                Seen::Change(_, event) => print(std::slice::from_ref(event))?,
            }
            Ok(None)
        })
        .await
    }

    fn wants(&self, event: &Value) -> bool {
        let event_type = event["type"].as_str().unwrap_or_default();
        self.types.is_empty() || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(event_type))
    }

    fn headings(&self) -> Vec<String> {
        let namespace = self.all_namespaces.then_some("NAMESPACE");
        let headings = namespace.into_iter().chain(["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
        headings.map(str::to_owned).collect()
    }

    fn row(&self, event: &Value, now: Timestamp) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
        let object = &event["involvedObject"];
        let mut row = vec![
            describe::interval(event, now),
            text(&event["type"]),
            text(&event["reason"]),
            format!("{}/{}", text(&object["kind"]), text(&object["name"])),
            text(&event["message"]).replace('\n', " "),
        ];
        if self.all_namespaces {
            row.insert(0, event.namespace().to_owned());
        }
        row
    }
}

/// Narrows a list of events down to those about an object.
pub(crate) fn about_object(events: Url, kind: &str, name: &str) -> Url {
    events.with("fieldSelector", format!("involvedObject.kind={kind},involvedObject.name={name}"))
}

/// When an event was last seen.
pub(crate) fn last_seen(event: &Value) -> &str {
    let moments = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
    let said = moments.into_iter().find_map(Value::as_str);
    said.unwrap_or_else(|| event.meta_str("creationTimestamp"))
}

/// The oldest first.
pub(crate) fn sort(events: &mut [Value]) {
    events.sort_by(|a, b| last_seen(a).cmp(last_seen(b)));
}
