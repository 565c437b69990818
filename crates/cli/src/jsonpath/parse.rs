//! Templates into steps.

use serde_json::{Number, Value};

use super::{Error, Operator, Part, Step};

/// What ends a field's name.
const TERMINATORS: [char; 12] = [' ', '\t', '\r', '\n', '.', ',', '[', ']', '$', '@', '{', '}'];

/// Reads a whole template.
pub(super) fn template(text: &str) -> Result<Vec<Part>, Error> {
    let mut rest = text;
    let mut top = Vec::new();
    // The ranges that are open, each with what came before it.
    let mut ranges: Vec<(Vec<Step>, Vec<Part>)> = Vec::new();
    while !rest.is_empty() {
        let Some(brace) = rest.find('{') else {
            top.push(Part::Text(rest.to_owned()));
            break;
        };
        if brace > 0 {
            top.push(Part::Text(rest[..brace].to_owned()));
        }
        let mut scanner = Scanner { rest: &rest[brace + 1..] };
        match scanner.action()? {
            Action::Steps(steps) => top.push(Part::Action(steps)),
            Action::Range(steps) => ranges.push((steps, std::mem::take(&mut top))),
            Action::End => {
                let (steps, before) =
                    ranges.pop().ok_or_else(|| Error::new("not in range, nothing to end"))?;
                let inside = std::mem::replace(&mut top, before);
                top.push(Part::Range(steps, inside));
            }
        }
        rest = scanner.rest;
    }
    if ranges.is_empty() { Ok(top) } else { Err(Error::new("range without an {end}")) }
}

enum Action {
    Steps(Vec<Step>),
    Range(Vec<Step>),
    End,
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Reads up to and over the closing brace.
    fn action(&mut self) -> Result<Action, Error> {
        let mut steps = Vec::new();
        let mut keyword = None;
        loop {
            if self.take("}") {
                return Ok(match keyword {
                    None => Action::Steps(steps),
                    Some("range") => Action::Range(steps),
                    Some(_) => Action::End,
                });
            }
            if let Some(word) = self.word() {
                match word {
                    "true" => steps.push(Step::Literal(Value::Bool(true))),
                    "false" => steps.push(Step::Literal(Value::Bool(false))),
                    "range" | "end" if keyword.is_none() && steps.is_empty() => keyword = Some(word),
                    other => {
                        return Err(Error::new(format!(
                            "unrecognized identifier {other}: a field starts with a dot"
                        )));
                    }
                }
                continue;
            }
            self.step(&mut steps)?;
        }
    }

    /// Reads an expression to its end: one side of a filter, one part of a union.
    fn expression(text: &'a str) -> Result<Vec<Step>, Error> {
        let mut scanner = Self { rest: text };
        let mut steps = Vec::new();
        while !scanner.rest.is_empty() {
            match scanner.word() {
                Some("true") => steps.push(Step::Literal(Value::Bool(true))),
                Some("false") => steps.push(Step::Literal(Value::Bool(false))),
                Some(other) => {
                    return Err(Error::new(format!("unrecognized identifier {other}: a text needs quotes")));
                }
                None => scanner.step(&mut steps)?,
            }
        }
        Ok(steps)
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A bare word: `range`, `end`, `true`.
    fn word(&mut self) -> Option<&'a str> {
        if !self.rest.starts_with(|c: char| c == '_' || c.is_alphabetic()) {
            return None;
        }
        let end = self.rest.find(TERMINATORS).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }

    fn step(&mut self, steps: &mut Vec<Step>) -> Result<(), Error> {
        if self.take("[?(") {
            return self.filter(steps);
        }
        if self.take("..") {
            if steps.last() == Some(&Step::Recursive) {
                return Err(Error::new("invalid multiple recursive descent"));
            }
            steps.push(Step::Recursive);
            if self.rest.starts_with(|c: char| c == '_' || c.is_alphanumeric()) {
                self.field(steps);
            }
            return Ok(());
        }
        let first = self.rest.chars().next();
        match first {
            None | Some('\r' | '\n') => return Err(Error::new("unclosed action: a } is missing")),
            // `@` and `$` are the current object, where every path starts anyway.
            Some(' ' | '@' | '$') => self.rest = &self.rest[1..],
            Some('[') => return self.brackets(steps),
            Some(quote @ ('"' | '\'')) => steps.push(Step::Text(self.quoted(quote)?)),
            Some('.') => {
                self.rest = &self.rest[1..];
                self.field(steps);
            }
            Some(c) if c == '+' || c == '-' || c.is_ascii_digit() => {
                steps.push(Step::Literal(self.number()?));
            }
            Some(c) => return Err(Error::new(format!("unrecognized character in action: {c:?}"))),
        }
        Ok(())
    }

