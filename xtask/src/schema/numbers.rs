//! The field numbers of protobuf messages, out of the sources that prost generated for the crate `k8s-pb`. Its
//! names are of another case than the API's, so that both are compared without case and underscores.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;

/// Numbers by type and field, both folded.
pub(super) struct Numbers(HashMap<String, HashMap<String, u32>>);

impl Numbers {
    pub(super) fn read(src: &Path) -> anyhow::Result<Self> {
        let mut numbers = Self(HashMap::new());
        numbers.folder(src, "").with_context(|| src.display().to_string())?;
        Ok(numbers)
    }

    /// The number of a field of a type, by the table's names.
    pub(super) fn get(&self, type_name: &str, field: &str) -> Option<u32> {
        let module = match type_name.split_once(':') {
            Some(("a", rest)) => format!("kube_aggregator.pkg.apis.{rest}"),
            Some((_, rest)) => format!("apiextensions_apiserver.pkg.apis.{rest}"),
            None if type_name.starts_with("meta.") => format!("apimachinery.pkg.apis.{type_name}"),
            None if ["api.", "util.", "runtime."].iter().any(|p| type_name.starts_with(p)) => {
                format!("apimachinery.pkg.{type_name}")
            }
            None => format!("api.{type_name}"),
        };
        self.0.get(&fold(&module))?.get(&fold(field)).copied()
    }

    fn folder(&mut self, folder: &Path, module: &str) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                self.folder(&entry.path(), &format!("{module}{name}."))?;
            } else if name == "mod.rs" {
                self.file(module, &std::fs::read_to_string(entry.path())?);
            }
        }
        Ok(())
    }

    /// A `pub struct`, and in it a `#[prost(…, tag = "1")]` before each `pub field:`.
    fn file(&mut self, module: &str, text: &str) {
        let mut message = String::new();
        let mut number = None;
        for line in text.lines().map(str::trim_start) {
            if let Some(rest) = line.strip_prefix("pub struct ") {
                message = fold(&format!("{module}{}", word(rest)));
                self.0.entry(message.clone()).or_default();
            } else if line.starts_with("#[prost(") {
                number =
                    line.split_once("tag = \"").and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
            } else if let (Some(rest), Some(tag)) = (line.strip_prefix("pub "), number.take()) {
                let field = word(rest.strip_prefix("r#").unwrap_or(rest));
                self.0.entry(message.clone()).or_default().insert(fold(field), tag);
            }
        }
    }
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_whatever_the_case_of_names() {
        let mut numbers = Numbers(HashMap::new());
        let source = r#"
            #[derive(Clone, PartialEq, ::prost::Message)]
            pub struct FcVolumeSource {
                #[prost(string, repeated, tag = "1")]
                pub target_ww_ns: ::prost::alloc::vec::Vec<String>,
                /// A type.
                #[prost(string, optional, tag = "12")]
                pub r#type: ::core::option::Option<String>,
            }"#;
        numbers.file("api.core.v1.", source);
        assert_eq!(numbers.get("core.v1.FCVolumeSource", "targetWWNs"), Some(1));
        assert_eq!(numbers.get("core.v1.FCVolumeSource", "type"), Some(12));
        assert_eq!(numbers.get("core.v1.FCVolumeSource", "lun"), None);
    }
}
