//! Roles, bindings and tokens from flags (`k8s.io/kubectl/pkg/cmd/create`).

use serde_json::{Map, Value, json};

use super::Options;
use crate::duration;
use crate::error::Error;
use crate::session::Session;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A Role or ClusterRole.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Role {
    name: String,
    /// What may be done
    #[arg(long, value_delimiter = ',')]
    verb: Vec<String>,
    /// With which resources: KIND[.GROUP][/PART]
    #[arg(long, value_delimiter = ',')]
    resource: Vec<String>,
    /// With which objects only
    #[arg(long)]
    resource_name: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// A ClusterRole has more to say than a Role.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterRole {
    #[command(flatten)]
    role: Role,
    /// With which paths
    #[arg(long = "non-resource-url", value_delimiter = ',')]
    non_resource_url: Vec<String>,
    /// Gather the rules of ClusterRoles with these labels
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    aggregation_rule: Vec<String>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Binding {
    name: String,
    /// The ClusterRole to bind
    #[arg(long)]
    clusterrole: Option<String>,
    /// Users that get it
    #[arg(long)]
    user: Vec<String>,
    /// Groups that get it
    #[arg(long)]
    group: Vec<String>,
    /// Service accounts that get it
    #[arg(long, value_name = "NAMESPACE:NAME")]
    serviceaccount: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// A RoleBinding can bind a Role as well.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RoleBinding {
    #[command(flatten)]
    binding: Binding,
    /// The Role to bind
    #[arg(long)]
    role: Option<String>,
}

/// A token for a service account.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Token {
    /// The service account
    name: String,
    /// For whom the token is meant; the API when not given
    #[arg(long)]
    audience: Vec<String>,
    /// How long it is good for, such as 2h
    #[arg(long, value_name = "DURATION")]
    duration: Option<String>,
    /// The kind of what it is bound to: Pod, Secret or Node
    #[arg(long, requires = "bound_object_name")]
    bound_object_kind: Option<String>,
    /// The name of what it is bound to
    #[arg(long, requires = "bound_object_kind")]
    bound_object_name: Option<String>,
    /// The uid of what it is bound to
    #[arg(long, requires = "bound_object_kind")]
    bound_object_uid: Option<String>,
}

impl Role {
    pub(super) async fn create(&self, session: &Session) -> Result<(), Error> {
        let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": {"name": self.name},
            "rules": self.rules(session).await?});
        self.options.create(session, object).await
    }

    async fn rules(&self, session: &Session) -> Result<Vec<Value>, Error> {
        if self.verb.is_empty() {
            return Err(Error::plain("at least one verb must be specified"));
        }
        if self.resource.is_empty() {
            return Err(Error::plain("at least one resource must be specified"));
        }
        // One rule for each group, as kubectl makes them.
        let mut groups: Map<String, Value> = Map::new();
        for word in &self.resource {
            let (word, part) =
                word.split_once('/').map_or((word.as_str(), None), |(w, part)| (w, Some(part)));
            let (group, plural) = match word {
                "*" => (String::new(), "*".to_owned()),
                _ => {
                    let known = session.resource(word).await?;
                    (known.group.clone(), known.plural.clone())
                }
            };
            let resource = part.map_or(plural.clone(), |part| format!("{plural}/{part}"));
            let listed = groups.entry(group).or_insert_with(|| json!([]));
            if let Some(listed) = listed.as_array_mut() {
                listed.push(resource.into());
            }
        }
        let rule = |(group, resources): (String, Value)| {
            let mut rule = json!({"verbs": self.verb, "apiGroups": [group], "resources": resources});
            if !self.resource_name.is_empty() {
                rule["resourceNames"] = json!(self.resource_name);
            }
            rule
        };
        Ok(groups.into_iter().map(rule).collect())
    }
}

impl ClusterRole {
    pub(super) async fn create(&self, session: &Session) -> Result<(), Error> {
        let role = &self.role;
        let mut object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole",
            "metadata": {"name": role.name}, "rules": []});
        if !self.aggregation_rule.is_empty() {
            let mut labels = Map::new();
            for label in &self.aggregation_rule {
                let (key, value) = label
                    .split_once('=')
                    .ok_or_else(|| Error::plain(format!("{label:?} is no label: write KEY=VALUE")))?;
                labels.insert(key.to_owned(), value.into());
            }
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            return role.options.create(session, object).await;
        }
        let mut rules = Vec::new();
        if !role.resource.is_empty() || self.non_resource_url.is_empty() {
            rules = role.rules(session).await?;
        }
        if !self.non_resource_url.is_empty() {
            rules.push(json!({"verbs": role.verb, "nonResourceURLs": self.non_resource_url}));
        }
        object["rules"] = rules.into();
        role.options.create(session, object).await
    }
}

impl Binding {
    pub(super) async fn create(&self, session: &Session) -> Result<(), Error> {
        let Some(role) = &self.clusterrole else {
            return Err(Error::plain("clusterrole must be specified: --clusterrole=NAME"));
        };
        self.bind(session, "ClusterRoleBinding", "ClusterRole", role).await
    }

    async fn bind(&self, session: &Session, kind: &str, role_kind: &str, role: &str) -> Result<(), Error> {
        let object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": self.name},
            "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role}, "subjects": self.subjects()?});
        self.options.create(session, object).await
    }

    fn subjects(&self) -> Result<Vec<Value>, Error> {
        let named =
            |kind: &'static str| move |name: &String| json!({"apiGroup": GROUP, "kind": kind, "name": name});
        let mut subjects: Vec<Value> = self.user.iter().map(named("User")).collect();
        subjects.extend(self.group.iter().map(named("Group")));
        for account in &self.serviceaccount {
            let parts = account.split_once(':').filter(|(ns, name)| !ns.is_empty() && !name.is_empty());
            let (namespace, name) =
                parts.ok_or_else(|| Error::plain("serviceaccount must be <namespace>:<name>"))?;
            subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
        }
        Ok(subjects)
    }
}

impl RoleBinding {
    pub(super) async fn create(&self, session: &Session) -> Result<(), Error> {
        match (&self.role, &self.binding.clusterrole) {
            (Some(role), None) => self.binding.bind(session, "RoleBinding", "Role", role).await,
            (None, Some(role)) => self.binding.bind(session, "RoleBinding", "ClusterRole", role).await,
            _ => Err(Error::plain("exactly one of clusterrole or role must be specified")),
        }
    }
}

impl Token {
    pub(super) async fn create(&self, session: &Session) -> Result<(), Error> {
        let mut spec = json!({"audiences": self.audience});
        if let Some(text) = &self.duration {
            let duration = duration::parse(text).map_err(Error::plain)?;
            spec["expirationSeconds"] = duration.as_secs().into();
        }
        if let Some(kind) = &self.bound_object_kind {
            spec["boundObjectRef"] =
                json!({"apiVersion": "v1", "kind": kind, "name": self.bound_object_name});
            if let Some(uid) = &self.bound_object_uid {
                spec["boundObjectRef"]["uid"] = uid.as_str().into();
            }
        }
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let accounts = session.resource("serviceaccounts").await?;
        let url = accounts.part_url(&session.namespace, &self.name, "token");
        let answer = session.api.create(&url, &request).await?;
        session.say(answer["status"]["token"].as_str().unwrap_or_default())
    }
}
