//! Which objects a command is about: `pods`, `pod web-0 web-1`, `pod/web-0 sts/web`, `pods,pvc -l app=web`,
//! `-f FILE`.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use crate::api::Url;
use crate::error::Error;
use crate::manifests::Files;
use crate::resource::{self, Resource};
use crate::session::Session;

/// A word that stands for many kinds.
const ALL: &str = "all";

/// Flags that narrow down the objects of a kind.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filters {
    /// Only objects with these labels: app=web,tier!=cache
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub(crate) selector: String,
    /// Only objects with these fields: status.phase=Running
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    pub(crate) field_selector: String,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// Some objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    /// The kind.
    pub(crate) resource: Resource,
    /// The namespace; empty for kinds without.
    pub(crate) namespace: String,
    /// One object, or all that the filters let through.
    pub(crate) name: Option<String>,
}

impl Pick {
    /// The object that is named.
    pub(crate) fn named(resource: Resource, namespace: &str, name: &str) -> Self {
        let namespace = if resource.namespaced { namespace.to_owned() } else { String::new() };
        Self { resource, namespace, name: Some(name.to_owned()) }
    }

    /// Where to get it.
    pub(crate) fn url(&self, filters: &Filters) -> Url {
        match &self.name {
            Some(name) => self.resource.url(&self.namespace, name),
            None => {
                let namespace = Some(self.namespace.as_str()).filter(|_| !filters.all_namespaces);
                self.resource
                    .collection(namespace)
                    .with("labelSelector", &filters.selector)
                    .with("fieldSelector", &filters.field_selector)
            }
        }
    }

    /// Where to watch it: a list, narrowed to the one object when one is named.
    pub(crate) fn watch_url(&self, filters: &Filters) -> Url {
        match &self.name {
            Some(name) => {
                let url = self.resource.collection(Some(&self.namespace));
                url.with("fieldSelector", format!("metadata.name={name}"))
            }
            None => self.url(filters),
        }
    }
}

/// An object with its kind.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The kind.
    pub(crate) resource: Resource,
    /// The object.
    pub(crate) object: Value,
}

impl Found {
    /// `statefulset.apps/web`.
    pub(crate) fn type_and_name(&self) -> String {
        format!("{}/{}", self.resource.type_name(), self.object.name())
    }

    /// Where the object is.
    pub(crate) fn url(&self) -> Url {
        self.resource.url(self.object.namespace(), self.object.name())
    }
}

/// What words and files name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// The objects.
    pub(crate) picks: Vec<Pick>,
    /// Whether kinds have to be told apart in what is printed.
    pub(crate) many_kinds: bool,
}

/// Reads `TYPE`, `TYPE,TYPE`, `TYPE NAME…` and `TYPE/NAME…`, or the objects that files name.
///
/// # Errors
/// When nothing is named, words and files both are, or a kind is unknown.
pub(crate) async fn select(session: &Session, words: &[String], files: &Files) -> Result<Selection, Error> {
    if files.is_given() {
        if !words.is_empty() {
            return Err(Error::plain("name objects or files (-f), not both"));
        }
        let placed = files.load(session).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let many_kinds = placed.iter().any(|p| p.resource != placed[0].resource);
        let picks = placed.into_iter().map(|p| Pick::named(p.resource, &p.namespace, &p.name)).collect();
        return Ok(Selection { picks, many_kinds });
    }
    if words.iter().any(|word| word.contains('/')) {
        return by_type_and_name(session, words).await;
    }
    let Some((types, names)) = words.split_first() else {
        return Err(Error::plain(
            "name the objects: TYPE, TYPE NAME or TYPE/NAME, or -f FILE; api-resources lists the types",
        ));
    };
    by_type(session, types, names).await
}

async fn by_type_and_name(session: &Session, words: &[String]) -> Result<Selection, Error> {
    let mut picks: Vec<Pick> = Vec::new();
    for word in words {
        let parts = word.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty());
        let Some((kind, name)) = parts.filter(|(_, name)| !name.contains('/')) else {
            if word.matches('/').count() == 1 {
                return Err(Error::plain(format!(
                    "arguments in resource/name form must have a single resource and name, and {word:?} has not"
                )));
            }
            return Err(Error::plain(format!(
                "there is no need to specify a resource type as a separate argument when passing arguments in \
                 TYPE/NAME form: {word:?} is not of that form"
            )));
        };
        picks.push(Pick::named(session.resource(kind).await?, &session.namespace, name));
    }
    let many_kinds = picks.iter().any(|pick| pick.resource != picks[0].resource);
    Ok(Selection { picks, many_kinds })
}

async fn by_type(session: &Session, types: &str, names: &[String]) -> Result<Selection, Error> {
    let mut resources = Vec::new();
    for word in types.split(',').filter(|word| !word.is_empty()) {
        if word == ALL {
            let all = resource::discover(&session.api).await?;
            resources.extend(all.into_iter().filter(|r| r.categories.iter().any(|c| c == ALL)));
        } else {
            resources.push(session.resource(word).await?);
        }
    }
    let many_kinds = resources.len() > 1;
    let picks = resources.into_iter().flat_map(|resource| {
        let namespace = if resource.namespaced { session.namespace.clone() } else { String::new() };
        let names: Vec<Option<String>> =
            if names.is_empty() { vec![None] } else { names.iter().cloned().map(Some).collect() };
        names.into_iter().map(move |name| Pick {
            resource: resource.clone(),
            namespace: namespace.clone(),
            name,
        })
    });
    Ok(Selection { picks: picks.collect(), many_kinds })
}

impl Selection {
    /// Refuses words that name only a kind, for commands that must not touch everything by mistake.
    ///
    /// # Errors
    /// When a kind is named without names and neither a selector nor `all` says which.
    pub(crate) fn require_names(&self, filters: &Filters, all: bool) -> Result<(), Error> {
        let says_which = all || !filters.selector.is_empty() || !filters.field_selector.is_empty();
        if says_which || self.picks.iter().all(|pick| pick.name.is_some()) {
            return Ok(());
        }
        Err(Error::plain(
            "resource(s) were provided, but no name was specified: add names, -l SELECTOR or --all",
        ))
    }

    /// Whether a name is among the words, which filters then do not go with.
    pub(crate) fn has_names(&self) -> bool {
        self.picks.iter().any(|pick| pick.name.is_some())
    }

    /// Refuses names together with filters.
    ///
    /// # Errors
    /// When both are given.
    pub(crate) fn forbid_names_with(&self, filters: &Filters) -> Result<(), Error> {
        let filtered = !filters.selector.is_empty() || !filters.field_selector.is_empty();
        if self.has_names() && (filtered || filters.all_namespaces) {
            return Err(Error::plain(
                "a resource cannot be retrieved by name together with a selector or across all namespaces: \
                 leave the name or the flag out",
            ));
        }
        Ok(())
    }
}

/// Gets the objects of one pick.
pub(crate) async fn fetch(session: &Session, pick: &Pick, filters: &Filters) -> Result<Vec<Found>, Error> {
    let answer = session.api.get(&pick.url(filters)).await?;
    Ok(match &pick.name {
        Some(_) => vec![Found { resource: pick.resource.clone(), object: answer }],
        None => items(answer, &pick.resource),
    })
}

/// The items of a list, with the kind that the list leaves out.
pub(crate) fn items(mut list: Value, resource: &Resource) -> Vec<Found> {
    let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) else { return Vec::new() };
    let found = std::mem::take(items).into_iter().map(|mut object| {
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.clone().into();
        Found { resource: resource.clone(), object }
    });
    found.collect()
}
