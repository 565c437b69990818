//! The descriptions of types and fields, packed; `apimachinery::schema::descriptions` tells their form.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::openapi::Definitions;

const PACKED: &str = "crates/apimachinery/data/descriptions.txt.gz";

/// Makes the descriptions of the table's types anew and compares them with those that are checked in. How they are
/// packed does not count.
pub(super) fn compare(root: &Path, definitions: &Definitions, table: &str) -> anyhow::Result<()> {
    let made = text(definitions, table)?;
    let checked_in = std::fs::File::open(root.join(PACKED)).ok().map(GzDecoder::new);
    let mut unpacked = String::new();
    if let Some(mut packed) = checked_in {
        packed.read_to_string(&mut unpacked).context(PACKED)?;
    }
    if made == unpacked {
        println!("{PACKED} is what the packages say");
        return Ok(());
    }
    let target = root.join("target/descriptions.txt.gz");
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(made.as_bytes())?;
    std::fs::write(&target, packed.finish()?)?;
    bail!("{PACKED} is not what the packages say; if they are right, replace it with {}", target.display());
}

/// The texts of all types of released APIs that the table has: what is alpha or beta is not served.
fn text(definitions: &Definitions, table: &str) -> anyhow::Result<String> {
    let types: BTreeSet<&str> = table.lines().filter_map(|line| line.strip_prefix("type ")).collect();
    let mut text = String::new();
    for (name, definition) in definitions {
        if !types.contains(&**name) || name.contains("alpha") || name.contains("beta") {
            continue;
        }
        writeln!(text, "type {name}\n\t{}", escape(&definition.description))?;
        for (field, property) in definition.properties.iter().filter(|(_, p)| !p.description.is_empty()) {
            writeln!(text, "{field}\t{}", escape(&property.description))?;
        }
    }
    Ok(text)
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}
