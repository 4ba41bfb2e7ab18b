//! How an error of a command is told: what is wrong, where, and what to do about it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Output;
use super::client::ClientError;
use super::exit::{Exit, UsageError};
use super::terminal::plain;
use crate::api::problem::{FieldError, ProblemCode, ProblemDocument};

/// The flag behind each place of a request that the service may object to.
const FLAGS: &[(&str, &str)] = &[
    ("/repository", "<REPOSITORY>"),
    ("/branch", "--branch"),
    ("/site/name", "--site"),
    ("/site/team", "--team"),
    ("/site/id", "--site-id"),
    ("/site/relink", "--relink"),
    ("/build/command", "--command"),
    ("/build/publish", "--publish"),
    ("/build/base", "--base"),
    ("/build/functions", "--functions"),
    ("/build/package_path", "--package-path"),
    ("/ref", "--ref"),
    ("/labels", "--label"),
    ("/connections/netlify", "--netlify"),
    ("/connections/provider", "--provider"),
    ("/name", "--name"),
    ("/kind", "the kind"),
    ("/host", "--host"),
    ("/credential/token", "the token"),
    ("/token", "the token"),
];

/// Tells an error on standard error: as text, or as a problem document for programs.
pub fn tell(error: &anyhow::Error, output: Output) {
    match output {
        Output::Human => eprint!("{}", text(error)),
        Output::Json => eprintln!("{}", document(error)),
    }
}

fn text(error: &anyhow::Error) -> String {
    let mut text = format!("error: {}\n", plain(&format!("{error:#}")));
    if let Some(ClientError::Refused { problem, .. }) = error.downcast_ref() {
        text += &refused(problem);
    }
    if let Some(hint) = hint(error) {
        text += &format!("hint: {hint}\n");
    }
    text
}

/// Detail and places of a problem; its title is told already.
fn refused(problem: &ProblemDocument) -> String {
    let mut text = String::new();
    if let Some(detail) = &problem.detail {
        let _ = writeln!(text, "  {}", plain(detail));
    }
    for error in &problem.errors {
        let _ = writeln!(text, "  {}: {}", place(error), plain(&error.detail));
    }
    if problem.code == ProblemCode::Internal
        && let Some(id) = &problem.request_id
    {
        let _ = writeln!(text, "  the request's id is {}", plain(id));
    }
    text
}

fn place(error: &FieldError) -> String {
    let pointer = error.pointer.as_deref().unwrap_or_default();
    let parameter = error.parameter.as_deref();
    let flag = FLAGS.iter().find(|(known, _)| {
        pointer
            .strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    match (flag, parameter) {
        (Some((_, flag)), _) => (*flag).to_owned(),
        (None, Some(parameter)) => format!("--{}", plain(parameter)),
        (None, None) => plain(pointer),
    }
}

/// What to do about it, in the words of this command line.
fn hint(error: &anyhow::Error) -> Option<String> {
    let hint = match error.downcast_ref()? {
        ClientError::NoToken { .. } => "set LINKBROKER_TOKEN, or LINKBROKER_TOKEN_FILE to a file that holds it. \
             For a `linkbroker serve --dev` on this machine, run this with the same LINKBROKER_DATA_DIR."
            .to_owned(),
        ClientError::Unreachable { .. } => "is it running? `linkbroker serve --dev` starts one here; \
             --url or LINKBROKER_URL names another."
            .to_owned(),
        ClientError::Foreign { .. } => "does --url (LINKBROKER_URL) name linkbroker itself?".to_owned(),
        ClientError::NoSuch {
            what: "connection", ..
        } => "`linkbroker connections` lists those that there are.".to_owned(),
        ClientError::NoSuch { .. } => "`linkbroker list` lists those that there are.".to_owned(),
        ClientError::Refused { problem, location } => {
            return refusal_hint(problem, location.as_deref());
        }
    };
    Some(hint)
}

fn refusal_hint(problem: &ProblemDocument, location: Option<&str>) -> Option<String> {
    let in_the_way = location.and_then(|location| location.rsplit('/').next());
    let about_connections = |error: &FieldError| {
        let pointer = error.pointer.as_deref().unwrap_or_default();
        pointer.starts_with("/connections")
    };
    let hint = match (problem.code, in_the_way) {
        (ProblemCode::LinkExists, Some(id)) => {
            let id = plain(id);
            return Some(format!(
                "it is {id}: see `linkbroker status {id}`, or `linkbroker unlink {id}` first."
            ));
        }
        (ProblemCode::ConnectionExists, _) => {
            "--replace gives it this token; --name makes another one."
        }
        (ProblemCode::Unauthorized, _) => {
            "the access token is no longer good, or it is another service's: set LINKBROKER_TOKEN to a current one."
        }
        (ProblemCode::Forbidden, _) => {
            "the access token lacks a scope for this: links:read, links:write, connections:read or connections:write."
        }
        (ProblemCode::NotFound, _) => "`linkbroker list` lists the links that there are.",
        (ProblemCode::InvalidRequest, _) if problem.errors.iter().any(about_connections) => {
            "`linkbroker connections` lists them, `linkbroker connect` makes one."
        }
        // The places are told already.
        (ProblemCode::InvalidRequest | ProblemCode::InvalidQuery, _) => return None,
        _ => &problem.remedy,
    };
    Some(plain(hint))
}

/// The service's problem document, or one of the same shape for what went wrong here.
fn document(error: &anyhow::Error) -> Value {
    if let Some(ClientError::Refused { problem, .. }) = error.downcast_ref() {
        return json!(problem);
    }
    let code = match error.downcast_ref() {
        Some(ClientError::NoToken { .. }) => "unauthorized",
        Some(ClientError::Unreachable { .. }) => "unreachable",
        Some(ClientError::Foreign { .. }) => "foreign_answer",
        Some(ClientError::NoSuch { .. }) => "not_found",
        _ if error.is::<UsageError>() => "usage",
        _ => "command_failed",
    };
    json!({
        "type": "about:blank",
        "title": format!("{error:#}"),
        "code": code,
        "remedy": hint(error),
        "exit_code": Exit::of_error(error) as u8,
    })
}
