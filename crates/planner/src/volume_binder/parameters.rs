//! What a StorageClass of this provisioner asks for (`parameters`), and what a claim of it can have.

use std::fmt;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::provisioner::PROVISIONER;
use crate::objects::name;

const BACKING: &str = "backing";
const FS_TYPE: &str = "fsType";

/// What volumes are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// A folder of the node's own file system. Nothing holds what is in it to its capacity.
    #[default]
    Directory,
    /// A file that is allocated in full, with a file system in it or as a block device.
    Image,
}

impl Backing {
    /// As parameters and annotations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Image => "image",
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parameters of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// What volumes are made of.
    pub backing: Backing,
    /// The file system in an image: `ext4` or `xfs`.
    pub fs_type: String,
}

impl Parameters {
    /// Reads the parameters of a class.
    ///
    /// # Errors
    /// One sentence: which parameter is wrong, and what to write.
    pub fn of(class: &StorageClass) -> Result<Self, String> {
        let mut parameters = Self { fs_type: "ext4".to_owned(), ..Self::default() };
        let class_name = name(&class.metadata);
        let at = |key: &str| format!("parameters.{key} of StorageClass {class_name}");
        let given = class.parameters.iter().flatten();
        for (key, value) in given {
            match (key.as_str(), value.as_str()) {
                (BACKING, "directory") => parameters.backing = Backing::Directory,
                (BACKING, "image") => parameters.backing = Backing::Image,
                (BACKING, _) => {
                    return Err(format!(
                        "{}: Unsupported value: {value:?}: supported values: \"directory\", \"image\"",
                        at(BACKING)
                    ));
                }
                (FS_TYPE, "ext4" | "xfs") => parameters.fs_type.clone_from(value),
                (FS_TYPE, _) => {
                    return Err(format!(
                        "{}: Unsupported value: {value:?}: supported values: \"ext4\", \"xfs\"",
                        at(FS_TYPE)
                    ));
                }
                (unknown, _) => {
                    return Err(format!(
                        "{}: {PROVISIONER} knows the parameters \"{BACKING}\" and \"{FS_TYPE}\" only",
                        at(unknown)
                    ));
                }
            }
        }
        let options = class.mount_options.iter().flatten().flat_map(|options| options.split(','));
        if options.map(str::trim).any(|option| option == "discard") {
            return Err(format!(
                "mountOptions of StorageClass {class_name}: \"discard\" gives room back that a volume was promised: \
                 remove it"
            ));
        }
        if parameters.backing == Backing::Directory {
            if class.parameters.iter().flatten().any(|(key, _)| key == FS_TYPE) {
                return Err(format!(
                    "{}: a directory is on the node's own file system: set {BACKING}: image, or remove it",
                    at(FS_TYPE)
                ));
            }
            if class.mount_options.iter().flatten().next().is_some() {
                return Err(format!(
                    "mountOptions of StorageClass {class_name}: a directory is not mounted by itself: set \
                     parameters.{BACKING}: image, or remove them"
                ));
            }
        }
        Ok(parameters)
    }
}

/// Why this provisioner makes no volume of the class for the claim, if so.
pub(super) fn unsupported(claim: &PersistentVolumeClaim, class: &StorageClass) -> Option<String> {
    let parameters = match Parameters::of(class) {
        Ok(parameters) => parameters,
        Err(why) => return Some(why),
    };
    let spec = claim.spec.as_ref()?;
    if spec.volume_mode.as_deref() == Some("Block") && parameters.backing == Backing::Directory {
        return Some(format!(
            "spec.volumeMode: \"Block\": class {} makes directories: name one with parameters.{BACKING}: image, or set \
             Filesystem",
            name(&class.metadata)
        ));
    }
    let has_source = spec.data_source.is_some() || spec.data_source_ref.is_some();
    has_source.then(|| format!("{PROVISIONER} cannot fill a volume from another one: remove spec.dataSource"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(fields: &Value) -> StorageClass {
        let mut class = json!({"metadata": {"name": "fast"}, "provisioner": PROVISIONER});
        for (key, value) in fields.as_object().expect("fields") {
            class[key] = value.clone();
        }
        serde_json::from_value(class).expect("a class")
    }

    #[test]
    fn every_wrong_parameter_is_one_sentence() {
        let cases = [
            (
                json!({"parameters": {"backing": "lvm"}}),
                "parameters.backing of StorageClass fast: Unsupported value: \"lvm\": supported values: \
                 \"directory\", \"image\"",
            ),
            (
                json!({"parameters": {"backing": "image", "fsType": "zfs"}}),
                "parameters.fsType of StorageClass fast: Unsupported value: \"zfs\": supported values: \"ext4\", \
                 \"xfs\"",
            ),
            (
                json!({"parameters": {"fsType": "xfs"}}),
                "parameters.fsType of StorageClass fast: a directory is on the node's own file system: set backing: \
                 image, or remove it",
            ),
            (
                json!({"parameters": {"iops": "3000"}}),
                "parameters.iops of StorageClass fast: stead.dev/local knows the parameters \"backing\" and \
                 \"fsType\" only",
            ),
            (
                json!({"mountOptions": ["noatime,discard"], "parameters": {"backing": "image"}}),
                "mountOptions of StorageClass fast: \"discard\" gives room back that a volume was promised: remove it",
            ),
            (
                json!({"mountOptions": ["noatime"]}),
                "mountOptions of StorageClass fast: a directory is not mounted by itself: set parameters.backing: \
                 image, or remove them",
            ),
        ];
        for (fields, words) in cases {
            assert_eq!(Parameters::of(&class(&fields)), Err(words.to_owned()), "{fields}");
        }
    }

    #[test]
    fn a_class_without_parameters_makes_directories_and_an_image_has_ext4() {
        assert_eq!(Parameters::of(&class(&json!({}))).unwrap().backing, Backing::Directory);
        let image = Parameters::of(&class(&json!({"parameters": {"backing": "image"}}))).unwrap();
        assert_eq!(image, Parameters { backing: Backing::Image, fs_type: "ext4".to_owned() });
    }
}
