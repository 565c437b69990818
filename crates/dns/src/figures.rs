//! What the server counts: queries, by who answers, and answers by their code.

use hickory_proto::op::ResponseCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    /// `zone`: the cluster's names; `forward`: the host's resolvers; `none`: nobody, it is no query.
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    rcode: String,
}

/// What one server has been asked, and has answered. There are as many labels as response codes.
pub struct Figures {
    registry: Registry,
    queries: Family<By, Counter>,
    answers: Family<Code, Counter>,
}

impl Default for Figures {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (queries, answers) = (Family::<By, Counter>::default(), Family::<Code, Counter>::default());
        registry.register("dns_requests", "Queries, by who answers them", queries.clone());
        registry.register("dns_responses", "Answers, by their code", answers.clone());
        Self { registry, queries, answers }
    }
}

impl Figures {
    pub(crate) fn asked(&self, by: &'static str) {
        self.queries.get_or_create(&By { by }).inc();
    }

    /// The code is in the lower half of a message's fourth byte (RFC 1035, section 4.1.1).
    pub(crate) fn answered(&self, message: &[u8]) {
        let low = message.get(3).map_or(0, |flags| flags & 0x0f);
        let rcode = format!("{:?}", ResponseCode::from(0, low)).to_uppercase();
        self.answers.get_or_create(&Code { rcode }).inc();
    }

    /// Everything, in OpenMetrics text without the end mark.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_answers_are_counted_apart() {
        let figures = Figures::default();
        figures.asked("zone");
        figures.answered(&[0, 0, 0x81, 0x83]);
        figures.answered(&[0, 0, 0x81, 0x80]);
        let text = figures.text();
        for line in [
            "dns_requests_total{by=\"zone\"} 1",
            "dns_responses_total{rcode=\"NXDOMAIN\"} 1",
            "dns_responses_total{rcode=\"NOERROR\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{text}");
        }
    }
}
