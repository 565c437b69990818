//! What every verb works with: the API, the namespace, and where words go.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::api::Api;
use crate::error::Error;
use crate::resource::{self, Resource};

/// Somewhere that text goes: stdout, stderr, or a test's buffer.
#[derive(Clone)]
pub(crate) struct Out(Arc<Mutex<Box<dyn Write + Send>>>);

impl Out {
    /// Text goes to `writer`.
    pub(crate) fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(writer))))
    }

    /// Text goes nowhere.
    #[cfg(test)]
    pub(crate) fn null() -> Self {
        Self::new(io::sink())
    }

    /// Writes bytes and flushes, so that readers of a pipe see them at once.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(bytes)?;
        writer.flush()
    }

    /// Writes a line.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        self.write(format!("{text}\n").as_bytes())
    }
}

/// A command's view of the world.
pub(crate) struct Session {
    /// The server.
    pub(crate) api: Api,
    /// The namespace to work in.
    pub(crate) namespace: String,
    /// Whether the namespace was given on the command line: manifests must then agree with it.
    pub(crate) namespace_is_explicit: bool,
    /// Results.
    pub(crate) out: Out,
    /// Everything else.
    pub(crate) err: Out,
}

impl Session {
    pub(crate) fn new(api: Api, namespace: String, namespace_is_explicit: bool, out: Out, err: Out) -> Self {
        Self { api, namespace, namespace_is_explicit, out, err }
    }

    /// Says a line on stdout.
    pub(crate) fn say(&self, text: impl AsRef<str>) -> Result<(), Error> {
        Ok(self.out.line(text.as_ref())?)
    }

    /// Writes text to stdout as it is.
    pub(crate) fn print(&self, text: impl AsRef<str>) -> Result<(), Error> {
        Ok(self.out.write(text.as_ref().as_bytes())?)
    }

    /// Says a line on stderr.
    pub(crate) fn note(&self, text: impl AsRef<str>) -> Result<(), Error> {
        Ok(self.err.line(text.as_ref())?)
    }

    /// The kind that a person means by `sts` or `statefulsets.apps`: the built-in table knows it, or the
    /// server does.
    pub(crate) async fn resource(&self, word: &str) -> Result<Resource, Error> {
        if let Some(kind) = registry::by_word(word) {
            return Ok(Resource::from(kind));
        }
        let all = resource::discover(&self.api).await?;
        match all.iter().find(|resource| resource.answers_to(word)) {
            Some(found) => Ok(found.clone()),
            None => Err(resource::unknown_word(&all, word)),
        }
    }

    /// The kind that an object says it is.
    pub(crate) async fn resource_of(&self, object: &Value) -> Result<Resource, Error> {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if let Some(kind) = registry::by_gvk(api_version, kind) {
            return Ok(Resource::from(kind));
        }
        let all = resource::discover(&self.api).await?;
        match all.iter().find(|r| r.kind == kind && r.api_version() == api_version) {
            Some(found) => Ok(found.clone()),
            None => Err(resource::unknown_kind(&all, api_version, kind)),
        }
    }
}

/// Collects the failures of a command that goes on after one: each is said where it happens.
#[derive(Default)]
pub(crate) struct Failures(usize);

impl Failures {
    /// Keeps a success, says a failure. A reader that went away ends it all.
    pub(crate) fn note<T>(
        &mut self,
        session: &Session,
        result: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Exit(_) | Error::NotRunning { .. } | Error::Unreachable(_))) => Err(error),
            Err(error) => {
                self.0 += 1;
                session.note(error.to_string())?;
                Ok(None)
            }
        }
    }

    /// Whether there was a failure so far.
    pub(crate) fn any(&self) -> bool {
        self.0 > 0
    }

    /// The command's outcome.
    pub(crate) fn end(self) -> Result<(), Error> {
        if self.0 == 0 { Ok(()) } else { Err(Error::Exit(1)) }
    }
}