    /// A field's name up to a terminator; a backslash takes the next character as it is. `{.}` names none.
    fn field(&mut self, steps: &mut Vec<Step>) {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                name.extend(chars.next().map(|(_, escaped)| escaped));
            } else if TERMINATORS.contains(&c) {
                end = at;
                break;
            } else {
                name.push(c);
            }
        }
        self.rest = &self.rest[end..];
        match name.as_str() {
            "" => {}
            "*" => steps.push(Step::Wildcard),
            _ => steps.push(Step::Field(name)),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Error> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(Error::new("unterminated quoted string"))
    }

    fn number(&mut self) -> Result<Value, Error> {
        let signed = usize::from(self.rest.starts_with(['+', '-']));
        let digits =
            self.rest[signed..].find(|c: char| c != '.' && !c.is_ascii_digit()).map(|at| at + signed);
        let (text, rest) = self.rest.split_at(digits.unwrap_or(self.rest.len()));
        self.rest = rest;
        let bare = text.strip_prefix('+').unwrap_or(text);
        let integer = bare.parse::<i64>().ok().map(Number::from);
        let number = integer.or_else(|| Number::from_f64(bare.parse().ok()?));
        number.map(Value::Number).ok_or_else(|| Error::new(format!("cannot parse number {text}")))
    }

    /// `[0]`, `[1:3]`, `[*]`, `['key']`, `[0,2]`.
    fn brackets(&mut self, steps: &mut Vec<Step>) -> Result<(), Error> {
        let unterminated = || Error::new("unterminated array: a ] is missing");
        let end = self.rest.find([']', '\n']).filter(|at| self.rest[*at..].starts_with(']'));
        let end = end.ok_or_else(unterminated)?;
        let inside = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
        if parts.len() == 1 {
            return bracket(inside, steps);
        }
        let mut union = Vec::new();
        for part in parts {
            let mut branch = Vec::new();
            bracket(part, &mut branch)?;
            union.push(branch);
        }
        steps.push(Step::Union(union));
        Ok(())
    }

    fn filter(&mut self, steps: &mut Vec<Step>) -> Result<(), Error> {
        let unterminated = || Error::new("unterminated filter: )] is missing");
        let mut quote = None;
        let mut escaped = false;
        let mut end = None;
        for (at, c) in self.rest.char_indices() {
            match (quote, c) {
                _ if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, ')') => {
                    end = Some(at);
                    break;
                }
                (None, _) => {}
            }
        }
        let end = end.ok_or_else(unterminated)?;
        let inside = &self.rest[..end];
        self.rest = self.rest[end + 1..].strip_prefix(']').ok_or_else(unterminated)?;
        let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=' | '~');
        let Some(at) = inside.find(['!', '<', '>', '=']).filter(|at| *at > 0) else {
            steps.push(Step::Filter { left: Self::expression(inside)?, comparison: None });
            return Ok(());
        };
        let (left, rest) = inside.split_at(at);
        let right_at = rest.find(|c| !is_operator(c)).unwrap_or(rest.len());
        let (operator, right) = rest.split_at(right_at);
        let operator = match operator {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            other => return Err(Error::new(format!("unrecognized filter operator {other}"))),
        };
        let left = Self::expression(left)?;
        steps.push(Step::Filter { left, comparison: Some((operator, Self::expression(right)?)) });
        Ok(())
    }
}

/// What stands inside brackets, unions taken apart.
fn bracket(text: &str, steps: &mut Vec<Step>) -> Result<(), Error> {
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(key) = quoted('\'').or_else(|| quoted('"')) {
        // The key is read like a path: dots part it, unless a backslash stands before them.
        let mut scanner = Scanner { rest: key };
        scanner.field(steps);
        while scanner.take(".") {
            scanner.field(steps);
        }
        return Ok(());
    }
    let invalid = || Error::new(format!("invalid array index {text}"));
    let number = |part: &str| match part {
        "" => Ok(None),
        digits => digits.parse::<i64>().map(Some).map_err(|_| invalid()),
    };
    let parts: Vec<&str> = text.split(':').collect();
    steps.push(match parts.as_slice() {
        ["*"] => Step::Slice { start: None, end: None, step: None },
        [index] => Step::Index(number(index)?.ok_or_else(invalid)?),
        [start, end] => Step::Slice { start: number(start)?, end: number(end)?, step: None },
        [start, end, step] => Step::Slice { start: number(start)?, end: number(end)?, step: number(step)? },
        _ => return Err(invalid()),
    });
    Ok(())
}
