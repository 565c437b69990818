//! In which form a client wants its answer: `Accept:`
//! (RFC 9110 section 12.5.1; upstream: apiserver/pkg/endpoints/handlers/negotiation).

use apimachinery::field::{FieldError, Path};
use apimachinery::status::Status;
use http::HeaderMap;
use http::header::ACCEPT;

/// The media types of answers that are no streams, in the order in which we like them.
const MEDIA_TYPES: [&str; 3] = ["application/json", "application/yaml", PROTOBUF];
/// Who asks for protobuf gets JSON, which they can read as well: the answer says what it is.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const META_GROUP: &str = "meta.k8s.io";

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

/// The version of `meta.k8s.io` that a table or a partial object is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    /// `meta.k8s.io/v1`.
    V1,
    /// `meta.k8s.io/v1beta1`: kubectl before 1.16.
    V1Beta1,
}

impl MetaVersion {
    /// The `apiVersion`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// The shape of an answer about objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object itself.
    Object,
    /// A `Table`.
    Table(MetaVersion, IncludeObject),
    /// A `PartialObjectMetadata` or its list.
    Partial(MetaVersion),
}

/// What an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// One object.
    One,
    /// A list of objects.
    List,
    /// Events, each with one object.
    Watch,
}

/// The first form in the `Accept` header that we speak, best liked first; the object itself when there is no
/// such header. 406 when there is no form in it that we speak, 400 for a table of no known kind.
pub(crate) fn form(headers: &HeaderMap, include: Option<&str>, shown: Shown) -> Result<Form, Status> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Ok(Form::Object);
    }
    let Some(form) = ranges.iter().find_map(|range| range.form(shown)) else {
        return Err(Status::not_acceptable(format!(
            "only the following media types are accepted: {}",
            accepted(shown).join(", ")
        )));
    };
    match (form, shown) {
        (Asked::Object, _) => Ok(Form::Object),
        (Asked::Table(version), _) => Ok(Form::Table(version, include_object(include)?)),
        (Asked::Partial(_), Shown::List) => Err(Status::not_acceptable(
            "you requested PartialObjectMetadata, but the requested object is a list",
        )),
        (Asked::PartialList(_), Shown::One | Shown::Watch) => Err(Status::not_acceptable(
            "you requested PartialObjectMetadataList, but the requested object is not a list",
        )),
        (Asked::Partial(version) | Asked::PartialList(version), _) => Ok(Form::Partial(version)),
    }
}

/// Whether the client likes YAML best. What is no object has no YAML.
pub(crate) fn prefers_yaml(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers);
    let first = ranges.iter().find_map(|range| MEDIA_TYPES.into_iter().find(|known| range.covers(known)));
    first == Some("application/yaml")
}

/// The version of aggregated discovery that the client asks for, if any.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<&str> {
    ranges(headers).into_iter().find_map(|range| {
        let wanted = range.parameter("g") == Some("apidiscovery.k8s.io")
            && range.parameter("as") == Some("APIGroupDiscoveryList");
        range.parameter("v").filter(|v| wanted && matches!(*v, "v2" | "v2beta1"))
    })
}

fn include_object(asked: Option<&str>) -> Result<IncludeObject, Status> {
    match asked {
        None | Some("Metadata") => Ok(IncludeObject::Metadata),
        Some("None") => Ok(IncludeObject::None),
        Some("Object") => Ok(IncludeObject::Object),
        Some(other) => {
            let why = "must be 'Metadata', 'Object', 'None', or empty";
            let error = FieldError::invalid(&Path::new("includeObject"), other, why);
            Err(Status::bad_request(format!("Unable to convert to Table as requested: {error}")))
        }
    }
}

fn accepted(shown: Shown) -> Vec<String> {
    match shown {
        Shown::One | Shown::List => MEDIA_TYPES.map(str::to_owned).into(),
        Shown::Watch => {
            [MEDIA_TYPES[0], PROTOBUF].map(|media_type| format!("{media_type};stream=watch")).into()
        }
    }
}

/// A form as it stands in the header.
#[derive(Clone, Copy)]
enum Asked {
    Object,
    Table(MetaVersion),
    Partial(MetaVersion),
    PartialList(MetaVersion),
}

