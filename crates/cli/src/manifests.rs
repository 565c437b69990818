//! Manifests: files, folders and stdin into objects.

use std::io::Read;
use std::path::{Path, PathBuf};

use apimachinery::meta::ObjectExt;
use apimachinery::yaml;
use serde_json::Value;

use crate::api::Url;
use crate::error::Error;
use crate::resource::Resource;
use crate::session::Session;

/// What a folder is searched for.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];
/// How stdin is called in messages.
const STDIN: &str = "STDIN";

/// Flags that name manifests.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Files {
    /// A file or folder with manifests, or - for stdin; can be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", value_delimiter = ',')]
    filename: Vec<PathBuf>,
    /// Look into folders of folders too
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// An object of a manifest, with where it belongs.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// The kind.
    pub(crate) resource: Resource,
    /// The namespace, filled in; empty for kinds without.
    pub(crate) namespace: String,
    /// The name; empty when the server shall make one from `generateName`.
    pub(crate) name: String,
    /// The object.
    pub(crate) object: Value,
    /// The file it came from.
    pub(crate) source: String,
}

impl Placed {
    /// Where the object is, or will be.
    pub(crate) fn url(&self) -> Url {
        self.resource.url(&self.namespace, &self.name)
    }
}

/// An object as it was read.
#[derive(Clone, Debug, PartialEq)]
struct Document {
    object: Value,
    source: String,
}

impl Files {
    /// These files.
    pub(crate) fn of(paths: &[PathBuf]) -> Self {
        Self { filename: paths.to_vec(), recursive: false }
    }

    /// Whether `-f` was given.
    pub(crate) fn is_given(&self) -> bool {
        !self.filename.is_empty()
    }

    /// Reads all objects and finds out where they belong. What is wrong with one of them, or with a file, stands
    /// in its place: the others can do without it, as with kubectl.
    ///
    /// # Errors
    /// When a path that was named cannot be read.
    pub(crate) async fn load(&self, session: &Session) -> Result<Vec<Result<Placed, Error>>, Error> {
        let mut placed = Vec::new();
        for document in self.read()? {
            placed.push(match document {
                Ok(document) => place(session, document).await,
                Err(error) => Err(error),
            });
        }
        Ok(placed)
    }

    fn read(&self) -> Result<Vec<Result<Document, Error>>, Error> {
        let mut documents = Vec::new();
        let mut take = |text: &str, source: &str| match split(text, source) {
            Ok(found) => documents.extend(found.into_iter().map(Ok)),
            Err(error) => documents.push(Err(error)),
        };
        for path in &self.filename {
            let shown = path.display().to_string();
            if shown == "-" {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|e| Error::plain(format!("cannot read stdin: {e}")))?;
                take(&text, STDIN);
                continue;
            }
            if shown.starts_with("https://") || shown.starts_with("http://") {
                return Err(Error::plain(format!("{shown} is not fetched: download it and name the file")));
            }
            for file in files_of(path, self.recursive)? {
                let text = std::fs::read_to_string(&file)
                    .map_err(|e| Error::plain(format!("cannot read {}: {e}", file.display())))?;
                take(&text, &file.display().to_string());
            }
        }
        Ok(documents)
    }
}

/// The file itself, or the manifests of a folder by name.
fn files_of(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Error> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::plain(format!("the path \"{shown}\" does not exist")),
        _ => Error::plain(format!("cannot read {shown}: {e}")),
    })?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = manifests_in(path, recursive)?;
    files.sort();
    if files.is_empty() {
        return Err(Error::plain(format!(
            "error reading [{shown}]: recognized file extensions are [.json .yaml .yml]"
        )));
    }
    Ok(files)
}

fn manifests_in(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>, Error> {
    let fail = |e: std::io::Error| Error::plain(format!("cannot read {}: {e}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            if recursive {
                files.extend(manifests_in(&path, recursive)?);
            }
        } else if path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known)) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The objects of a text; lists are taken apart, empty documents left out.
