//! The parameters after a path's question mark.

use apimachinery::status::Status;
use percent_encoding::percent_decode_str;

/// Decoded parameters, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of `key`; empty values count as absent, as upstream's conversion has it.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// All values of `key`, empty ones too.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A flag: `true` and `1` are true, absent is false (upstream: `Convert_Slice_string_To_bool`: anything
    /// but `false` and `0` is true).
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    /// A whole number, or a refusal that names the parameter.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Status> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let number = text.parse().map_err(|_| {
            Status::bad_request(format!("{key}: Invalid value: {text:?}: must be a whole number"))
        })?;
        Ok(Some(number))
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_repeated_ones_kept() {
        let query = Query::parse("command=sh&command=-c&command=echo+a%26b&follow=true&tailLines=&limit=x");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c", "echo a&b"]);
        assert!(query.flag("follow"));
        assert!(!query.flag("previous"));
        assert_eq!(query.number::<u64>("tailLines"), Ok(None));
        let refusal = query.number::<u64>("limit").expect_err("x is no number");
        assert_eq!(refusal.message, "limit: Invalid value: \"x\": must be a whole number");
    }
}