/// One of the things that a client accepts.
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

    fn covers(&self, media_type: &str) -> bool {
        matches!(self.media_type, "*/*" | "application/*") || self.media_type == media_type
    }

    /// How much the client likes it, from 0 to 1; 1 when it does not say.
    fn quality(&self) -> f32 {
        self.parameter("q").and_then(|q| q.parse().ok()).unwrap_or(1.0)
    }

    fn form(&self, shown: Shown) -> Option<Asked> {
        let speaks = |media_type: &str| shown != Shown::Watch || media_type != "application/yaml";
        MEDIA_TYPES.into_iter().find(|media_type| speaks(media_type) && self.covers(media_type))?;
        if self.parameter("stream").is_some_and(|stream| !stream.is_empty() && stream != "watch") {
            return None;
        }
        let [kind, group, version] = ["as", "g", "v"].map(|name| self.parameter(name));
        if (kind, group, version) == (None, None, None) {
            return Some(Asked::Object);
        }
        let version = match (group, version) {
            (Some(META_GROUP), Some("v1")) => MetaVersion::V1,
            (Some(META_GROUP), Some("v1beta1")) => MetaVersion::V1Beta1,
            _ => return None,
        };
        match kind {
            Some("Table") => Some(Asked::Table(version)),
            Some("PartialObjectMetadata") => Some(Asked::Partial(version)),
            Some("PartialObjectMetadataList") => Some(Asked::PartialList(version)),
            _ => None,
        }
    }
}

/// What the client accepts, best liked first.
fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let values = headers.get_all(ACCEPT).into_iter().filter_map(|v| v.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).filter(|range| !range.trim().is_empty());
    let mut ranges: Vec<Range<'_>> = ranges
        .map(|range| {
            let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
            Range { media_type: media_type.trim(), parameters }
        })
        .collect();
    // Stable: among equals the first counts.
    ranges.sort_by(|a, b| b.quality().total_cmp(&a.quality()));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header value"));
        headers
    }

    const TABLE: Form = Form::Table(MetaVersion::V1, IncludeObject::Metadata);

    #[test]
    fn the_first_form_that_we_speak_wins() {
        let check = |accept: &str, expect: Form| {
            assert_eq!(form(&headers(accept), None, Shown::One), Ok(expect), "{accept}");
        };
        check("application/json", Form::Object);
        check("*/*", Form::Object);
        check(PROTOBUF, Form::Object);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Form::Object);
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", TABLE);
        check(
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Form::Table(MetaVersion::V1Beta1, IncludeObject::Metadata),
        );
        check("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Form::Object);
        check("application/json;q=0.5,application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9", TABLE);
        check(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
            Form::Partial(MetaVersion::V1),
        );
        assert_eq!(form(&HeaderMap::new(), None, Shown::One), Ok(Form::Object));
    }

    #[test]
    fn what_we_do_not_speak_is_not_acceptable() {
        let check = |accept: &str, shown: Shown, expect: &str| {
            let status = form(&headers(accept), None, shown).expect_err(accept);
            assert_eq!((status.code, status.reason), (406, "NotAcceptable"));
            assert_eq!(status.message, expect);
        };
        let all = "only the following media types are accepted: application/json, application/yaml, \
                   application/vnd.kubernetes.protobuf";
        check("text/html", Shown::One, all);
        check("application/json;as=Poem;v=v1;g=meta.k8s.io", Shown::List, all);
        let streams = "only the following media types are accepted: application/json;stream=watch, \
                       application/vnd.kubernetes.protobuf;stream=watch";
        check("application/yaml", Shown::Watch, streams);
        let partial = |kind: &str| format!("application/json;as={kind};v=v1;g=meta.k8s.io");
        check(
            &partial("PartialObjectMetadata"),
            Shown::List,
            "you requested PartialObjectMetadata, but the requested object is a list",
        );
        check(
            &partial("PartialObjectMetadataList"),
            Shown::One,
            "you requested PartialObjectMetadataList, but the requested object is not a list",
        );
    }

    #[test]
    fn yaml_is_for_who_likes_it_best() {
        for (accept, expect) in [
            ("application/yaml", true),
            ("application/json;q=0.3,application/yaml;q=0.7", true),
            ("application/json,application/yaml", false),
            ("*/*", false),
        ] {
            assert_eq!(prefers_yaml(&headers(accept)), expect, "{accept}");
        }
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
