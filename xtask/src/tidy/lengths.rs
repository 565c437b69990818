//! Files aim at 200 lines of code and are split by idea before 500; functions stay under 70.

use super::Finding;
use super::source::{Source, Token};

const FILE_AIM: usize = 200;
const FILE_LIMIT: usize = 500;
const FUNCTION_LIMIT: usize = 70;

/// Files that are longer, with their lines of code. May only shrink.
const LONG_FILES: &[(&str, usize)] = &[];
/// Functions that are longer: file, name, lines of code. May only shrink.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Files and functions over their limits, and exceptions that are none any more.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    check_with(sources, LONG_FILES, LONG_FUNCTIONS)
}

fn check_with(
    sources: &[Source],
    long_files: &[(&str, usize)],
    long_functions: &[(&str, &str, usize)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let lines = file_lines(source);
        let allowed = long_files.iter().find(|(path, _)| *path == source.path).map(|(_, lines)| *lines);
        if let Some(what) = judge("the file", lines, FILE_LIMIT, allowed) {
            findings.push(Finding::new(&source.path, 0, what));
        }
        for function in functions(source) {
            let exception =
                |(path, name, _): &&(&str, &str, usize)| *path == source.path && *name == function.name;
            let allowed = long_functions.iter().find(exception).map(|(_, _, lines)| *lines);
            if let Some(what) = judge(&function.name, function.lines, FUNCTION_LIMIT, allowed) {
                findings.push(Finding::new(&source.path, function.line, what));
            }
        }
    }
    findings
}

/// What is wrong with a length, if anything is.
fn judge(name: &str, lines: usize, limit: usize, allowed: Option<usize>) -> Option<String> {
    match allowed {
        None if lines > limit => {
            Some(format!("{name} has {lines} lines of code, more than {limit}: split it by idea"))
        }
        Some(_) if lines <= limit => {
            Some(format!("{name} has {lines} lines of code: it needs no exception any more"))
        }
        Some(allowed) if lines != allowed => Some(format!(
            "{name} has {lines} lines of code, its exception says {allowed}: it may only shrink, and so does the exception"
        )),
        _ => None,
    }
}

/// How many files are longer than what is aimed at.
pub(crate) fn summary(sources: &[Source]) -> String {
    let longer = sources.iter().filter(|source| file_lines(source) > FILE_AIM).count();
    format!("{} Rust files, {longer} of them with more than {FILE_AIM} lines of code", sources.len())
}

/// Tests in the file are not counted: they may not keep a file from having them.
fn file_lines(source: &Source) -> usize {
    Source::code_lines(&source.without_tests())
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// All functions with a body, also those inside others.
fn functions(source: &Source) -> Vec<Function> {
    let tokens = &source.tokens;
    let starts =
        (0..tokens.len().saturating_sub(1)).filter(|&i| tokens[i].text == "fn" && is_word(&tokens[i + 1]));
    let function = |start: usize| {
        let end = body_end(tokens, start)?;
        Some(Function {
            name: tokens[start + 1].text.clone(),
            line: tokens[start].line,
            lines: Source::code_lines(&tokens[start..=end]),
        })
    };
    starts.filter_map(function).collect()
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The closing bracket of the function that begins here; `None` when it is only declared.
fn body_end(tokens: &[Token], start: usize) -> Option<usize> {
    let mut index = start;
    while let Some(token) = tokens.get(index) {
        match token.text.as_str() {
            "{" => return Some(token.close),
            ";" => return None,
            // Past the arguments, and array types in the result.
            "(" | "[" => index = token.close,
            _ => {}
        }
        index += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{parse, shown};
    use super::*;

    fn long(lines: usize) -> Source {
        let body = "    a();\n".repeat(lines - 2);
        parse("a.rs", &format!("fn long(a: [u8; 2]) -> [u8; 2] {{\n{body}}}\n"))
    }

    #[test]
    fn a_function_may_have_70_lines_and_no_more() {
        assert_eq!(shown(&check(&[long(70)])), [""; 0]);
        assert_eq!(
            shown(&check(&[long(71)])),
            ["a.rs:1: long has 71 lines of code, more than 70: split it by idea"]
        );
    }

    #[test]
    fn a_file_may_have_500_lines_of_code_and_any_number_of_comments_and_tests() {
        let text = format!(
            "{}{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "const A: u8 = 1;\n".repeat(500),
            "// why\n".repeat(500),
            "const B: u8 = 1;\n".repeat(500)
        );
        assert_eq!(shown(&check(&[parse("a.rs", &text)])), [""; 0]);
        let one_more = parse("a.rs", &format!("{text}const C: u8 = 1;\n"));
        assert_eq!(
            shown(&check(&[one_more])),
            ["a.rs: the file has 501 lines of code, more than 500: split it by idea"]
        );
    }

    #[test]
    fn an_exception_may_only_shrink_until_it_goes() {
        let with = |lines, allowed| shown(&check_with(&[long(lines)], &[], &[("a.rs", "long", allowed)]));
        assert_eq!(with(80, 80), [""; 0]);
        for lines in [79, 81] {
            let expected = format!(
                "a.rs:1: long has {lines} lines of code, its exception says 80: it may only shrink, and so does the exception"
            );
            assert_eq!(with(lines, 80), [expected]);
        }
        assert_eq!(with(70, 80), ["a.rs:1: long has 70 lines of code: it needs no exception any more"]);
    }

    #[test]
    fn declarations_and_types_of_functions_are_no_functions() {
        let source = parse("a.rs", "trait A { fn a(&self); fn b() {} }\ntype C = fn(u8) -> u8;\n");
        let names: Vec<_> = functions(&source).into_iter().map(|function| function.name).collect();
        assert_eq!(names, ["b"]);
    }
}
