//! ETags of answers that were looked at before: a read that would answer the same costs nothing at GitHub.
//!
//! Only the tag is kept, never what was answered. A read inside [`Memory::during`] that is answered "not modified" fails, and
//! [`Looked::unchanged`] says that this is why: whoever looked before knows what was seen.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Answer, UpstreamKind};

tokio::task_local! {
    static LOOK: (Memory, Arc<AtomicBool>);
}

/// ETags by address; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    known: Tags,
    seen: Arc<Mutex<Tags>>,
}

/// ETags by address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags(BTreeMap<String, String>);

/// What came of a look.
#[derive(Debug)]
pub struct Looked<T> {
    /// Its result; a failure when `unchanged`.
    pub result: T,
    /// Whether an upstream said that nothing has changed.
    pub unchanged: bool,
}

impl Memory {
    /// With what earlier looks have seen.
    pub fn of(known: Tags) -> Self {
        Self {
            known,
            seen: Arc::default(),
        }
    }

    /// Runs a look; its reads say what is known, and are remembered.
    pub async fn during<F: Future>(&self, look: F) -> Looked<F::Output> {
        let unchanged = Arc::new(AtomicBool::new(false));
        let result = LOOK.scope((self.clone(), unchanged.clone()), look).await;
        Looked {
            result,
            unchanged: unchanged.load(Ordering::Relaxed),
        }
    }

    /// What this look has seen, to be known by the next one.
    pub fn seen(&self) -> Tags {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tags> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tag under which an address has answered before. Only GitHub makes an unchanged answer free.
pub(super) fn known(upstream: UpstreamKind, method: &Method, url: &Url) -> Option<String> {
    if upstream != UpstreamKind::Github || *method != Method::GET {
        return None;
    }
    let tag = LOOK.try_with(|(memory, _)| memory.known.0.get(url.as_str()).cloned());
    tag.ok().flatten()
}

/// Notes an answer; whether it says that nothing has changed. A list of several pages is not remembered: its first page
/// alone does not tell.
pub(super) fn note(asked: &Url, answer: &Answer) -> bool {
    let unchanged = answer.status == reqwest::StatusCode::NOT_MODIFIED;
    let is_whole = unchanged || (answer.status.is_success() && answer.next_page().is_none());
    let tag = answer.header("etag").filter(|_| is_whole);
    let _ = LOOK.try_with(|(memory, flag)| {
        if let Some(tag) = tag {
            let tags = &mut memory.lock().0;
            tags.insert(asked.to_string(), tag.to_owned());
        }
        if unchanged {
            flag.store(true, Ordering::Relaxed);
        }
    });
    unchanged
}
