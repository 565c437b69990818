//! `auth`: who one is and what one may do (`k8s.io/kubectl/pkg/cmd/auth`).

use serde_json::{Value, json};

use crate::api::Url;
use crate::error::Error;
use crate::output::Format;
use crate::output::table;
use crate::session::Session;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

/// What can be asked.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Auth {
    /// Say whether something is allowed; exit code 1 when it is not
    #[command(name = "can-i")]
    CanI(CanI),
    /// Say who the server takes one for
    Whoami(Whoami),
}

/// Flags of `auth can-i`.
#[derive(Clone, Debug, clap::Args)]
pub struct CanI {
    /// get, list, create, …
    #[arg(required_unless_present = "list")]
    verb: Option<String>,
    /// A kind, KIND/NAME, or a path such as /metrics
    #[arg(required_unless_present = "list")]
    what: Option<String>,
    /// A part, such as log
    #[arg(long, default_value = "")]
    subresource: String,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Say nothing: the exit code is the answer
    #[arg(short, long)]
    quiet: bool,
    /// List all that is allowed in the namespace
    #[arg(long)]
    list: bool,
}

/// Flags of `auth whoami`.
#[derive(Clone, Debug, clap::Args)]
pub struct Whoami {
    /// The form of output: json, yaml
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Auth {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        match self {
            Self::CanI(verb) if verb.list => verb.list(session).await,
            Self::CanI(verb) => verb.ask(session).await,
            Self::Whoami(verb) => verb.run(session).await,
        }
    }
}

impl CanI {
    async fn ask(&self, session: &Session) -> Result<(), Error> {
        let spec = self.spec(session).await?;
        let url = Url::new(format!("{REVIEWS}/selfsubjectaccessreviews"));
        let review =
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec});
        let status = session.api.create(&url, &review).await?["status"].take();
        let allowed = status["allowed"] == true;
        if !self.quiet {
            let mut words = if allowed { "yes" } else { "no" }.to_owned();
            for field in ["reason", "evaluationError"] {
                match status[field].as_str() {
                    Some(why) if !allowed && !words.contains(why) => words = format!("{words} - {why}"),
                    _ => {}
                }
            }
            session.say(words)?;
        }
        if allowed { Ok(()) } else { Err(Error::Exit(1)) }
    }

    async fn spec(&self, session: &Session) -> Result<Value, Error> {
        let (verb, what) = (&self.verb, self.what.as_deref().unwrap_or_default());
        if what.starts_with('/') {
            return Ok(json!({"nonResourceAttributes": {"verb": verb, "path": what}}));
        }
        let (word, name) = what.split_once('/').unwrap_or((what, ""));
        // What no server knows may still be written in a role: it is asked about as it stands.
        let (group, resource, namespaced) = match session.resource(word).await {
            _ if word == "*" => (String::from("*"), String::from("*"), true),
            Ok(known) => (known.group.clone(), known.plural.clone(), known.namespaced),
            Err(_) => {
                let (resource, group) = word.split_once('.').unwrap_or((word, ""));
                session.note(format!("Warning: the server doesn't have a resource type '{resource}'"))?;
                (group.to_owned(), resource.to_owned(), true)
            }
        };
        if !namespaced && !self.all_namespaces && !self.quiet {
            session.note(format!("Warning: resource '{resource}' is not namespace scoped"))?;
        }
        let namespace = if self.all_namespaces || !namespaced { "" } else { &session.namespace };
        Ok(json!({"resourceAttributes": {"verb": verb, "group": group, "resource": resource,
            "subresource": self.subresource, "namespace": namespace, "name": name}}))
    }

    async fn list(&self, session: &Session) -> Result<(), Error> {
        let url = Url::new(format!("{REVIEWS}/selfsubjectrulesreviews"));
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": session.namespace}});
        let status = session.api.create(&url, &review).await?["status"].take();
        if status["incomplete"] == true {
            session.note("warning: the list may be incomplete")?;
        }
        session.print(table::align(&rows(&status)))
    }
}

/// The table of `--list`: resources, then paths.
fn rows(status: &Value) -> Vec<Vec<String>> {
    let list = |value: &Value| {
        let words: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("[{}]", words.join(" "))
    };
    let rules = |field: &str| status[field].as_array().cloned().unwrap_or_default();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rows =
        vec![["Resources", "Non-Resource URLs", "Resource Names", "Verbs"].map(str::to_owned).to_vec()];
    for rule in rules("resourceRules") {
        for resource in texts(&rule["resources"]) {
            for group in texts(&rule["apiGroups"]) {
                let name = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
                rows.push(vec![name, "[]".to_owned(), list(&rule["resourceNames"]), list(&rule["verbs"])]);
            }
        }
    }
    for rule in rules("nonResourceRules") {
        for url in texts(&rule["nonResourceURLs"]) {
            rows.push(vec![String::new(), format!("[{url}]"), "[]".to_owned(), list(&rule["verbs"])]);
        }
    }
    rows
}

impl Whoami {
    async fn run(&self, session: &Session) -> Result<(), Error> {
        let url = Url::new("/apis/authentication.k8s.io/v1/selfsubjectreviews");
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let review = session.api.create(&url, &review).await?;
        if let Some(Format::Data(format)) = &self.output {
            return session.print(format.print(&review)?);
        }
        session.print(table::align(&attributes(&review["status"]["userInfo"])))
    }
}

/// The table of `whoami`.
fn attributes(user: &Value) -> Vec<Vec<String>> {
    let list = |value: &Value| {
        let words: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("[{}]", words.join(" "))
    };
    let text = |field: &str| user[field].as_str().unwrap_or_default().to_owned();
    let mut rows = vec![vec!["ATTRIBUTE".to_owned(), "VALUE".to_owned()]];
    rows.push(vec!["Username".to_owned(), text("username")]);
    if user["uid"].is_string() {
        rows.push(vec!["UID".to_owned(), text("uid")]);
    }
    if user["groups"].is_array() {
        rows.push(vec!["Groups".to_owned(), list(&user["groups"])]);
    }
    for (key, values) in user["extra"].as_object().into_iter().flatten() {
        rows.push(vec![format!("Extra: {key}"), list(values)]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_kubectls() {
        let status = json!({
            "resourceRules": [{"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods"], "resourceNames": ["a"]}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*"]}],
        });
        let lines: Vec<String> = rows(&status).iter().map(|row| row.join("|")).collect();
        assert_eq!(
            lines,
            [
                "Resources|Non-Resource URLs|Resource Names|Verbs",
                "pods|[]|[a]|[get list]",
                "pods.apps|[]|[a]|[get list]",
                "|[/api]|[]|[get]",
                "|[/api/*]|[]|[get]",
            ]
        );
        let user = json!({"username": "ada", "uid": "1", "groups": ["g", "h"], "extra": {"k": ["v"]}});
        let lines: Vec<String> = attributes(&user).iter().map(|row| row.join("|")).collect();
        assert_eq!(lines, ["ATTRIBUTE|VALUE", "Username|ada", "UID|1", "Groups|[g h]", "Extra: k|[v]"]);
    }
}
