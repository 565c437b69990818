//! `top`: what nodes and pods use (`k8s.io/kubectl/pkg/cmd/top`).

use apimachinery::meta::ObjectExt;
use apimachinery::quantity::Quantity;
use serde_json::Value;

use crate::api::Url;
use crate::error::Error;
use crate::output::table::align;
use crate::session::Session;

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// Whose figures are shown.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Top {
    /// What pods use
    #[command(alias = "pods", alias = "po")]
    Pod(TopPod),
    /// What nodes use
    #[command(alias = "nodes", alias = "no")]
    Node(TopNode),
}

/// Flags of `top pod`.
#[derive(Clone, Debug, clap::Args)]
pub struct TopPod {
    /// Only this pod
    name: Option<String>,
    /// Pods of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "name")]
    selector: Option<String>,
    /// Each container by itself
    #[arg(long)]
    containers: bool,
    /// Those that use most first: cpu, memory
    #[arg(long, value_name = "RESOURCE", value_parser = ["cpu", "memory"])]
    sort_by: Option<String>,
    /// Without the headings
    #[arg(long)]
    no_headers: bool,
}

/// Flags of `top node`.
#[derive(Clone, Debug, clap::Args)]
pub struct TopNode {
    /// Only this node
    name: Option<String>,
    /// Only nodes with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "name")]
    selector: Option<String>,
    /// Those that use most first: cpu, memory
    #[arg(long, value_name = "RESOURCE", value_parser = ["cpu", "memory"])]
    sort_by: Option<String>,
    /// Without the headings
    #[arg(long)]
    no_headers: bool,
}

/// Thousandths of a processor, and bytes.
#[derive(Clone, Copy, Default)]
struct Used {
    cpu: i64,
    memory: i64,
}

impl Used {
    fn of(usage: &Value) -> Self {
        let amount = |name: &str| Quantity::from_value(&usage[name]).ok();
        Self {
            cpu: amount("cpu").map_or(0, Quantity::milli_value),
            memory: amount("memory").map_or(0, Quantity::value),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }

    fn key(self, by: Option<&str>) -> i64 {
        match by {
            Some("cpu") => -self.cpu,
            Some(_) => -self.memory,
            None => 0,
        }
    }

    fn words(self) -> [String; 2] {
        [format!("{}m", self.cpu), format!("{}Mi", self.memory >> 20)]
    }
}

impl Top {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Pod(top) => top.run(session).await,
            Self::Node(top) => top.run(session).await,
        }
    }
}

/// The items of a list, or the one object that was asked for.
async fn items(
    session: &Session,
    url: Url,
    name: Option<&str>,
    selector: Option<&str>,
) -> Result<Vec<Value>, Error> {
    if let Some(name) = name {
        return Ok(vec![session.api.get(&Url::new(format!("{}/{name}", url.as_str()))).await?]);
    }
    let found = session.api.get(&url.with("labelSelector", selector.unwrap_or_default())).await?;
    Ok(found["items"].as_array().cloned().unwrap_or_default())
}

impl TopPod {
    async fn run(&self, session: &Session) -> Result<(), Error> {
        let namespace = session.namespace.clone();
        let url = if self.all_namespaces {
            Url::new(format!("{METRICS}/pods"))
        } else {
            Url::new(format!("{METRICS}/namespaces/{namespace}/pods"))
        };
        let pods = items(session, url, self.name.as_deref(), self.selector.as_deref()).await?;
        let mut rows: Vec<(i64, Vec<String>)> = Vec::new();
        for pod in &pods {
            let containers = pod["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
            let place = self.all_namespaces.then(|| pod.namespace().to_owned());
            let mut row = |used: Used, names: Vec<String>| {
                let words = place.clone().into_iter().chain(names).chain(used.words());
                rows.push((used.key(self.sort_by.as_deref()), words.collect()));
            };
            let name = pod.name().to_owned();
            if self.containers {
                for container in containers {
                    let inner = container["name"].as_str().unwrap_or_default().to_owned();
                    row(Used::of(&container["usage"]), vec![name.clone(), inner]);
                }
            } else {
                let all = containers.iter().map(|c| Used::of(&c["usage"]));
                row(all.fold(Used::default(), Used::plus), vec![name]);
            }
        }
        if rows.is_empty() {
            return nothing(session, if self.all_namespaces { None } else { Some(&namespace) });
        }
        let names: &[&str] = if self.containers { &["POD", "NAME"] } else { &["NAME"] };
        let place = self.all_namespaces.then_some("NAMESPACE");
        let headings = place.into_iter().chain(names.iter().copied()).chain(["CPU(cores)", "MEMORY(bytes)"]);
        print(session, headings.map(str::to_owned).collect(), rows, self.no_headers)
    }
}

impl TopNode {
    async fn run(&self, session: &Session) -> Result<(), Error> {
        let url = Url::new(format!("{METRICS}/nodes"));
        let measured = items(session, url, self.name.as_deref(), self.selector.as_deref()).await?;
        let mut rows = Vec::new();
        for figures in &measured {
            let node = session.api.get(&Url::new(format!("/api/v1/nodes/{}", figures.name()))).await?;
            let (used, all) = (Used::of(&figures["usage"]), Used::of(&node["status"]["allocatable"]));
            let share = |used: i64, all: i64| match all {
                0 => "<unknown>".to_owned(),
                all => format!("{}%", used * 100 / all),
            };
            let [cpu, memory] = used.words();
            let words = [
                figures.name().to_owned(),
                cpu,
                share(used.cpu, all.cpu),
                memory,
                share(used.memory, all.memory),
            ];
            rows.push((used.key(self.sort_by.as_deref()), words.to_vec()));
        }
        if rows.is_empty() {
            return nothing(session, None);
        }
        let headings = ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"];
        print(session, headings.map(str::to_owned).to_vec(), rows, self.no_headers)
    }
}

fn nothing(session: &Session, namespace: Option<&str>) -> Result<(), Error> {
    session.note(match namespace {
        Some(namespace) => format!("No resources found in {namespace} namespace."),
        None => "No resources found".to_owned(),
    })
}

fn print(
    session: &Session,
    headings: Vec<String>,
    mut rows: Vec<(i64, Vec<String>)>,
    no_headers: bool,
) -> Result<(), Error> {
    rows.sort();
    let headings = (!no_headers).then_some(headings);
    let all: Vec<Vec<String>> = headings.into_iter().chain(rows.into_iter().map(|(_, row)| row)).collect();
    session.print(align(&all))
}
