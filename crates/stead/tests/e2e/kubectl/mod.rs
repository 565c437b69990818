//! What the real kubectl prints, as transcripts: each script is run and compared with the text under `snapshots`, with
//! what is never the same (ages, uids, paths, revisions) made the same. Without a kubectl on the PATH they are
//! skipped, and say so. `INSTA_UPDATE=always` writes them anew; read the difference.

mod schema;
mod verbs;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Client, Home};

/// A conversation with kubectl in a namespace of its own.
struct Transcript {
    home: Home,
    folder: TempDir,
    text: String,
    env: Vec<(&'static str, String)>,
}

impl Transcript {
    /// `None` where there is no kubectl.
    fn begin(namespace: &str) -> Option<Self> {
        if !Client::all().contains(&Client::Kubectl) {
            println!("skipped: {namespace} is about kubectl itself");
            return None;
        }
        let home = Home::new(namespace);
        let folder = tempfile::tempdir().expect("a folder");
        let env = vec![("KUBECACHEDIR", folder.path().join("cache").display().to_string())];
        Some(Self { home, folder, text: String::new(), env })
    }

    /// Sets a variable for the lines that follow.
    fn set(&mut self, name: &'static str, value: &str) {
        self.env.push((name, value.to_owned()));
    }

    /// Writes a file that lines name as `DIR/<name>`.
    fn file(&self, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    /// Runs a line, in which `DIR` is the folder of the files.
    fn run(&mut self, line: &str) {
        self.feed(line, "");
    }

    /// Runs a line that reads `input`.
    fn feed(&mut self, line: &str, input: &str) {
        let words = line.replace("DIR", &self.folder.path().display().to_string());
        let mut program = Command::new("kubectl");
        program.args(["-n", self.home.namespace()]).args(words.split_whitespace());
        program.envs(self.env.iter().map(|(name, value)| (*name, value.as_str())));
        let output = self.home.feed(program, input);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.text += &format!("$ kubectl {line}\n{}{}", said[0], said[1]);
        match output.status.code() {
            Some(0) => {}
            code => self.text += &format!("(exit code {})\n", code.expect("an exit")),
        }
    }

    /// The whole transcript, comparable.
    fn end(self) -> String {
        comparable(&self.text, self.folder.path(), self.home.namespace())
    }
}

/// Makes the same what differs from run to run.
fn comparable(text: &str, folder: &Path, namespace: &str) -> String {
    let text = text.replace(&*folder.display().to_string(), "DIR").replace(namespace, "NAMESPACE");
    let mut out = String::new();
    for line in text.lines() {
        let line = line.trim_end();
        match line {
            // Names of temporary files, with times.
            _ if line.starts_with("diff -u") || line.starts_with("--- ") || line.starts_with("+++ ") => {
                out += line.split_whitespace().next().unwrap_or_default();
            }
            _ => out += &columns(&line.split_inclusive(' ').map(age).collect::<String>()),
        }
        out.push('\n');
    }
    out
}

/// The line with two spaces between columns, however wide they are; what it begins with stays.
fn columns(line: &str) -> String {
    let words = line.trim_start();
    let indent = &line[..line.len() - words.len()];
    let cells = words.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    format!("{indent}{}", cells.map(without_uid).collect::<Vec<String>>().join("  "))
}

/// A cell that ends with a uid ends with `UID`.
fn without_uid(cell: &str) -> String {
    const LENGTH: usize = 36;
    let Some(at) = cell.len().checked_sub(LENGTH).filter(|at| cell.is_char_boundary(*at)) else {
        return cell.to_owned();
    };
    let is_uid = cell[at..].char_indices().all(|(at, c)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    });
    if is_uid { format!("{}UID", &cell[..at]) } else { cell.to_owned() }
}

/// An age as `AGE`, with the space after it.
fn age(word: &str) -> String {
    let bare = word.trim_end();
    let is_age = bare.len() > 1
        && bare.ends_with(['s', 'm'])
        && bare.starts_with(|c: char| c.is_ascii_digit())
        && bare.chars().all(|c| c.is_ascii_digit() || matches!(c, 's' | 'm'));
    if is_age { word.replacen(bare, "AGE", 1) } else { word.to_owned() }
}
