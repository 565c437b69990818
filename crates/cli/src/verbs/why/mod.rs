//! `why`: the chain of causes of what something waits for, as `planner::explain` finds it in what the API tells.

mod fetch;
mod last_words;

use jiff::Timestamp;
use planner::World;
use planner::explain::{ASK_ABOUT, Chain, Explained, Survey, explain, survey};
use serde_json::{Value, json};

use crate::error::Error;
use crate::output::Format;
use crate::resource::Resource;
use crate::selection::{self, Filters, Pick};
use crate::session::Session;
use fetch::{Seen, fetch};

/// Events about things without a namespace are kept here.
pub(crate) const EVENTS_OF_THE_CLUSTER: &str = "default";

/// Flags of `why`.
#[derive(Clone, Debug, clap::Args)]
pub struct Why {
    /// TYPE/NAME or TYPE NAME: sts/db, deploy/web, rs/…, pod/db-0, pvc/data-db-0, svc/db, pdb/db, pv/…, node/…, ns/…;
    /// TYPE for all of it that waits; nothing for everything that waits
    #[arg(num_args = 0..=2)]
    words: Vec<String>,
    /// Everything that waits in all namespaces, and nodes and volumes
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The chain as data: json, yaml, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Why {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        match self.words.as_slice() {
            [] => self.look_around(session, None).await,
            [word] if !word.contains('/') => {
                let resource = session.resource(word).await?;
                check_kind(&resource)?;
                self.look_around(session, Some(&resource)).await
            }
            _ if self.all_namespaces => {
                Err(Error::plain("an object is in one namespace: leave its name or --all-namespaces out"))
            }
            words => self.explain(session, &one_object(session, words).await?).await,
        }
    }

    /// One object.
    async fn explain(&self, session: &Session, pick: &Pick) -> Result<(), Error> {
        check_kind(&pick.resource)?;
        let found = session.api.get(&pick.url(&Filters::default())).await;
        let (object, missing) = match found {
            Ok(object) => (object, None),
            Err(error) if error.is_not_found() => (Value::Null, Some(error)),
            Err(error) => return Err(error),
        };
        let namespace = namespace_of(pick, &object, session);
        let Seen { world, events } =
            fetch(session, Some(namespace), !pick.resource.namespaced, &object).await?;
        let name = pick.name.as_deref().unwrap_or_default();
        let chain = explain(&world, &events, &pick.resource.kind, namespace, name, Timestamp::now());
        // What is not there has a story of its own where somebody is about to make it, or leaves it out.
        match missing {
            Some(missing) if chain.causes.iter().all(|cause| cause.because.is_empty()) => Err(missing),
            _ => self.print(session, pick, namespace, &chain),
        }
    }

    fn print(&self, session: &Session, pick: &Pick, namespace: &str, chain: &Chain) -> Result<(), Error> {
        let namespace = Some(namespace).filter(|_| pick.resource.namespaced);
        self.print_as(
            session,
            &chain.to_string(),
            &json!({
                "kind": pick.resource.kind,
                "namespace": namespace,
                "name": pick.name,
                "causes": chain.causes,
            }),
        )
    }

    fn print_as(&self, session: &Session, text: &str, data: &Value) -> Result<(), Error> {
        match &self.output {
            None | Some(Format::Wide) => session.print(text),
            Some(Format::Name) => {
                Err(Error::plain("why has no names to print: use -o json, yaml or jsonpath=…"))
            }
            Some(Format::Data(format)) => session.print(format.print(data)?),
        }
    }

    /// All objects, or all of one kind.
    async fn look_around(&self, session: &Session, resource: Option<&Resource>) -> Result<(), Error> {
        let namespace = Some(session.namespace.as_str()).filter(|_| !self.all_namespaces);
        let namespace = namespace.filter(|_| resource.is_none_or(|resource| resource.namespaced));
        let Seen { world, events } = fetch(session, namespace, namespace.is_none(), &Value::Null).await?;
        let kind = resource.map(|resource| resource.kind.as_str());
        let mut found = survey(&world, &events, kind, namespace, Timestamp::now()).unwrap_or_default();
        // Of each namespace what explains the rest comes first.
        found.waiting.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        let what = resource.map_or("objects", |resource| &resource.plural);
        let text = tell(&found, what, namespace, self.all_namespaces);
        self.print_as(session, &text, &json!({"items": found.waiting}))
    }
}

/// The chains one after the other, or that all is well.
fn tell(found: &Survey, what: &str, namespace: Option<&str>, with_namespaces: bool) -> String {
    let place = namespace.map_or(String::new(), |namespace| format!(" in namespace {namespace}"));
    if found.looked_at == 0 {
        return format!("there are no {what}{place}\n");
    }
    if found.waiting.is_empty() {
        let all = match found.looked_at {
            1 => "the only one is as it should be".to_owned(),
            count => format!("all {count} are as they should be"),
        };
        return format!("no {what} wait{place}: {all}\n");
    }
    let mut before = "";
    let mut text = String::new();
    for Explained { namespace, chain, .. } in &found.waiting {
        if with_namespaces && namespace != before {
            text += &format!("namespace {namespace}:\n");
            before = namespace;
        }
        text += &chain.to_string();
    }
    text
}

fn check_kind(resource: &Resource) -> Result<(), Error> {
    let is_known = World::KINDS.iter().any(|known| *known == (&*resource.api_version(), &*resource.kind));
    if is_known {
        return Ok(());
    }
    Err(Error::plain(format!("nothing waits in objects of kind {}: {ASK_ABOUT}", resource.kind)))
}

/// The one object that `TYPE/NAME` or `TYPE NAME` names.
///
/// # Errors
/// When the words name none or several, or the kind is unknown.
pub(crate) async fn one_object(session: &Session, words: &[String]) -> Result<Pick, Error> {
    let selection = selection::select(session, words, &crate::manifests::Files::default()).await?;
    match <[Pick; 1]>::try_from(selection.picks) {
        Ok([pick]) if pick.name.is_some() => Ok(pick),
        _ => Err(Error::plain("name one object: TYPE/NAME or TYPE NAME, for instance sts/web")),
    }
}

/// The namespace to look around in: the object's own, the one that it is, or that of the claim that has it.
fn namespace_of<'a>(pick: &'a Pick, object: &'a Value, session: &'a Session) -> &'a str {
    match pick.resource.kind.as_str() {
        "Namespace" => pick.name.as_deref().unwrap_or_default(),
        "PersistentVolume" => object["spec"]["claimRef"]["namespace"].as_str().unwrap_or(&session.namespace),
        _ => &session.namespace,
    }
}

/// The objects of a list.
pub(crate) fn items(mut list: Value) -> Vec<Value> {
    list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default()
}
