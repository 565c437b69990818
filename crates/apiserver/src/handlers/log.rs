//! GET of a pod's `/log`.

use apimachinery::status::Status;
use apimachinery::time;
use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use crate::api::{ApiServer, Request};
use crate::body::Body;
use crate::codec;
use crate::container;
use crate::node_streams::{LogOptions, LogSource};
use crate::query::Query;
use crate::respond::{self, Answer};
use crate::route::Target;

const TEXT: &str = "text/plain";

pub(crate) async fn log(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let options = log_options(&request.query, request.clock.now())?;
    let pod = codec::decode(&api.read(target).await?)?;
    let container = container::choose(&pod, request.query.get("container"))?;
    if container.node.is_empty() {
        // As upstream: a pod that no node has yet has an empty log.
        return Ok(respond::typed(StatusCode::OK, TEXT, Bytes::new()));
    }
    let stream = api.streams().logs(&container, options).await?;
    let stream = stream.take_until(api.shutdown_token().clone().cancelled_owned());
    let mut answer = respond::typed(StatusCode::OK, TEXT, Bytes::new());
    *answer.body_mut() = Body::stream(stream.boxed());
    Ok(answer)
}

/// Reads `core/v1.PodLogOptions` (upstream: `ValidatePodLogOptions`).
fn log_options(query: &Query, now: Timestamp) -> Result<LogOptions, Status> {
    let refuse = |field: &str, value: i64, why: &str| {
        Err(Status::bad_request(format!("{field}: Invalid value: {value}: {why}")))
    };
    let since_seconds: Option<i64> = query.number("sinceSeconds")?;
    let tail_lines: Option<i64> = query.number("tailLines")?;
    let limit_bytes: Option<i64> = query.number("limitBytes")?;
    match (since_seconds, query.get("sinceTime"), tail_lines, limit_bytes) {
        (Some(_), Some(_), ..) => {
            return Err(Status::bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
        (Some(n), ..) if n < 1 => return refuse("sinceSeconds", n, "must be greater than 0"),
        (_, _, Some(n), _) if n < 0 => return refuse("tailLines", n, "must be greater than or equal to 0"),
        (.., Some(n)) if n < 1 => return refuse("limitBytes", n, "must be greater than 0"),
        _ => {}
    }
    let since_time = match query.get("sinceTime") {
        None => None,
        Some(text) => Some(time::parse(text).ok_or_else(|| {
            Status::bad_request(format!(
                "sinceTime: Invalid value: {text:?}: must be a time as RFC 3339 has it"
            ))
        })?),
    };
    let since_ago =
        since_seconds.map(|s| now.checked_sub(SignedDuration::from_secs(s)).unwrap_or(Timestamp::MIN));
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        since: since_time.or(since_ago),
        timestamps: query.flag("timestamps"),
        tail_lines: tail_lines.map(i64::unsigned_abs),
        limit_bytes: limit_bytes.map(i64::unsigned_abs),
        stream: source(query.get("stream"), tail_lines)?,
    })
}

/// Which stream is asked for. One alone has no tail: how many of the last lines are its own is not known.
fn source(named: Option<&str>, tail_lines: Option<i64>) -> Result<LogSource, Status> {
    let source = match named {
        None | Some("All") => return Ok(LogSource::All),
        Some("Stdout") => LogSource::Stdout,
        Some("Stderr") => LogSource::Stderr,
        Some(other) => {
            return Err(Status::bad_request(format!(
                "stream: Unsupported value: {other:?}: supported values: \"All\", \"Stderr\", \"Stdout\""
            )));
        }
    };
    match tail_lines {
        Some(_) => {
            Err(Status::bad_request("`tailLines` and specific `stream` are mutually exclusive for now"))
        }
        None => Ok(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        let check = |query: &str| log_options(&Query::parse(query), Timestamp::UNIX_EPOCH);
        assert_eq!(
            check("tailLines=-1").expect_err("negative").message,
            "tailLines: Invalid value: -1: must be greater than or equal to 0"
        );
        assert_eq!(
            check("sinceTime=yesterday").expect_err("no time").message,
            "sinceTime: Invalid value: \"yesterday\": must be a time as RFC 3339 has it"
        );
        assert!(check("sinceTime=2026-01-01T00:00:00Z&sinceSeconds=5").is_err());
        let options = check("follow=true&tailLines=0&sinceSeconds=5").expect("sensible options");
        assert!(options.follow && !options.timestamps);
        assert_eq!(options.tail_lines, Some(0));
        assert_eq!(options.since, Some(Timestamp::from_second(-5).expect("a time")));
    }
}
