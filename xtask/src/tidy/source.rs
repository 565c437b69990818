//! A Rust file as a flat list of tokens with their lines: no comments, and texts are single tokens.

use std::collections::BTreeSet;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

use super::Finding;

/// One token; a group of brackets is its opening, its content and its closing.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
    last_line: usize,
    /// For an opening bracket, the index of the closing one.
    pub(crate) close: usize,
}

/// A file, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// From the top folder.
    pub(crate) path: String,
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    /// # Errors
    ///
    /// A finding when it is not Rust.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, Finding> {
        let stream = TokenStream::from_str(text).map_err(|error| {
            Finding::new(path, error.span().start().line, format!("this is not Rust: {error}"))
        })?;
        let mut source = Self { path: path.to_owned(), tokens: Vec::new() };
        let lines: Vec<&str> = text.lines().collect();
        source.flatten(stream, &lines);
        Ok(source)
    }

    fn flatten(&mut self, stream: TokenStream, lines: &[&str]) {
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            if is_doc_comment(&tree, lines) {
                // `#`, `!` perhaps, and `[doc = "…"]`.
                while trees.next_if(|tree| !matches!(tree, TokenTree::Group(_))).is_some() {}
                trees.next();
                continue;
            }
            match tree {
                TokenTree::Group(group) => self.group(&group, lines),
                TokenTree::Ident(ident) => self.push(word(&ident), ident.span()),
                TokenTree::Punct(punct) => self.push(punct.as_char().to_string(), punct.span()),
                TokenTree::Literal(literal) => self.push(literal.to_string(), literal.span()),
            }
        }
    }

    fn group(&mut self, group: &Group, lines: &[&str]) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => return self.flatten(group.stream(), lines),
        };
        let index = self.tokens.len();
        self.push(open.to_owned(), group.span_open());
        self.flatten(group.stream(), lines);
        self.tokens[index].close = self.tokens.len();
        self.push(close.to_owned(), group.span_close());
    }

    fn push(&mut self, text: String, span: Span) {
        let (line, last_line) = (span.start().line, span.end().line);
        self.tokens.push(Token { text, line, last_line, close: self.tokens.len() });
    }

    /// Where a sequence of tokens begins, everywhere: `["thread", ":", ":", "sleep"]`.
    pub(crate) fn find<'a>(&'a self, sequence: &'a [&str]) -> impl Iterator<Item = &'a Token> {
        let windows = self.tokens.windows(sequence.len());
        windows.filter(|window| matches(window, sequence)).map(|window| &window[0])
    }

    /// How many lines have code in these tokens. A text counts where it begins and ends: golden output is read,
    /// not maintained line by line.
    pub(crate) fn code_lines(tokens: &[Token]) -> usize {
        let lines: BTreeSet<usize> = tokens.iter().flat_map(|token| [token.line, token.last_line]).collect();
        lines.len()
    }

    /// The tokens that are not in a `#[cfg(test)]` module.
    pub(crate) fn without_tests(&self) -> Vec<Token> {
        const TESTS: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
        let mut kept = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let body = index + TESTS.len() + 1;
            if matches(&self.tokens[index..], &TESTS) && self.tokens.get(body).is_some_and(|t| t.text == "{")
            {
                index = self.tokens[body].close + 1;
                continue;
            }
            kept.push(self.tokens[index].clone());
            index += 1;
        }
        kept
    }

    /// Whether it is a test, or helps tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

fn matches(tokens: &[Token], sequence: &[&str]) -> bool {
    tokens.len() >= sequence.len() && tokens.iter().zip(sequence).all(|(token, text)| token.text == *text)
}

/// Doc comments arrive as attributes; their tokens bear the comment's place.
fn is_doc_comment(tree: &TokenTree, lines: &[&str]) -> bool {
    let TokenTree::Punct(punct) = tree else { return false };
    let start = punct.span().start();
    let rest = lines.get(start.line.wrapping_sub(1)).and_then(|line| line.get(byte(line, start.column)..));
    punct.as_char() == '#' && rest.is_some_and(|rest| rest.starts_with("//") || rest.starts_with("/*"))
}

fn byte(line: &str, column: usize) -> usize {
    line.char_indices().nth(column).map_or(line.len(), |(index, _)| index)
}

/// `r#type` is `type`.
fn word(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn texts(tokens: &[Token]) -> String {
        tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_no_tokens_and_attributes_are() {
        let source = parse(
            "a.rs",
            "//! todo!()\n/// é todo!()\n#[must_use]\nfn a() {} // todo!()\n/** b */ fn b() {}",
        );
        assert_eq!(texts(&source.tokens), "# [ must_use ] fn a ( ) { } fn b ( ) { }");
        assert_eq!(Source::code_lines(&source.tokens), 3);
    }

    #[test]
    fn a_long_text_counts_as_its_first_and_last_line() {
        let source = parse("a.rs", "const A: &str = \"\none\ntwo\nthree\n\";\n\n// done\n");
        assert_eq!(Source::code_lines(&source.tokens), 2);
    }

    #[test]
    fn modules_of_tests_are_told_from_the_rest() {
        let source = parse(
            "a.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(test)]\nfn c() {}\n",
        );
        assert_eq!(texts(&source.without_tests()), "fn a ( ) { } # [ cfg ( test ) ] fn c ( ) { }");
    }

    #[test]
    fn what_is_not_rust_is_a_finding() {
        let finding = Source::parse("a.rs", "fn a() {\n}}\n").unwrap_err();
        assert!(finding.to_string().starts_with("a.rs:2: this is not Rust"), "{finding}");
    }
}
