//! In which form a client wants its answer (`Accept:`).

use http::HeaderMap;
use http::header::ACCEPT;

/// How much of an object a table's row carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    /// Nothing but the cells.
    None,
    /// A `PartialObjectMetadata`; the default.
    Metadata,
    /// The whole object.
    Object,
}

/// The shape of an answer about objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object itself.
    Object,
    /// `meta.k8s.io/v1.Table`.
    Table(IncludeObject),
    /// `meta.k8s.io/v1.PartialObjectMetadata` or its list.
    Partial,
}

/// The first form in the `Accept` header that we speak; the object itself when there is none, protobuf
/// included: clients that prefer protobuf take JSON as well.
pub(crate) fn form(headers: &HeaderMap, include_object: Option<&str>) -> Form {
    let include = match include_object {
        Some("None") => IncludeObject::None,
        Some("Object") => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    };
    for range in ranges(headers) {
        let meta_v1 = range.parameter("g") == Some("meta.k8s.io") && range.parameter("v") == Some("v1");
        match (range.media_type, range.parameter("as")) {
            ("application/json", Some("Table")) if meta_v1 => return Form::Table(include),
            ("application/json", Some("PartialObjectMetadata" | "PartialObjectMetadataList")) if meta_v1 => {
                return Form::Partial;
            }
            ("application/json" | "application/*" | "*/*", None) => return Form::Object,
            _ => {}
        }
    }
    Form::Object
}

/// The version of aggregated discovery that the client asks for, if any.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<&str> {
    let mut ranges = ranges(headers);
    ranges.find_map(|range| {
        let wanted = range.parameter("g") == Some("apidiscovery.k8s.io")
            && range.parameter("as") == Some("APIGroupDiscoveryList");
        range.parameter("v").filter(|v| wanted && matches!(*v, "v2" | "v2beta1"))
    })
}

struct Range<'a> {
    media_type: &'a str,
    parameters: &'a str,
}

impl<'a> Range<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|p| {
            let (key, value) = p.split_once('=')?;
            (key.trim() == name).then(|| value.trim())
        })
    }
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range<'_>> {
    let values = headers.get_all(ACCEPT).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|range| {
        let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
        Range { media_type: media_type.trim(), parameters }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header value"));
        headers
    }

    #[test]
    fn the_first_form_that_we_speak_wins() {
        let check = |accept: &str, expect: Form| assert_eq!(form(&headers(accept), None), expect, "{accept}");
        check("application/json", Form::Object);
        check("*/*", Form::Object);
        check("application/vnd.kubernetes.protobuf", Form::Object);
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Form::Table(IncludeObject::Metadata),
        );
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Form::Object);
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Form::Partial,
        );
        assert_eq!(form(&HeaderMap::new(), None), Form::Object);
    }

    #[test]
    fn discovery_is_aggregated_only_for_who_asks() {
        let kubectl = headers(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
        );
        assert_eq!(aggregated_discovery(&kubectl), Some("v2"));
        assert_eq!(aggregated_discovery(&headers("application/json")), None);
    }
}
