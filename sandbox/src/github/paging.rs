//! Pages of lists: `per_page`, `page`, and the `Link` header, whose addresses name the repository by id.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

/// The query of a list.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct Page {
    per_page: usize,
    page: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            per_page: 30,
            page: 1,
        }
    }
}

impl Page {
    /// One page of `items`; `base` is the list's address.
    pub fn of(self, items: Vec<Value>, base: &str) -> Response {
        let size = self.per_page.clamp(1, 100);
        let page = self.page.max(1);
        let last = items.len().div_ceil(size).max(1);
        let shown: Vec<Value> = items
            .into_iter()
            .skip((page - 1) * size)
            .take(size)
            .collect();
        let to = |number: usize, relation: &str| {
            format!("<{base}?per_page={size}&page={number}>; rel=\"{relation}\"")
        };
        let mut links = Vec::new();
        if page > 1 {
            links.push(to((page - 1).min(last), "prev"));
        }
        if page < last {
            links.extend([to(page + 1, "next"), to(last, "last")]);
        }
        if page > 1 {
            links.push(to(1, "first"));
        }
        linked(shown, &links.join(", "))
    }
}

/// The query of a list that is read with a cursor, newest first.
#[derive(Clone, Debug, Deserialize)]
pub struct Cursor {
    per_page: Option<usize>,
    cursor: Option<String>,
    /// `success` or `failure`.
    pub status: Option<String>,
}

impl Cursor {
    /// One page of `items`, which carry their ids and are sorted by them, largest first.
    pub fn of(&self, items: Vec<(u64, Value)>, base: &str) -> Response {
        let size = self.per_page.unwrap_or(30).clamp(1, 100);
        let below = self
            .cursor
            .as_deref()
            .and_then(|c| c.strip_prefix("v1_")?.parse().ok());
        let mut rest = items
            .into_iter()
            .filter(|(id, _)| below.is_none_or(|below| *id < below));
        let shown: Vec<(u64, Value)> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        let next = shown.last().filter(|_| more);
        let link = next.map_or_else(String::new, |(id, _)| {
            format!("<{base}?per_page={size}&cursor=v1_{id}>; rel=\"next\"")
        });
        linked(shown.into_iter().map(|(_, item)| item).collect(), &link)
    }
}

fn linked(items: Vec<Value>, link: &str) -> Response {
    let body = Json(items);
    if link.is_empty() {
        return body.into_response();
    }
    ([(header::LINK, link.to_owned())], body).into_response()
}
