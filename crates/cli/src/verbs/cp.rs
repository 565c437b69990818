//! `cp`: files and folders to and from containers, as an archive that `tar` in the container makes or unpacks.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use apimachinery::meta::ObjectExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::AsyncReadExt;
use tokio_util::io::SyncIoBridge;

use crate::error::Error;
use crate::pods;
use crate::session::{Out, Session};

/// Flags of `cp`.
#[derive(Clone, Debug, clap::Args)]
pub struct Cp {
    /// What to copy: a path here, or [NAMESPACE/]POD:PATH
    #[arg(value_name = "FROM")]
    from: String,
    /// Where to: a path here, or [NAMESPACE/]POD:PATH
    #[arg(value_name = "TO")]
    to: String,
    /// The container; the first one when not given
    #[arg(short = 'c', long, value_name = "NAME")]
    container: Option<String>,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Spec<'a> {
    Local(&'a Path),
    Remote { namespace: Option<&'a str>, pod: &'a str, path: &'a str },
}

impl<'a> Spec<'a> {
    /// Reads `PATH` or `[NAMESPACE/]POD:PATH`. A path with a colon in it can be said with `./`.
    fn parse(word: &'a str) -> Result<Self, Error> {
        let Some((pod, path)) = word.split_once(':').filter(|(pod, _)| !pod.starts_with(['.', '/'])) else {
            return Ok(Self::Local(Path::new(word)));
        };
        let (namespace, pod) = match pod.split_once('/') {
            Some((namespace, pod)) => (Some(namespace), pod),
            None => (None, pod),
        };
        if pod.is_empty() || path.is_empty() || pod.contains('/') {
            return Err(Error::plain(format!("{word:?} must be a path here, or [NAMESPACE/]POD:PATH")));
        }
        Ok(Self::Remote { namespace, pod, path })
    }
}

/// A container to run `tar` in.
struct Place {
    pods: Api<Pod>,
    pod: String,
    container: String,
    err: Out,
}

impl Cp {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        match (Spec::parse(&self.from)?, Spec::parse(&self.to)?) {
            (Spec::Local(from), Spec::Remote { namespace, pod, path }) => {
                let meta = fs::metadata(from)
                    .map_err(|e| Error::plain(format!("cannot copy {}: {e}", from.display())))?;
                let place = self.place(session, namespace, pod).await?;
                place.upload(from.to_owned(), path, meta.is_dir()).await
            }
            (Spec::Remote { namespace, pod, path }, Spec::Local(to)) => {
                self.place(session, namespace, pod).await?.download(path, to).await
            }
            (Spec::Local(_), Spec::Local(_)) => {
                Err(Error::plain("one of the two must be in a pod: [NAMESPACE/]POD:PATH"))
            }
            (Spec::Remote { .. }, Spec::Remote { .. }) => {
                Err(Error::plain("one of the two must be a path here: copy from pod to pod in two steps"))
            }
        }
    }

    async fn place(&self, session: &Session, namespace: Option<&str>, pod: &str) -> Result<Place, Error> {
        let namespace = namespace.unwrap_or(&session.namespace);
        let url = session.resource("pods").await?.url(namespace, pod);
        let object = session.api.get(&url).await?;
        let (container, said) = pods::container(&object, self.container.as_deref())?;
        if let Some(said) = said {
            session.note(said)?;
        }
        let pods = Api::namespaced(session.api.client().clone(), namespace);
        Ok(Place { pods, pod: object.name().to_owned(), container, err: session.err.clone() })
    }
}

impl Place {
    async fn start(&self, command: &[&str], stdin: bool) -> Result<AttachedProcess, Error> {
        let params = AttachParams::default().stdin(stdin).stdout(!stdin).stderr(true);
        let params = params.container(self.container.clone());
        let started = self.pods.exec(&self.pod, command.iter().copied(), &params).await;
        started.map_err(|error| match error {
            kube::Error::Api(status) => {
                Error::from_status(status.code, &serde_json::to_vec(&*status).unwrap_or_default())
            }
            other => Error::Unreachable(other.to_string()),
        })
    }

