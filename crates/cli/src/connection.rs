//! Which server to talk to.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::api::Api;
use crate::error::Error;
use crate::session::{Out, Session};

/// Where stead keeps its state when nobody says otherwise.
const DEFAULT_DATA_DIR: &str = "/var/lib/stead";

/// Flags that say which stead (or which cluster) is meant, and the namespace.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Connection {
    /// The data directory of the stead to talk to
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    data_dir: Option<PathBuf>,
    /// A kubeconfig file that says how to reach the server
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    context: Option<String>,
    /// The namespace to work in
    #[arg(short = 'n', long, global = true, value_name = "NAMESPACE", help_heading = "Global options")]
    namespace: Option<String>,
    /// Be taken for this user
    #[arg(long = "as", global = true, value_name = "USER", help_heading = "Global options")]
    impersonate: Option<String>,
    /// Be taken for a member of this group; can be repeated
    #[arg(
        long = "as-group",
        global = true,
        value_name = "GROUP",
        requires = "impersonate",
        help_heading = "Global options"
    )]
    impersonate_groups: Vec<String>,
}

/// Where the kubeconfig was found, to say so when nobody answers.
enum Source {
    DataDir(PathBuf),
    File(PathBuf),
    Environment(Box<Kubeconfig>),
}

impl Connection {
    /// A connection by a kubeconfig alone.
    pub(crate) fn from_kubeconfig(path: &Path) -> Self {
        Self { kubeconfig: Some(path.to_owned()), ..Self::default() }
    }

    /// The data directory that is meant: `--data-dir`, or the default one.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR))
    }

    /// Reads the kubeconfig. Nothing is sent yet.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it cannot be used.
    pub(crate) async fn open(&self, out: Out, err: Out) -> Result<Session, Error> {
        let source = self.source()?;
        let start = match &source {
            Source::DataDir(dir) if dir.as_os_str() != DEFAULT_DATA_DIR => {
                format!("stead up --data-dir {}", dir.display())
            }
            _ => "stead up".to_owned(),
        };
        let kubeconfig = match source {
            Source::DataDir(dir) => {
                read(&dir.join("kubeconfig"), |why| Error::NotRunning { why, start: start.clone() })?
            }
            Source::File(path) => {
                read(&path, |why| Error::plain(format!("{why}: name the right one with --kubeconfig")))?
            }
            Source::Environment(kubeconfig) => *kubeconfig,
        };
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|e| Error::plain(format!("cannot use the kubeconfig: {e}")))?;
        if let Some(user) = &self.impersonate {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(self.impersonate_groups.clone());
        }
        // A refusal is an answer; waiting is the user's decision.
        config.default_retry = false;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = kube::Client::try_from(config)
            .map_err(|e| Error::plain(format!("cannot use the kubeconfig: {e}")))?;
        let api = Api::new(client, server.trim_end_matches('/').to_owned(), start, err.clone());
        Ok(Session::new(api, namespace, self.namespace.is_some(), out, err))
    }

    fn source(&self) -> Result<Source, Error> {
        if let Some(dir) = &self.data_dir {
            return Ok(Source::DataDir(dir.clone()));
        }
        if let Some(path) = &self.kubeconfig {
            return Ok(Source::File(path.clone()));
        }
        let named = Kubeconfig::from_env()
            .map_err(|e| Error::plain(format!("cannot use what KUBECONFIG names: {}", one_line(&e))))?;
        Ok(match named {
            Some(kubeconfig) => Source::Environment(Box::new(kubeconfig)),
            None => Source::DataDir(PathBuf::from(DEFAULT_DATA_DIR)),
        })
    }
}

fn read(path: &Path, missing: impl FnOnce(String) -> Error) -> Result<Kubeconfig, Error> {
    if let Err(error) = std::fs::File::open(path) {
        let shown = path.display();
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound => missing(format!("there is no {shown}")),
            std::io::ErrorKind::PermissionDenied => Error::plain(format!(
                "cannot read {shown}: it is for its owner alone; become that user (sudo), or name a copy with \
                 --kubeconfig"
            )),
            _ => Error::plain(format!("cannot read {shown}: {error}")),
        });
    }
    Kubeconfig::read_from(path)
        .map_err(|e| Error::plain(format!("cannot use {}: {}", path.display(), one_line(&e))))
}

/// What stands in the first line: the others draw the place in the file.
fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_data_directory_without_a_kubeconfig_says_how_to_start_stead() {
        let dir = tempfile::tempdir().expect("a directory");
        let connection = Connection { data_dir: Some(dir.path().to_owned()), ..Connection::default() };
        let error =
            connection.open(Out::null(), Out::null()).await.err().expect("no stead there").to_string();
        let place = dir.path().display();
        assert_eq!(
            error,
            format!(
                "error: stead is not running: there is no {place}/kubeconfig; start it with `stead up --data-dir {place}`"
            )
        );
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_asked_for_by_its_flag() {
        let connection = Connection { kubeconfig: Some("/no/such/file".into()), ..Connection::default() };
        let error = connection.open(Out::null(), Out::null()).await.err().expect("no file").to_string();
        assert_eq!(error, "error: there is no /no/such/file: name the right one with --kubeconfig");
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_none_is_told_in_one_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "nonsense\n").expect("written");
        let connection = Connection::from_kubeconfig(file.path());
        let error = connection.open(Out::null(), Out::null()).await.err().expect("nonsense").to_string();
        assert!(error.starts_with(&format!("error: cannot use {}: ", file.path().display())), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
