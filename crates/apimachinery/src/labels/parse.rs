//! The query form of selectors: a lexer and a parser for
//! `requirement[,requirement]…`, where a requirement is `key`, `!key`, `key OP value` or `key in (a,b)`.

use super::{Error, Operator, Requirement};

#[derive(Clone, Copy, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, Error> {
    let mut parser = Parser { rest: text };
    let mut requirements = Vec::new();
    if parser.peek() == Token::End {
        return Ok(requirements);
    }
    loop {
        requirements.push(parser.requirement()?);
        match parser.next() {
            Token::End => return Ok(requirements),
            // A comma must be followed by something.
            Token::Symbol(",") if matches!(parser.peek(), Token::Word(_) | Token::Symbol("!")) => {}
            Token::Symbol(",") => return Err(unexpected(parser.peek(), "identifier after ','")),
            other => return Err(unexpected(other, "',' or 'end of string'")),
        }
    }
}

fn unexpected(found: Token<'_>, expected: &'static str) -> Error {
    Error::Unexpected { found: found.text().to_owned(), expected }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let special =
            |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>' | ' ' | '\t' | '\r' | '\n');
        if self.rest.is_empty() {
            return Token::End;
        }
        if let Some(symbol) = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"]
            .into_iter()
            .find(|symbol| self.rest.starts_with(symbol))
        {
            self.rest = &self.rest[symbol.len()..];
            return Token::Symbol(symbol);
        }
        let (word, rest) = self.rest.split_at(self.rest.find(special).unwrap_or(self.rest.len()));
        self.rest = rest;
        Token::Word(word)
    }

    fn peek(&self) -> Token<'a> {
        Parser { rest: self.rest }.next()
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        let absent = self.peek() == Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(unexpected(other, "identifier")),
        };
        if absent {
            return Requirement::new(key, Operator::DoesNotExist, []);
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(key, Operator::Exists, []);
        }
        let (operator, values) = match self.next() {
            Token::Symbol("=" | "==") => (Operator::In, vec![self.value()?]),
            Token::Symbol("!=") => (Operator::NotIn, vec![self.value()?]),
            Token::Symbol(">") => (Operator::GreaterThan, vec![self.value()?]),
            Token::Symbol("<") => (Operator::LessThan, vec![self.value()?]),
            Token::Word("in") => (Operator::In, self.set()?),
            Token::Word("notin") => (Operator::NotIn, self.set()?),
            other => return Err(unexpected(other, "in, notin, =, ==, !=, gt, lt")),
        };
        Requirement::new(key, operator, values.into_iter().map(str::to_owned))
    }

    /// A value after an operator; nothing there means the empty value.
    fn value(&mut self) -> Result<&'a str, Error> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(""),
            Token::Word(value) => {
                self.next();
                Ok(value)
            }
            other => Err(unexpected(other, "identifier")),
        }
    }

    /// `(a,b,c)`; an empty place is the empty value.
    fn set(&mut self) -> Result<Vec<&'a str>, Error> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(unexpected(other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(match self.peek() {
                Token::Word(value) => {
                    self.next();
                    value
                }
                Token::Symbol("," | ")") => "",
                other => return Err(unexpected(other, "',', ')' or identifier")),
            });
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return Err(unexpected(other, "',' or ')'")),
            }
        }
    }
}
