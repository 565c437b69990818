//! All Roles and bindings, indexed by whom they speak of.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::rule::{Attributes, Rule};
use super::{GROUP, Subject, service_account_user};
use crate::value::{items, text};

/// What the rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Which binding allows it; what is wrong with the bindings when none does. May be empty.
    pub reason: String,
}

/// All rules that a user has somewhere.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Bindings that lead to no role, in words.
    pub errors: Vec<String>,
    /// Whether there may be more that the user may do.
    pub incomplete: bool,
}

/// A place within a kind: namespace (empty for cluster-scoped kinds) and name.
type Place = (String, String);

/// Roles, ClusterRoles and their bindings, as they are now.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    roles: HashMap<Place, Arc<[Rule]>>,
    bindings: BTreeMap<Place, Arc<Binding>>,
    /// The bindings that name a user, a group or a service account, by who is named.
    named: HashMap<Name, BTreeSet<Place>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    User(String),
    Group(String),
}

#[derive(Debug)]
struct Binding {
    role_kind: String,
    role_name: String,
    subjects: Vec<(Name, String)>,
}

impl Policy {
    /// Takes over an object of the group as it is now; `None`: it is gone. `plural` says of which kind it is, and
    /// other kinds change nothing.
    pub fn apply(&mut self, plural: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let place = (namespace.to_owned(), name.to_owned());
        match plural {
            "roles" | "clusterroles" => match object {
                Some(role) => drop(self.roles.insert(place, Rule::all_of(role).into())),
                None => drop(self.roles.remove(&place)),
            },
            "rolebindings" | "clusterrolebindings" => self.bind(place, object),
            _ => {}
        }
    }

    fn bind(&mut self, place: Place, object: Option<&Value>) {
        if let Some(old) = self.bindings.remove(&place) {
            for (name, _) in &old.subjects {
                if let Some(places) = self.named.get_mut(name) {
                    places.remove(&place);
                }
            }
            self.named.retain(|_, places| !places.is_empty());
        }
        let Some(binding) = object.map(|object| Binding::read(&place.0, object)) else { return };
        for (name, _) in &binding.subjects {
            self.named.entry(name.clone()).or_default().insert(place.clone());
        }
        self.bindings.insert(place, Arc::new(binding));
    }

    /// Whether `who` may do what is `asked`.
    pub fn decide(&self, who: Subject<'_>, asked: &Attributes<'_>) -> Decision {
        if who.is_master() {
            return Decision { allowed: true, reason: String::new() };
        }
        let mut errors = Vec::new();
        for (place, binding, words) in self.bindings_of(who, asked.namespace) {
            let Some(rules) = self.rules_of(&place.0, binding) else {
                errors.push(binding.missing());
                continue;
            };
            if rules.iter().any(|rule| rule.allows(asked)) {
                let reason = format!("RBAC: allowed by {}", binding.describe(place, words));
                return Decision { allowed: true, reason };
            }
        }
        Decision {
            allowed: false,
            reason: aggregate(&errors).map_or(String::new(), |why| format!("RBAC: {why}")),
        }
    }

    /// Everything that `who` may do in the namespace, or at the cluster scope when it is empty.
    pub fn rules_for(&self, who: Subject<'_>, namespace: &str) -> Resolved {
        let mut resolved = Resolved::default();
        for (place, binding, _) in self.bindings_of(who, namespace) {
            match self.rules_of(&place.0, binding) {
                Some(rules) => resolved.rules.extend(rules.iter().cloned()),
                None => resolved.errors.push(binding.missing()),
            }
        }
        resolved
    }

    /// The rules of the role that a `roleRef` names, from a binding in `namespace` (empty for a ClusterRoleBinding);
    /// what is missing otherwise, as resource and name.
    pub fn referenced(&self, role_ref: &Value, namespace: &str) -> Result<&[Rule], (String, String)> {
        let binding = Binding::new(role_ref, Vec::new());
        self.rules_of(namespace, &binding).ok_or_else(|| (binding.resource(), binding.role_name.clone()))
    }

    /// The bindings that speak of the user: those of the cluster, then those of the namespace; each with the
    /// subject by which it does.
    fn bindings_of<'a>(
        &'a self,
        who: Subject<'a>,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Place, &'a Binding, &'a str)> {
        let user = Name::User(who.name.to_owned());
        let names = std::iter::once(user).chain(who.groups.iter().cloned().map(Name::Group));
        let mut places: BTreeSet<&'a Place> = BTreeSet::new();
        let names: Vec<Name> = names.collect();
        for name in &names {
            let named = self.named.get(name).into_iter().flatten();
            places.extend(named.filter(|(within, _)| within.is_empty() || within == namespace));
        }
        // The empty namespace, that of the cluster's bindings, comes first.
        places.into_iter().filter_map(move |place| {
            let binding = self.bindings.get(place)?;
            let (_, words) = binding.subjects.iter().find(|(name, _)| names.contains(name))?;
            Some((place, &**binding, words.as_str()))
        })
    }

    fn rules_of(&self, namespace: &str, binding: &Binding) -> Option<&[Rule]> {
        let within = if binding.role_kind == "ClusterRole" { "" } else { namespace };
        self.roles.get(&(within.to_owned(), binding.role_name.clone())).map(|rules| &**rules)
    }
}

impl Binding {
    fn read(namespace: &str, object: &Value) -> Self {
        let subjects = items(&object["subjects"]).iter().filter_map(|subject| named(subject, namespace));
        Self::new(&object["roleRef"], subjects.collect())
    }

    fn new(role_ref: &Value, subjects: Vec<(Name, String)>) -> Self {
        let said = |field: &str| text(&role_ref[field]).to_owned();
        Self { role_kind: said("kind"), role_name: said("name"), subjects }
    }

    fn resource(&self) -> String {
        format!("{}s.{GROUP}", self.role_kind.to_lowercase())
    }

    fn missing(&self) -> String {
        format!("{}.{GROUP} {:?} not found", self.role_kind.to_lowercase(), self.role_name)
    }

    fn describe(&self, (namespace, name): &Place, subject: &str) -> String {
        let (kind, name) = match namespace.as_str() {
            "" => ("ClusterRoleBinding", name.clone()),
            namespace => ("RoleBinding", format!("{name}/{namespace}")),
        };
        format!("{kind} {name:?} of {} {:?} to {subject}", self.role_kind, self.role_name)
    }
}

/// Whom a subject names, and how reasons call it.
fn named(subject: &Value, namespace: &str) -> Option<(Name, String)> {
    let (kind, name) = (text(&subject["kind"]), text(&subject["name"]));
    let who = match kind {
        "User" => Name::User(name.to_owned()),
        "Group" => Name::Group(name.to_owned()),
        "ServiceAccount" => {
            let within = match text(&subject["namespace"]) {
                "" => namespace,
                own => own,
            };
            let account = Name::User(service_account_user(within, name));
            return Some((account, format!("{kind} {:?}", format!("{name}/{within}"))));
        }
        _ => return None,
    };
    Some((who, format!("{kind} {name:?}")))
}

/// Several errors as upstream's `errors.Aggregate` writes them.
pub(super) fn aggregate(errors: &[String]) -> Option<String> {
    let mut once: Vec<&str> = Vec::new();
    for error in errors {
        if !once.contains(&error.as_str()) {
            once.push(error);
        }
    }
    match once.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}
