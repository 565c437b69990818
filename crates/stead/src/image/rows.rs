//! Images as text.

use std::fmt::Write;

use images::Image;
use serde_json::{Value, json};

/// Bytes that are called a megabyte, as docker and ctr count.
const MEGABYTE: f64 = 1e6;

/// How to show images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// All of it, for programs
    Json,
    /// Names alone
    Name,
}

/// The images as text, with a line break at the end of each line.
pub(super) fn show(images: &[Image], format: Option<Format>) -> String {
    match format {
        None => table(images),
        Some(Format::Name) => {
            images.iter().flat_map(|image| &image.names).fold(String::new(), |out, name| out + name + "\n")
        }
        Some(Format::Json) => {
            let all: Vec<Value> = images.iter().map(value).collect();
            format!("{:#}\n", Value::from(all))
        }
    }
}

/// The first twelve digits of an id.
pub(super) fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

fn value(image: &Image) -> Value {
    json!({
        "id": image.id, "digest": image.digest, "names": image.names, "size": image.size,
        "imported": image.imported,
    })
}

fn table(images: &[Image]) -> String {
    let named = images.iter().flat_map(|image| image.names.iter().map(move |name| (name.as_str(), image)));
    let rows: Vec<[String; 3]> = named
        .map(|(name, image)| {
            let size = format!("{:.1} MB", image.size as f64 / MEGABYTE);
            [name.to_owned(), short(&image.id).to_owned(), size]
        })
        .collect();
    let head = ["NAME", "ID", "SIZE"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].len()).max().unwrap_or(0);
    let (name_width, id_width) = (width(0), width(1));
    let mut out = String::new();
    for [name, id, size] in [&head].into_iter().chain(&rows) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:<name_width$}   {id:<id_width$}   {size}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(names: &[&str], id: &str, size: u64) -> Image {
        Image {
            id: format!("sha256:{}", id.repeat(32)),
            digest: format!("sha256:{}", "d".repeat(64)),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            imported: true,
            config: images::ImageConfig::default(),
            layers: Vec::new(),
            size,
        }
    }

    #[test]
    fn every_name_has_a_row_and_columns_are_as_wide_as_they_must_be() {
        let long = "registry.example.com:5000/a/very/long/path/of/a/project/that/has/many/parts/postgres:14";
        let images = [image(&["busybox:1", long], "ab", 2_345_678), image(&["etcd:3"], "cd", 61_000_000)];
        let shown = show(&images, None);
        let columns: Vec<Vec<usize>> = shown
            .lines()
            .map(|line| {
                ["ID", "abab", "cdcd", "SIZE", "2.3", "61.0"].iter().filter_map(|w| line.find(w)).collect()
            })
            .collect();
        assert_eq!(columns.len(), 4);
        assert!(columns.iter().all(|c| *c == columns[0] && c.len() == 2), "{shown}");
        assert!(shown.lines().all(|line| line.trim_end() == line), "{shown}");
    }

    #[test]
    fn names_and_json_are_for_programs() {
        let images = [image(&["busybox:1", "busybox:2"], "ab", 7)];
        assert_eq!(show(&images, Some(Format::Name)), "busybox:1\nbusybox:2\n");
        let parsed: Value = serde_json::from_str(&show(&images, Some(Format::Json))).unwrap();
        assert_eq!(parsed[0]["names"][1], "busybox:2");
        assert_eq!(parsed[0]["size"], 7);
        assert_eq!(show(&[], Some(Format::Json)), "[]\n");
        assert_eq!(show(&[], None), "NAME   ID   SIZE\n");
    }
}
