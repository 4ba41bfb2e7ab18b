//! `/errors/{code}`: what every problem and every failure means, for programs and for people.
//!
//! Problems are what the API answers; failures are what happens to a link in the background. Both
//! have one namespace of codes, so that one page explains any code that a caller meets.

use axum::{
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    extract::{Json, Path},
    problem::{ObjectProblems, Problem, ProblemCode},
};
use crate::link::failure::{FailureCode, Fault};

/// What a code means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorEntry {
    /// The stable name.
    #[schema(example = "site_name_taken")]
    pub code: String,
    /// What is wrong.
    pub title: String,
    /// What to do about it.
    pub remedy: String,
    /// HTTP status, for problems that the API answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Who has to act, for failures of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Whether a retry can help once the cause is mended, for failures of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// Whether linkbroker can mend it by itself, for failures of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healable: Option<bool>,
}

/// The routes of `/errors`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
}

/// List every error
///
/// Problems, which the API answers, and failures, which happen to a link in the background.
#[utoipa::path(get, path = "/errors", tag = "errors", operation_id = "listErrors", security(()),
    responses((status = 200, description = "Every code, problems first", body = Vec<ErrorEntry>)))]
async fn list() -> Json<Vec<ErrorEntry>> {
    Json(catalogue())
}

/// Explain an error
///
/// The `type` of every problem points here. Browsers get a page.
#[utoipa::path(get, path = "/errors/{code}", tag = "errors", operation_id = "getError", security(()),
    params(("code" = String, Path, description = "The stable name", example = "not_found")),
    responses((status = 200, description = "What it means",
            content((ErrorEntry = "application/json"), (String = "text/html"))),
        ObjectProblems))]
async fn get(Path(code): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let entry = catalogue().into_iter().find(|entry| entry.code == code);
    let entry = entry.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    Ok(
        match accepted.is_some_and(|accepted| accepted.contains("text/html")) {
            true => Html(page(&entry)).into_response(),
            false => Json(entry).into_response(),
        },
    )
}

fn catalogue() -> Vec<ErrorEntry> {
    let problems = ProblemCode::ALL.iter().map(|code| ErrorEntry {
        code: code.as_str().to_owned(),
        title: code.title().to_owned(),
        remedy: code.remedy().to_owned(),
        status: Some(code.status().as_u16()),
        fault: None,
        retryable: None,
        healable: None,
    });
    let failures = FailureCode::ALL.iter().map(|code| ErrorEntry {
        code: code.as_str().to_owned(),
        title: code.title().to_owned(),
        remedy: code.remedy().to_owned(),
        status: None,
        fault: Some(code.fault()),
        retryable: Some(code.is_retryable()),
        healable: Some(code.is_healable()),
    });
    problems.chain(failures).collect()
}

/// Texts come from our own catalogue: nothing in them needs escaping, which a unit test holds.
fn page(entry: &ErrorEntry) -> String {
    let who = entry.fault.map(Fault::as_str);
    let who = who.map(|who| format!("<p>Who acts: {who}.</p>"));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{code}</title><h1>{title}</h1><p><code>{code}</code></p>{who}<p>{remedy}</p></html>",
        code = entry.code,
        title = entry.title,
        who = who.unwrap_or_default(),
        remedy = entry.remedy,
    )
}

/// `docs/errors.md`: the catalogue for people who read the repository.
pub fn markdown() -> String {
    let (problems, failures): (Vec<_>, Vec<_>) = catalogue()
        .into_iter()
        .partition(|entry| entry.status.is_some());
    let mut text = String::from(
        "# Errors\n\nMade by `linkbroker errors`; a test compares. The service explains each code at `/errors/{code}`.\n\n## Problems: what the API answers\n\n| code | status | what is wrong | what to do |\n|---|---|---|---|\n",
    );
    for entry in problems {
        let status = entry.status.unwrap_or_default();
        text += &format!(
            "| `{}` | {status} | {} | {} |\n",
            entry.code, entry.title, entry.remedy
        );
    }
    text += "\n## Failures: what happens to a link in the background\n\nA link shows its failure as `diagnosis`; reading the link stays 200.\n\n| code | who acts | retry helps | linkbroker mends it | what is wrong | what to do |\n|---|---|---|---|---|---|\n";
    for entry in failures {
        let fault = entry.fault.map_or("", Fault::as_str);
        let (retry, heal) = (said(entry.retryable), said(entry.healable));
        text += &format!(
            "| `{}` | {fault} | {retry} | {heal} | {} | {} |\n",
            entry.code, entry.title, entry.remedy
        );
    }
    text
}

fn said(yes: Option<bool>) -> &'static str {
    match yes {
        Some(true) => "yes",
        Some(false) | None => "no",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_but_for_those_that_mean_the_same_in_both_worlds() {
        let mut codes: Vec<_> = catalogue().into_iter().map(|entry| entry.code).collect();
        let all = codes.len();
        codes.sort();
        codes.dedup();
        // `rate_limited`, `internal` and `installation_not_granted` are answers and failures alike.
        assert_eq!(all - codes.len(), 3);
    }

    #[test]
    fn texts_need_no_escaping() {
        for entry in catalogue() {
            assert!(
                !format!("{}{}", entry.title, entry.remedy).contains(['&', '|']),
                "{}",
                entry.code
            );
            assert!(!page(&entry).contains("<script"), "{}", entry.code);
        }
    }

    #[test]
    fn the_written_catalogue_is_the_one_in_the_code() {
        let written = include_str!("../../docs/errors.md");
        assert!(
            written == markdown(),
            "docs/errors.md is old: run `linkbroker errors > docs/errors.md`"
        );
    }
}
