//! `logs`: what containers wrote.

use apimachinery::meta::ObjectExt;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::SignedDuration;
use serde_json::Value;

use crate::api::Url;
use crate::duration;
use crate::error::Error;
use crate::pods;
use crate::selection::{self, Filters, Pick};
use crate::session::{Failures, Session};

/// How many lines each container tells when a selector names the pods and `--tail` is not given.
const SELECTED_TAIL: i64 = 10;

/// Flags of `logs`.
#[derive(Clone, Debug, clap::Args)]
pub struct Logs {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    pod: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER", conflicts_with = "container")]
    container_word: Option<String>,
    /// The container; the first one when not given
    #[arg(short = 'c', long, value_name = "NAME")]
    container: Option<String>,
    /// Go on with what is written from now on
    #[arg(short = 'f', long)]
    follow: bool,
    /// The container as it was before its last restart
    #[arg(short = 'p', long)]
    previous: bool,
    /// The last lines only; below zero: all. 10 with a selector
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    tail: Option<i64>,
    /// Only lines younger than this: 5s, 2m, 3h
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    since: Option<SignedDuration>,
    /// Only lines after this moment, in RFC 3339
    #[arg(long, value_name = "MOMENT", conflicts_with = "since")]
    since_time: Option<String>,
    /// Put the time before each line
    #[arg(long)]
    timestamps: bool,
    /// At most this much of each container
    #[arg(long, value_name = "BYTES")]
    limit_bytes: Option<u64>,
    /// All containers of the pod
    #[arg(long, conflicts_with_all = ["container", "container_word"])]
    all_containers: bool,
    /// All pods of TYPE/NAME
    #[arg(long)]
    all_pods: bool,
    /// The pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "pod")]
    selector: Option<String>,
    /// Put pod and container before each line
    #[arg(long)]
    prefix: bool,
    /// How many containers may be followed at once
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_log_requests: usize,
    /// Go on with the next container when one cannot be read
    #[arg(long)]
    ignore_errors: bool,
}

/// One container's log.
struct Source {
    url: Url,
    /// What stands before each line.
    prefix: String,
}

impl Logs {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let pods = self.pods(session).await?;
        let mut sources = Vec::new();
        for pod in &pods {
            for container in self.containers(session, pod)? {
                sources.push(self.source(session, pod, &container).await?);
            }
        }
        if !self.follow || sources.len() == 1 {
            let mut failures = Failures::default();
            for source in &sources {
                let copied = copy(session, source).await;
                if self.ignore_errors {
                    failures.note(session, copied)?;
                } else {
                    copied?;
                }
            }
            return failures.end();
        }
        if sources.len() > self.max_log_requests {
            return Err(Error::plain(format!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use \
                 --max-log-requests to increase the limit",
                sources.len(),
                self.max_log_requests
            )));
        }
        let mut following: FuturesUnordered<_> = sources.iter().map(|source| copy(session, source)).collect();
        let mut failures = Failures::default();
        while let Some(ended) = following.next().await {
            if self.ignore_errors {
                failures.note(session, ended)?;
            } else {
                ended?;
            }
        }
        failures.end()
    }

    async fn pods(&self, session: &Session) -> Result<Vec<Value>, Error> {
        if let Some(selector) = &self.selector {
            let resource = session.resource("pods").await?;
            let pick = Pick { resource, namespace: session.namespace.clone(), name: None };
            let filters = Filters { selector: selector.clone(), ..Filters::default() };
            let found = selection::fetch(session, &pick, &filters).await?;
            if found.is_empty() {
                session.note(format!("No resources found in {} namespace.", session.namespace))?;
            }
            return Ok(found.into_iter().map(|f| f.object).collect());
        }
        let Some(word) = &self.pod else {
            return Err(Error::plain("name a pod: logs POD, logs TYPE/NAME or logs -l SELECTOR"));
        };
        let mut pods = pods::of(session, word).await?;
        if pods.len() > 1 && !self.all_pods {
            session.note(format!("Found {} pods, using pod/{}", pods.len(), pods[0].name()))?;
            pods.truncate(1);
        }
        Ok(pods)
    }

    fn containers(&self, session: &Session, pod: &Value) -> Result<Vec<String>, Error> {
        if self.all_containers {
            return Ok(pods::all_containers(pod));
        }
        let wanted = self.container.as_deref().or(self.container_word.as_deref());
        let (name, said) = pods::container(pod, wanted)?;
        if let Some(said) = said {
            session.note(said)?;
        }
        Ok(vec![name])
    }

    async fn source(&self, session: &Session, pod: &Value, container: &str) -> Result<Source, Error> {
        let number = |value: Option<i64>| value.map(|n| n.to_string()).unwrap_or_default();
        let tail = self.tail.or(self.selector.is_some().then_some(SELECTED_TAIL)).filter(|lines| *lines >= 0);
        // Whole seconds, rounded up: the API knows no parts of them.
        let since = self.since.map(|span| span.as_secs() + i64::from(span.subsec_nanos() > 0));
        let url = session
            .resource("pods")
            .await?
            .part_url(pod.namespace(), pod.name(), "log")
            .with("container", container)
            .flag("follow", self.follow)
            .flag("previous", self.previous)
            .flag("timestamps", self.timestamps)
            .with("tailLines", number(tail))
            .with("sinceSeconds", number(since))
            .with("sinceTime", self.since_time.as_deref().unwrap_or_default())
            .with("limitBytes", self.limit_bytes.map(|n| n.to_string()).unwrap_or_default());
        let prefix = if self.prefix { format!("[pod/{}/{container}] ", pod.name()) } else { String::new() };
        Ok(Source { url, prefix })
    }
}

/// Writes a log to stdout, whole lines at a time, so that several can be followed at once.
async fn copy(session: &Session, source: &Source) -> Result<(), Error> {
    let mut lines = session.api.stream(&source.url).await?;
    while let Some(line) = lines.next().await? {
        if source.prefix.is_empty() {
            session.out.write(&line)?;
        } else {
            session.out.write(&[source.prefix.as_bytes(), &line].concat())?;
        }
    }
    Ok(())
}
