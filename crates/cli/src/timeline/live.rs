//! A story that goes on: tells each step once, as objects and events change.

use std::collections::{BTreeMap, HashMap};

use apimachinery::meta::ObjectExt;
use jiff::Timestamp;
use serde_json::Value;

use super::{Family, Moment, Step, seen, spoken, steps};

/// What is known, and what was told.
#[derive(Debug)]
pub(crate) struct Live {
    family: Family,
    /// By kind and name: in this order equal moments are told.
    objects: BTreeMap<(String, String), Value>,
    /// By name.
    events: BTreeMap<String, Value>,
    /// Who, what, and when; only of what objects and events still tell.
    told: HashMap<(String, String), Vec<Moment>>,
    /// How often each thing had happened when that was told last.
    counted: HashMap<(String, String), i64>,
}

impl Live {
    /// Nothing is known yet.
    pub(crate) fn new(family: Family) -> Self {
        Self {
            family,
            objects: BTreeMap::new(),
            events: BTreeMap::new(),
            told: HashMap::new(),
            counted: HashMap::new(),
        }
    }

    /// Takes in a list of all objects of a kind; those of the family that are in it no more are gone.
    pub(crate) fn list(&mut self, kind: &str, items: Vec<Value>, heard: Option<Timestamp>) -> Vec<Step> {
        if kind == "Event" {
            self.events.clear();
        }
        let names: Vec<String> = items.iter().map(|item| item.name().to_owned()).collect();
        let known: Vec<String> =
            self.objects.keys().filter(|(held, _)| held == kind).map(|(_, name)| name.clone()).collect();
        let mut steps: Vec<Step> = items.into_iter().flat_map(|item| self.put(kind, item, heard)).collect();
        let gone = known.into_iter().filter(|name| !names.contains(name));
        steps.extend(gone.filter_map(|name| self.remove(kind, &name, heard)));
        steps
    }

    /// Takes in one object, new or changed. Tells what only those see who watch.
    pub(crate) fn put(&mut self, kind: &str, mut object: Value, heard: Option<Timestamp>) -> Vec<Step> {
        object["kind"] = kind.into();
        if kind == "Event" {
            self.events.insert(object.name().to_owned(), object);
            return Vec::new();
        }
        if self.family.is_head(&object) {
            self.family.learn(&object);
        }
        let is_ours = self.family.has(&object);
        let (key, who) = ((kind.to_owned(), object.name().to_owned()), spoken(kind, object.name()));
        let before = self.objects.insert(key.clone(), object);
        let changes = before.map(|before| seen::changes(&before, &self.objects[&key])).unwrap_or_default();
        let seen = heard
            .filter(|_| is_ours)
            .map(|heard| changes.iter().map(move |what| Step::seen(heard, who.clone(), what)).collect());
        seen.unwrap_or_default()
    }

    /// Takes in that an object is gone. What it told is forgotten with it.
    pub(crate) fn remove(&mut self, kind: &str, name: &str, heard: Option<Timestamp>) -> Option<Step> {
        if kind == "Event" {
            self.events.remove(name);
            return None;
        }
        let object = self.objects.remove(&(kind.to_owned(), name.to_owned()))?;
        let is_ours = self.family.has(&object);
        heard.filter(|_| is_ours).map(|heard| Step::seen(heard, spoken(kind, name), "gone"))
    }

    /// What was not told yet, in order. A step that was heard of within a second of the moment it gives is known to
    /// have been no later than `heard`, and is told as of then.
    pub(crate) fn news(&mut self, heard: Option<Timestamp>) -> Vec<Step> {
        let mut objects: Vec<&Value> =
            self.objects.values().filter(|object| self.family.has(object)).collect();
        // The head comes first, then what it needs to begin.
        objects
            .sort_by_key(|object| (!self.family.is_head(object), object["kind"] == "Pod", ordinal(object)));
        let events: Vec<&Value> = self.events.values().filter(|event| self.family.has_event(event)).collect();
        let mut current: HashMap<(String, String), Vec<Moment>> = HashMap::new();
        let mut news = Vec::new();
        for mut step in steps(&objects, &events) {
            let key = (step.who.clone(), step.what.clone());
            let before = self.told.entry(key.clone()).or_default();
            // Each telling accounts for one step: a container may start twice within a second.
            let same = before.iter().position(|told| told.may_be(step.moment));
            let is_news = same.map(|index| before.remove(index)).is_none();
            // What goes on and on is told at the second time, the fourth, the eighth.
            let counted = self.counted.entry(key.clone()).or_default();
            let is_often = step.count > 1 && heard.is_some() && step.count < *counted * 2;
            if is_news && !is_often {
                *counted = step.count;
                let heard = heard.map(Moment::exact).filter(|heard| heard.may_be(step.moment));
                if !step.moment.is_exact
                    && let Some(heard) = heard
                {
                    step.moment = heard;
                }
                news.push(step.clone());
            }
            current.entry(key).or_default().push(step.moment);
        }
        self.counted.retain(|key, _| current.contains_key(key));
        self.told = current;
        news
    }

    /// Whether there is anything to tell: the object, or an event about it.
    pub(crate) fn is_known(&self) -> bool {
        self.objects.values().any(|object| self.family.is_head(object))
            || self.events.values().any(|event| self.family.has_event(event))
    }
}

/// Names with numbers in the order of their numbers.
fn ordinal(object: &Value) -> (String, u64) {
    let name = object.name();
    match name.rsplit_once('-').and_then(|(stem, digits)| Some((stem, digits.parse().ok()?))) {
        Some((stem, ordinal)) => (stem.to_owned(), ordinal),
        None => (name.to_owned(), 0),
    }
}
