//! Small objects from flags (`k8s.io/kubectl/pkg/cmd/create`).

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// Flags that give values by key.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Data {
    /// A key and its value; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// A file under its own name or under KEY, or all files of a folder; can be repeated
    #[arg(long, value_name = "[KEY=]PATH")]
    from_file: Vec<String>,
    /// A file with a line KEY=VALUE for each value; can be repeated
    #[arg(long, value_name = "FILE")]
    from_env_file: Vec<PathBuf>,
}

/// An object of core/v1 that is only a name.
pub(super) fn plain(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
}

/// A config map; values that are no text go to `binaryData`.
pub(super) fn config_map(name: &str, data: &Data) -> Result<Value, Error> {
    let mut object = plain("ConfigMap", name);
    for (key, value) in data.read()? {
        match String::from_utf8(value) {
            Ok(text) => object["data"][key] = text.into(),
            Err(bytes) => object["binaryData"][key] = BASE64.encode(bytes.as_bytes()).into(),
        }
    }
    Ok(object)
}

/// A secret of type `Opaque`, or of another.
pub(super) fn secret(name: &str, data: &Data, secret_type: Option<&str>) -> Result<Value, Error> {
    let mut object = plain("Secret", name);
    if let Some(secret_type) = secret_type {
        object["type"] = secret_type.into();
    }
    let values: Map<String, Value> =
        data.read()?.into_iter().map(|(key, value)| (key, BASE64.encode(value).into())).collect();
    if !values.is_empty() {
        object["data"] = values.into();
    }
    Ok(object)
}

impl Data {
    fn read(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut values: Vec<(String, Vec<u8>)> = Vec::new();
        for literal in &self.from_literal {
            let (key, value) =
                literal.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                    Error::plain(format!("invalid literal source {literal}, expected key=value"))
                })?;
            values.push((key.to_owned(), value.as_bytes().to_vec()));
        }
        for source in &self.from_file {
            let (key, path) = source.split_once('=').map_or((None, source.as_str()), |(k, p)| (Some(k), p));
            values.extend(files(key, Path::new(path))?);
        }
        for path in &self.from_env_file {
            let text = String::from_utf8(read(path)?).map_err(|_| {
                Error::plain(format!("{} is no text: an env file holds KEY=VALUE lines", path.display()))
            })?;
            values.extend(env_lines(&text, path)?);
        }
        for (index, (key, _)) in values.iter().enumerate() {
            if values[..index].iter().any(|(earlier, _)| earlier == key) {
                return Err(Error::plain(format!(
                    "cannot add key {key:?}, another key by that name already exists"
                )));
            }
        }
        Ok(values)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| Error::plain(format!("error reading {}: {e}", path.display())))
}

fn files(key: Option<&str>, path: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let name_of = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        name.ok_or_else(|| {
            Error::plain(format!("{} has no name that can be a key: give KEY=PATH", path.display()))
        })
    };
    if !path.is_dir() {
        let key = key.map_or_else(|| name_of(path), |key| Ok(key.to_owned()))?;
        return Ok(vec![(key, read(path)?)]);
    }
    if key.is_some() {
        return Err(Error::plain(format!("cannot give a key name for a directory path: {}", path.display())));
    }
    let fail = |e: std::io::Error| Error::plain(format!("error reading {}: {e}", path.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    paths.retain(|path| path.is_file());
    paths.iter().map(|path| Ok((name_of(path)?, read(path)?))).collect()
}

/// `KEY=VALUE` lines; comments and empty lines are skipped, a key alone takes its value from the environment.
fn env_lines(text: &str, path: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut values = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, std::env::var(line).ok()),
        };
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(Error::plain(format!("{}:{}: {key:?} is no key", path.display(), number + 1)));
        }
        if let Some(value) = value {
            values.push((key.to_owned(), value.into_bytes()));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_maps_hold_text_and_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a.conf"), "x=1\n").expect("written");
        std::fs::write(dir.path().join("b.bin"), [0xff, 0]).expect("written");
        std::fs::write(dir.path().join("env"), "# note\nK=v=w\n\n").expect("written");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let data = Data {
            from_literal: vec!["l=1=2".to_owned()],
            from_file: vec![path("a.conf"), format!("bin={}", path("b.bin"))],
            from_env_file: vec![dir.path().join("env")],
        };
        assert_eq!(
            config_map("c", &data).expect("a config map"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
                "data": {"l": "1=2", "a.conf": "x=1\n", "K": "v=w"}, "binaryData": {"bin": "/wA="}})
        );
    }

    #[test]
    fn secrets_are_encoded() {
        let data = Data { from_literal: vec!["password=s3cret".to_owned()], ..Data::default() };
        assert_eq!(
            secret("s", &data, None).expect("a secret"),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "czNjcmV0"}})
        );
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        let literals = |literals: &[&str]| Data {
            from_literal: literals.iter().map(|l| (*l).to_owned()).collect(),
            ..Data::default()
        };
        assert!(config_map("c", &literals(&["novalue"])).is_err());
        assert!(config_map("c", &literals(&["a=1", "a=2"])).is_err());
    }
}
