//! What an explanation is made of, and how it reads.

use std::fmt;

use serde::Serialize;

/// How what a line tells of is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Not as it should be, or not yet.
    #[default]
    Lacking,
    /// As it should be.
    Well,
    /// Explained further up.
    Told,
}

/// One line of an explanation and what lies behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// One plain sentence.
    pub text: String,
    /// What a program said, word for word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The causes of this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Cause>,
    #[serde(skip)]
    standing: Standing,
}

impl Cause {
    /// Something that is not as it should be.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Something that is as it should be.
    pub(super) fn well(text: impl Into<String>) -> Self {
        Self { standing: Standing::Well, ..Self::new(text) }
    }

    /// Something that was explained further up.
    pub(super) fn told(text: impl Into<String>) -> Self {
        Self { standing: Standing::Told, ..Self::new(text) }
    }

    /// With what to do about it.
    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// With what lies behind it.
    pub(super) fn because(mut self, causes: impl IntoIterator<Item = Cause>) -> Self {
        self.because.extend(causes);
        self
    }

    /// With what a program said; empty lines are left out.
    pub(super) fn words(mut self, words: &str) -> Self {
        self.words
            .extend(words.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned));
        self
    }

    /// Whether this is as it should be, and all behind it.
    pub(super) fn is_well(&self) -> bool {
        self.standing == Standing::Well && self.because.iter().all(Cause::is_well)
    }

    /// Whether this ends, everywhere, in what was explained before.
    fn is_told(&self) -> bool {
        match self.because.as_slice() {
            [] => self.standing == Standing::Told,
            because => self.fix.is_none() && because.iter().all(|cause| cause.is_told() || cause.is_well()),
        }
    }
}

/// Everything there is to say about one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// What keeps the object from its goal; one line that says so when nothing does.
    pub causes: Vec<Cause>,
}

impl Chain {
    /// Whether nothing keeps the object from its goal.
    pub(super) fn is_well(&self) -> bool {
        self.causes.iter().all(Cause::is_well)
    }

    /// Whether all of it was explained with another object.
    pub(super) fn is_told(&self) -> bool {
        self.causes.iter().all(|cause| cause.is_told() || cause.is_well())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.causes.iter().try_for_each(|cause| render(cause, 0, f))
    }
}

/// A line, what was said, what lies behind it, and last what to do: where the eye ends up.
fn render(cause: &Cause, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let indent = " ".repeat(depth.saturating_sub(1) * 2);
    let bullet = if depth == 0 { "" } else { "└ " };
    writeln!(f, "{indent}{bullet}{}", cause.text)?;
    let below = " ".repeat(depth * 2);
    for line in &cause.words {
        writeln!(f, "{below}  {line}")?;
    }
    cause.because.iter().try_for_each(|cause| render(cause, depth + 1, f))?;
    cause.fix.iter().try_for_each(|fix| writeln!(f, "{below}→ {fix}"))
}
