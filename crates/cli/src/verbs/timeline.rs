//! `timeline`: what happened to an object and to what belongs to it, now and from now on.

use std::cell::RefCell;

use apimachinery::meta::ObjectExt;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::why::{EVENTS_OF_THE_CLUSTER, items, one_object};
use crate::api::Url;
use crate::error::Error;
use crate::follow::{Seen, follow};
use crate::output::{DataFormat, Format};
use crate::selection::{Filters, Pick};
use crate::session::Session;
use crate::timeline::{Family, Lines, Live, Step};

/// Kinds of things that can belong to an object.
const KINDS_OF_FAMILIES: &[&str] = &["controllerrevisions", "persistentvolumeclaims", "pods"];

/// Flags of `timeline`.
#[derive(Clone, Debug, clap::Args)]
pub struct Timeline {
    /// TYPE/NAME or TYPE NAME: sts/db, pod/db-0, pvc/data-db-0
    #[arg(required = true, num_args = 1..=2)]
    words: Vec<String>,
    /// Go on with what happens from now on
    #[arg(short = 'w', long)]
    watch: bool,
    /// The steps as data: json, yaml, jsonpath=…; with --watch each by itself
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Something to read: a kind, and where.
struct Source {
    kind: String,
    url: Url,
}

impl Timeline {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let pick = one_object(session, &self.words).await?;
        let sources = sources(session, &pick).await?;
        let mut live = Live::new(Family::new(&pick.resource.kind, pick.name.as_deref().unwrap_or_default()));
        let lists = try_join_all(sources.iter().map(|source| session.api.get(&source.url))).await?;
        for (source, list) in sources.iter().zip(lists) {
            live.list(&source.kind, items(list), None);
        }
        if !live.is_known() {
            // Says so in the server's words; an object that came just now is there.
            session.api.get(&pick.url(&Filters::default())).await?;
        }
        let steps = live.news(None);
        let mut form = match &self.output {
            None | Some(Format::Wide) => Form::Lines(Lines::default()),
            Some(Format::Name) => {
                return Err(Error::plain("timeline has no names to print: use -o json, yaml or jsonpath=…"));
            }
            Some(Format::Data(format)) if self.watch => Form::Each(format),
            Some(Format::Data(format)) => {
                let steps: Vec<Value> = steps.iter().map(Step::to_json).collect();
                return session.print(format.print(&json!({"steps": steps}))?);
            }
        };
        form.print(session, &steps)?;
        if self.watch { go_on(session, &sources, live, form).await } else { Ok(()) }
    }
}

/// How steps are told.
enum Form<'f> {
    /// As lines.
    Lines(Lines),
    /// As data, one after the other.
    Each(&'f DataFormat),
}

impl Form<'_> {
    fn print(&mut self, session: &Session, steps: &[Step]) -> Result<(), Error> {
        match self {
            Self::Lines(lines) => session.print(lines.lay(steps)),
            Self::Each(format) => steps.iter().try_for_each(|step| {
                let separator = if matches!(format, DataFormat::Yaml) { "---\n" } else { "" };
                session.print(separator.to_owned() + &format.print(&step.to_json())?)
            }),
        }
    }
}

/// Where to read: the object, what can belong to it, and events.
async fn sources(session: &Session, pick: &Pick) -> Result<Vec<Source>, Error> {
    let head = pick.watch_url(&Filters::default());
    let mut sources = vec![Source { kind: pick.resource.kind.clone(), url: head }];
    let namespace = if pick.resource.namespaced { &session.namespace } else { EVENTS_OF_THE_CLUSTER };
    let related = KINDS_OF_FAMILIES.iter().filter(|_| pick.resource.namespaced);
    for word in related.chain(&["events"]) {
        let resource = session.resource(word).await?;
        if resource != pick.resource {
            sources.push(Source { url: resource.collection(Some(namespace)), kind: resource.kind });
        }
    }
    Ok(sources)
}

/// Tells what happens, as it happens, until the reader has enough.
async fn go_on(session: &Session, sources: &[Source], live: Live, form: Form<'_>) -> Result<(), Error> {
    let state = RefCell::new((live, form));
    let follow_one = async |source: &Source| {
        follow(&session.api, &source.url, false, |seen| {
            let (live, form) = &mut *state.borrow_mut();
            let heard = Some(Timestamp::now());
            let mut steps = match seen {
                Seen::List(list) => live.list(&source.kind, items(list.clone()), heard),
                Seen::Change("DELETED", object) => {
                    live.remove(&source.kind, object.name(), heard).into_iter().collect()
                }
                Seen::Change(_, object) => live.put(&source.kind, object.clone(), heard),
            };
            steps.extend(live.news(heard));
            if !steps.is_empty() {
                form.print(session, &steps)?;
            }
            Ok(None::<()>)
        })
        .await
    };
    try_join_all(sources.iter().map(follow_one)).await.map(drop)
}
