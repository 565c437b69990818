//! The way down to a value, kept on the stack: a path is text only where there is something to say about it.

use crate::field::Path;

#[derive(Clone, Copy)]
pub(super) struct Trail<'a> {
    /// `None`: the top of the object.
    last: Option<(&'a Trail<'a>, Step<'a>)>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Trail<'a> {
    pub(super) fn top() -> Self {
        Self { last: None }
    }

    pub(super) fn field(&'a self, name: &'a str) -> Self {
        Self { last: Some((self, Step::Field(name))) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { last: Some((self, Step::Index(index))) }
    }

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Self { last: Some((self, Step::Key(key))) }
    }

    pub(super) fn path(&self) -> Path {
        match self.last {
            None => Path::root(),
            Some((above, Step::Field(name))) => above.path().child(name),
            Some((above, Step::Index(index))) => above.path().index(index),
            Some((above, Step::Key(key))) => above.path().key(key),
        }
    }
}
