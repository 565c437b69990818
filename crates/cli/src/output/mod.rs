//! The forms of output: `-o json|yaml|name|wide|jsonpath=…|custom-columns=…`.

mod custom_columns;
pub(crate) mod table;
pub(crate) mod tabwriter;

use std::str::FromStr;

use apimachinery::meta::ObjectExt;
use apimachinery::yaml;
use serde_json::{Value, json};

use crate::error::Error;
use crate::jsonpath::Template;
use crate::resource::Resource;
use crate::session::Session;
use custom_columns::CustomColumns;

/// What `-o` may say.
const FORMATS: &str = "custom-columns=…, custom-columns-file=…, json, jsonpath=…, jsonpath-as-json=…, \
     jsonpath-file=…, name, wide, yaml";

/// A form of output.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// A table with the columns of priority 1 too.
    Wide,
    /// `kind.group/name`.
    Name,
    /// Objects in a form that programs read.
    Data(DataFormat),
}

/// A form of output for objects as data.
#[derive(Clone, Debug)]
pub(crate) enum DataFormat {
    /// JSON, indented by four.
    Json,
    /// YAML.
    Yaml,
    /// What a template finds.
    JsonPath(JsonPath),
    /// A table of the user's own making.
    CustomColumns(CustomColumns),
}

/// A template and how its findings are printed.
#[derive(Clone, Debug)]
pub(crate) struct JsonPath {
    template: Template,
    as_json: bool,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once('=').map_or((text, None), |(word, rest)| (word, Some(rest)));
        let needs = |what: &str| rest.ok_or_else(|| format!("{word} needs {what}: -o {word}={what}"));
        let file = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {e}"));
        let path = |text: &str, as_json| {
            let template =
                Template::parse(text).map_err(|e| format!("error parsing jsonpath {text}, {e}"))?;
            Ok::<_, String>(DataFormat::JsonPath(JsonPath { template, as_json }))
        };
        let data = match word {
            "wide" => return Ok(Self::Wide),
            "name" => return Ok(Self::Name),
            "json" => DataFormat::Json,
            "yaml" => DataFormat::Yaml,
            "jsonpath" => path(needs("TEMPLATE")?, false)?,
            "jsonpath-as-json" => path(needs("TEMPLATE")?, true)?,
            "jsonpath-file" => path(&file(needs("FILE")?)?, false)?,
            "custom-columns" => DataFormat::CustomColumns(CustomColumns::parse(needs("NAME:PATH,…")?)?),
            "custom-columns-file" => {
                DataFormat::CustomColumns(CustomColumns::from_file(&file(needs("FILE")?)?)?)
            }
            _ => {
                return Err(format!(
                    "unable to match a printer suitable for the output format {text:?}, allowed formats are: {FORMATS}"
                ));
            }
        };
        Ok(Self::Data(data))
    }
}

impl DataFormat {
    /// The object (or `List`) in this form, as it goes to stdout.
    ///
    /// # Errors
    /// When a template asks for what cannot be had.
    pub(crate) fn print(&self, object: &Value) -> Result<String, Error> {
        Ok(match self {
            Self::Json => indented(object) + "\n",
            Self::Yaml => yaml::to_string(object),
            Self::JsonPath(JsonPath { template, as_json }) => {
                let failed = |e| Error::plain(format!("error executing jsonpath: {e}"));
                if *as_json {
                    indented(&Value::Array(template.find(object).map_err(failed)?)) + "\n"
                } else {
                    template.render(object).map_err(failed)?
                }
            }
            Self::CustomColumns(columns) => columns.print(object)?,
        })
    }
}

/// JSON with kubectl's indent of four.
pub(crate) fn indented(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("values serialize to memory");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Several objects as one.
pub(crate) fn list_of(objects: Vec<Value>) -> Value {
    let mut list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}});
    list["items"] = objects.into();
    list
}

/// Leaves out who set which field: nobody reads that unless asked for.
pub(crate) fn without_managed_fields(mut object: Value) -> Value {
    object.meta_mut().remove("managedFields");
    object
}

/// Flags of commands that change objects and say what they did.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Report {
    /// Instead of a sentence, print the object: name, yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    /// Change nothing, only say what would be: client does not ask the server, server does all but store
    #[arg(long, value_name = "WHERE", num_args = 0..=1, default_value = "none", default_missing_value = "client", require_equals = true)]
    pub(crate) dry_run: DryRun,
}

/// How far a command goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DryRun {
    /// All the way.
    #[default]
    None,
    /// Nothing is sent that would change something.
    Client,
    /// The server does everything but store.
    Server,
}

impl DryRun {
    /// The value of the API's `dryRun` parameter.
    pub(crate) fn parameter(self) -> &'static str {
        if self == Self::Server { "All" } else { "" }
    }
}

impl Report {
    /// Says that `operation` was done to an object: `statefulset.apps/web scaled`.
    pub(crate) fn done(
        &self,
        session: &Session,
        resource: &Resource,
        object: &Value,
        operation: &str,
    ) -> Result<(), Error> {
        let name = format!("{}/{}", resource.type_name(), object.name());
        let suffix = match self.dry_run {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        };
        match &self.output {
            None | Some(Format::Wide) => session.say(format!("{name} {operation}{suffix}")),
            Some(Format::Name) => session.say(name),
            Some(Format::Data(format)) => {
                session.print(format.print(&without_managed_fields(object.clone()))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_do_not_exist_are_refused_with_those_that_do() {
        let refused = |text: &str| text.parse::<Format>().expect_err("no format");
        assert!(refused("xml").contains("allowed formats are: custom-columns=…"));
        assert_eq!(refused("jsonpath"), "jsonpath needs TEMPLATE: -o jsonpath=TEMPLATE");
        assert!(refused("jsonpath={.a").contains("unclosed action"));
    }

    #[test]
    fn json_is_indented_by_four() {
        assert_eq!(indented(&json!({"a": [1]})), "{\n    \"a\": [\n        1\n    ]\n}");
    }
}
