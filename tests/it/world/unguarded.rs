//! Takes the tenant predicate out of every query on its way to Postgres: what is still hidden is hidden by row level security
//! alone.

use std::sync::{LazyLock, Mutex};

use regex::Regex;

use super::wire::Tap;

static PREDICATE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"((?:\w+\.)?\btenant) = (\$\d+)").expect("a regular expression"));

/// Remembers what it took it out of.
#[derive(Default)]
pub struct Unguarded {
    rewritten: Mutex<Vec<String>>,
}

impl Unguarded {
    /// The queries that went through without their tenant predicate, each as often as it was sent.
    pub fn rewritten(&self) -> Vec<String> {
        let rewritten = self.rewritten.lock();
        rewritten.expect("no test panicked in here").clone()
    }
}

impl Tap for Unguarded {
    /// The parameter stays in the query, so that its type stays known.
    fn query(&self, query: String) -> String {
        if !PREDICATE.is_match(&query) {
            return query;
        }
        let query = PREDICATE.replace_all(&query, "($1 = $2 or true)");
        let query = query.into_owned();
        let mut rewritten = self.rewritten.lock().expect("no test panicked in here");
        rewritten.push(query.clone());
        query
    }
}
