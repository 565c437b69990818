//! The lowest floors hold no tokio, files, sockets, clocks or randomness.

use super::Finding;
use super::source::{Source, Token};

/// What a path may not begin with. Addresses (`std::net::IpAddr`) are only data.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "rand",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::time::SystemTime",
    "std::time::Instant",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime::now",
    "Instant::now",
];

/// Crates that a pure crate does not depend on.
pub(crate) const FORBIDDEN_CRATES: &[&str] = &[
    "hyper",
    "hyper-util",
    "kube",
    "libc",
    "nix",
    "rand",
    "redb",
    "rustix",
    "tempfile",
    "tokio",
    "tokio-util",
    "uuid",
];

/// Every use of a forbidden path.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, line) in paths(&source.tokens) {
        let path = path.join("::");
        let hit = FORBIDDEN.iter().find(|forbidden| {
            path.strip_prefix(**forbidden).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        if let Some(hit) = hit {
            let what = format!("{hit} in a pure crate: files, sockets, clocks and chance come as arguments");
            findings.push(Finding::new(&source.path, line, what));
        }
    }
    findings
}

/// All paths: those of `use` written out in full, and those in code as they are.
fn paths(tokens: &[Token]) -> Vec<(Vec<String>, usize)> {
    let mut paths = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        index = if tokens[index].text == "use" {
            use_tree(tokens, index + 1, &[], &mut paths)
        } else {
            code_path(tokens, index, &mut paths)
        };
    }
    paths
}

fn is_separator(tokens: &[Token], index: usize) -> bool {
    tokens.get(index..index + 2).is_some_and(|pair| pair.iter().all(|token| token.text == ":"))
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Reads the path that begins at a token, and returns where it ends.
fn code_path(tokens: &[Token], start: usize, paths: &mut Vec<(Vec<String>, usize)>) -> usize {
    let mut index = start;
    let mut path = Vec::new();
    while let Some(token) = tokens.get(index).filter(|token| is_word(token)) {
        path.push(token.text.clone());
        index += 1;
        if !is_separator(tokens, index) {
            break;
        }
        index += 2;
    }
    if path.len() > 1 {
        paths.push((path, tokens[start].line));
    }
    index.max(start + 1)
}

/// Reads one tree of a `use` (`a::{b, c::d}`), and returns where it ends.
fn use_tree(
    tokens: &[Token],
    start: usize,
    prefix: &[String],
    paths: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let mut path = prefix.to_vec();
    let mut index = start;
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            ":" => index += 1,
            "{" => {
                let end = token.close;
                index += 1;
                while index < end {
                    index = use_tree(tokens, index, &path, paths);
                    index += usize::from(index < end && tokens[index].text == ",");
                }
                return end + 1;
            }
            "as" => index += 2,
            _ if is_word(token) => {
                path.push(token.text.clone());
                index += 1;
            }
            // The end of the tree, or `*`.
            _ => break,
        }
    }
    if let Some(token) = tokens.get(start) {
        paths.push((path, token.line));
    }
    // Something that belongs to no path would be read for ever.
    let stopped_at = tokens.get(index).map(|token| token.text.as_str());
    if matches!(stopped_at, Some("*")) || (index == start && stopped_at != Some(",")) {
        index + 1
    } else {
        index
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, shown};
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let words = |finding: String| finding.split(" in a pure crate").next().unwrap_or_default().to_owned();
        shown(&check(&parse("a.rs", text))).into_iter().map(words).collect()
    }

    #[test]
    fn uses_are_followed_into_their_branches() {
        assert_eq!(found("use std::{collections::BTreeMap, fs};"), ["a.rs:1: std::fs"]);
        assert_eq!(
            found("use std::{fmt::{self, Write as _},\nnet::{IpAddr, TcpStream as S}};"),
            ["a.rs:2: std::net::TcpStream"]
        );
        assert_eq!(found("use std::collections::*;\nuse tokio as t;"), ["a.rs:2: tokio"]);
    }

    #[test]
    fn paths_in_code_are_seen() {
        assert_eq!(found("fn a() { std::fs::read(b); }"), ["a.rs:1: std::fs"]);
        assert_eq!(found("fn a() -> u8 { 1 }\nconst B: fn() = Instant::now;"), ["a.rs:2: Instant::now"]);
    }

    #[test]
    fn data_and_namesakes_are_fine() {
        let text = "use std::net::{IpAddr, Ipv4Addr};\nuse crate::rand::safe_encode;\nuse std::time::Duration;\n\
                    /// std::fs::read\nfn fs(a: IpAddr) { env!(\"A\"); fs::read(a); now(\"tokio::spawn\"); }";
        assert_eq!(found(text), [""; 0]);
    }
}