fn split(text: &str, source: &str) -> Result<Vec<Document>, Error> {
    let values = yaml::parse(text).map_err(|e| Error::plain(format!("error parsing {source}: {e}")))?;
    let mut documents = Vec::new();
    for value in values.into_iter().filter(|value| !value.is_null()) {
        let word = |field: &str| value[field].as_str().filter(|word| !word.is_empty());
        if !value.is_object() {
            return Err(Error::plain(format!("{source} holds something that is no object: {value}")));
        }
        let (Some(_), Some(kind)) = (word("apiVersion"), word("kind")) else {
            let missing = if word("kind").is_none() { "kind" } else { "apiVersion" };
            let name = value.name();
            return Err(Error::plain(format!("{source}: {missing} is not set on object {name:?}: add it")));
        };
        match value["items"].as_array() {
            Some(items) if kind.ends_with("List") => documents.extend(
                items.iter().map(|item| Document { object: item.clone(), source: source.to_owned() }),
            ),
            _ => documents.push(Document { object: value, source: source.to_owned() }),
        }
    }
    Ok(documents)
}

async fn place(session: &Session, document: Document) -> Result<Placed, Error> {
    let Document { mut object, source } = document;
    let resource = session.resource_of(&object).await.map_err(|error| match error {
        Error::Plain(why) => Error::plain(format!(
            "resource mapping not found for name: {:?} namespace: {:?} from {source:?}: {why}",
            object.name(),
            object.namespace()
        )),
        other => other,
    })?;
    let said = object.namespace();
    let namespace = match (resource.namespaced, said) {
        (false, _) => String::new(),
        (true, "") => session.namespace.clone(),
        (true, said) if session.namespace_is_explicit && said != session.namespace => {
            return Err(Error::plain(format!(
                "the namespace from the provided object {said:?} does not match the namespace {:?}: \
                 leave -n out, or pass -n {said}",
                session.namespace
            )));
        }
        (true, said) => said.to_owned(),
    };
    if resource.namespaced {
        object.meta_mut().insert("namespace".to_owned(), namespace.clone().into());
    }
    Ok(Placed { resource, namespace, name: object.name().to_owned(), object, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_become_objects() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n# nothing\n---\n\
                    apiVersion: v1\nkind: Pod\nmetadata: {name: b}\n";
        let names: Vec<String> =
            split(text, "x.yaml").expect("objects").iter().map(|d| d.object.name().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_is_no_object_is_refused_by_file_and_reason() {
        let check = |text: &str, expect: &str| {
            assert_eq!(split(text, "x.yaml").expect_err("refused").to_string(), format!("error: {expect}"));
        };
        check("just words", "x.yaml holds something that is no object: \"just words\"");
        check("metadata: {name: a}", "x.yaml: kind is not set on object \"a\": add it");
        check("kind: Pod", "x.yaml: apiVersion is not set on object \"\": add it");
        check("a: 1\na: 2", "error parsing x.yaml: line 2: key \"a\" stands twice in this map");
    }

    #[test]
    fn folders_give_their_manifests_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["b.yaml", "a.json", "notes.txt"] {
            std::fs::write(dir.path().join(name), "").expect("written");
        }
        std::fs::create_dir(dir.path().join("sub")).expect("made");
        std::fs::write(dir.path().join("sub/c.yml"), "").expect("written");
        let names = |recursive| -> Vec<String> {
            let files = files_of(dir.path(), recursive).expect("files");
            files.iter().filter_map(|f| Some(f.file_name()?.to_str()?.to_owned())).collect()
        };
        assert_eq!(names(false), ["a.json", "b.yaml"]);
        assert_eq!(names(true), ["a.json", "b.yaml", "c.yml"]);
        let missing = files_of(&dir.path().join("gone"), false).expect_err("not there").to_string();
        assert!(missing.contains("does not exist"), "{missing}");
    }
}