    /// Waits for the end of a command. What it said on stderr is said here.
    async fn end(&self, mut process: AttachedProcess) -> Result<bool, Error> {
        let status = process.take_status();
        if let Some(mut stderr) = process.stderr() {
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).await?;
            self.err.write(&said)?;
        }
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(true),
            Some(status) if status.reason.as_deref() == Some("NonZeroExitCode") => Ok(false),
            Some(status) => Err(Error::from_status(500, &serde_json::to_vec(&status).unwrap_or_default())),
            None => Err(Error::Unreachable("the connection to the container broke".to_owned())),
        }
    }

    /// Whether a folder of this path is in the container.
    async fn is_folder(&self, path: &str) -> Result<bool, Error> {
        let mut process = self.start(&["test", "-d", path], false).await?;
        drop(process.stdout());
        self.end(process).await
    }

    async fn upload(&self, from: PathBuf, to: &str, is_folder: bool) -> Result<(), Error> {
        let own_name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        // Into a folder that is there, else under the name that is said.
        let to = to.trim_end_matches('/');
        let to = if to.is_empty() { "/" } else { to };
        let (folder, name) = match to.rsplit_once('/') {
            _ if self.is_folder(to).await? => (to, own_name),
            Some(("", name)) => ("/", name.to_owned()),
            Some((folder, name)) => (folder, name.to_owned()),
            None => (".", to.to_owned()),
        };
        let mut process = self.start(&["tar", "-xmf", "-", "-C", folder], true).await?;
        let stdin = process.stdin().ok_or_else(|| Error::plain("the container takes no input"))?;
        let packing = tokio::task::spawn_blocking(move || -> io::Result<()> {
            let mut archive = tar::Builder::new(SyncIoBridge::new(stdin));
            archive.follow_symlinks(false);
            if is_folder {
                archive.append_dir_all(&name, &from)?;
            } else {
                archive.append_path_with_name(&from, &name)?;
            }
            archive.into_inner()?.shutdown()
        });
        let (ended, packed) = tokio::join!(self.end(process), packing);
        if !ended? {
            return Err(Error::plain(format!("tar in container {} has failed", self.container)));
        }
        packed.map_err(|e| Error::plain(e.to_string()))?.map_err(Error::from)
    }

    async fn download(&self, from: &str, to: &Path) -> Result<(), Error> {
        let name = Path::new(from).file_name().unwrap_or_default();
        let to = if to.is_dir() { to.join(name) } else { to.to_owned() };
        let mut process = self.start(&["tar", "cf", "-", from], false).await?;
        let stdout = process.stdout().ok_or_else(|| Error::plain("the container gives no output"))?;
        let (root, err) = (from.trim_start_matches('/').to_owned(), self.err.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut output = SyncIoBridge::new(stdout);
            let unpacked = unpack(&mut output, Path::new(&root), &to, &err);
            // tar must not wait for somebody who reads no more.
            io::copy(&mut output, &mut io::sink()).and(unpacked)
        });
        let (ended, unpacked) = tokio::join!(self.end(process), unpacking);
        if !ended? {
            return Err(Error::plain(format!("tar in container {} has failed", self.container)));
        }
        unpacked.map_err(|e| Error::plain(e.to_string()))?.map_err(Error::from)
    }
}

/// Puts what an archive has below `root` at `to`. What the container says cannot lead out of there: links are left
/// out, as kubectl does.
fn unpack(archive: impl Read, root: &Path, to: &Path, err: &Out) -> io::Result<()> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !below.components().all(is_plain) {
            err.line(&format!("warning: file {:?} is outside target destination, skipping", path.display()))?;
            continue;
        }
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(&target)?,
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                if let Some(folder) = target.parent() {
                    fs::create_dir_all(folder)?;
                }
                io::copy(&mut entry, &mut fs::File::create(&target)?)?;
            }
            _ => err.line(&format!("warning: skipping {:?}: not a file or folder", path.display()))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_paths_or_pods_with_paths() {
        let parse = |word| Spec::parse(word).map_err(|error| error.to_string());
        assert_eq!(parse("a/b"), Ok(Spec::Local(Path::new("a/b"))));
        assert_eq!(parse("./a:b"), Ok(Spec::Local(Path::new("./a:b"))));
        assert_eq!(parse("p:/x"), Ok(Spec::Remote { namespace: None, pod: "p", path: "/x" }));
        assert_eq!(parse("n/p:x"), Ok(Spec::Remote { namespace: Some("n"), pod: "p", path: "x" }));
        for wrong in ["p:", ":x", "a/b/c:x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_archive_cannot_lead_out_of_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        let mut archive = tar::Builder::new(Vec::new());
        for path in ["data/a", "data/../../b", "data/sub/c"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_entry_type(tar::EntryType::Regular);
            // As somebody would who means harm: the crate refuses such paths.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            archive.append(&header, &b"x"[..]).unwrap();
        }
        let bytes = archive.into_inner().unwrap();
        unpack(bytes.as_slice(), Path::new("data"), &to, &Out::null()).unwrap();
        assert!(to.join("a").is_file() && to.join("sub/c").is_file());
        assert!(!folder.path().join("b").exists() && std::fs::read_dir(folder.path()).unwrap().count() == 1);
    }
}
