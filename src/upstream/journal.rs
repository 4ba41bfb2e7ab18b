//! The writes that were sent to upstreams on one occasion, for the audit.
//!
//! A write is noted before it is sent: a lost answer, an abandoned round and a redirect that asks
//! for it again all leave a note. The notes belong to whoever runs a future inside
//! [`Journal::during`], so no provider and no step has to hand anything through.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use reqwest::{Body, Method};
use url::Url;
use uuid::Uuid;

use super::{Answer, Class, UpstreamError, UpstreamKind};
use crate::link::failure::UpstreamTrace;

tokio::task_local! {
    static OCCASION: (Journal, &'static str);
}

/// Notes of writes; clones share them.
#[derive(Clone)]
pub struct Journal {
    writes: Arc<Mutex<Vec<SentWrite>>>,
    may_write: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Default for Journal {
    fn default() -> Self {
        Self::with_leave(|| true)
    }
}

/// Whoever writes has lost the right to, so nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("the right to write ran out before the call was sent")]
pub(super) struct NoLeave;

/// A write that reached an upstream, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentWrite {
    /// Names it; made before it was sent.
    pub id: Uuid,
    /// What it was sent for: the `purpose` of [`Journal::during`].
    pub purpose: &'static str,
    /// The request's method.
    pub method: Method,
    /// The path at the upstream, without the query.
    pub path: String,
    /// Who answered what; the status is absent while there is no answer.
    pub trace: UpstreamTrace,
}

impl Journal {
    /// An empty journal; a write is only sent when `may_write` says so just before.
    pub fn with_leave(may_write: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            writes: Arc::default(),
            may_write: Arc::new(may_write),
        }
    }

    /// Runs a future; the writes that it sends are noted here, for this purpose.
    pub async fn during<F: Future>(&self, purpose: &'static str, future: F) -> F::Output {
        OCCASION.scope((self.clone(), purpose), future).await
    }

    /// What was sent so far, in order.
    pub fn writes(&self) -> Vec<SentWrite> {
        self.lock().clone()
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Forgets these writes: they are recorded.
    pub fn forget(&self, recorded: &[SentWrite]) {
        self.lock()
            .retain(|write| !recorded.iter().any(|known| known.id == write.id));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SentWrite>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is about to be sent; nothing for reads and outside of any journal.
pub(super) struct Pending(Option<Write>);

struct Write {
    journal: Journal,
    id: Uuid,
    /// Whether its body was kept back in the last moment.
    is_withheld: Arc<AtomicBool>,
}

/// Notes a request that is about to be sent; a write needs leave.
pub(super) fn about_to_send(
    upstream: UpstreamKind,
    method: &Method,
    url: &Url,
) -> Result<Pending, NoLeave> {
    if method.is_safe() {
        return Ok(Pending(None));
    }
    let noted = OCCASION.try_with(|(journal, purpose)| {
        if !(journal.may_write)() {
            return Err(NoLeave);
        }
        let write = SentWrite {
            id: Uuid::now_v7(),
            purpose,
            method: method.clone(),
            path: url.path().to_owned(),
            trace: UpstreamTrace {
                upstream: upstream.as_str().to_owned(),
                status: None,
                request_id: None,
            },
        };
        let id = write.id;
        journal.lock().push(write);
        Ok(Write {
            journal: journal.clone(),
            id,
            is_withheld: Arc::default(),
        })
    });
    Ok(Pending(noted.ok().transpose()?))
}

impl Pending {
    /// The body of the request, which takes leave once more in the moment in which it goes out: a process may stand still
    /// while the connection is made.
    pub(super) fn body(&self, bytes: Vec<u8>) -> Body {
        match &self.0 {
            None => bytes.into(),
            Some(write) => Body::wrap(LastLook {
                bytes: Some(bytes.into()),
                journal: write.journal.clone(),
                is_withheld: write.is_withheld.clone(),
            }),
        }
    }

    /// Whether the body did not go out. The client does not tell of every protocol why a request has failed.
    pub(super) fn is_withheld(&self) -> bool {
        let write = self.0.as_ref();
        write.is_some_and(|write| write.is_withheld.load(Ordering::Acquire))
    }

    /// Notes how it ended; one that never left is forgotten.
    pub(super) fn ended(self, result: &Result<Answer, UpstreamError>) {
        let Some(Write { journal, id, .. }) = self.0 else {
            return;
        };
        let trace = match result {
            Ok(answer) => answer.trace(),
            // Without a connection nothing was sent.
            Err(error) if error.class == Class::Transient => {
                return journal.lock().retain(|write| write.id != id);
            }
            Err(error) => error.trace.clone(),
        };
        if let Some(write) = journal.lock().iter_mut().find(|write| write.id == id) {
            write.trace = trace;
        }
    }
}

/// A body that is withheld when there is no leave to write any more; what stands before it in the request does nothing without
/// it.
struct LastLook {
    bytes: Option<Bytes>,
    journal: Journal,
    is_withheld: Arc<AtomicBool>,
}

impl HttpBody for LastLook {
    type Data = Bytes;
    type Error = NoLeave;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NoLeave>>> {
        let bytes = self.bytes.take();
        Poll::Ready(bytes.map(|bytes| match (self.journal.may_write)() {
            true => Ok(Frame::data(bytes)),
            false => {
                self.is_withheld.store(true, Ordering::Release);
                Err(NoLeave)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://host/api/repos/a/b/keys?secret=1").unwrap()
    }

    #[tokio::test]
    async fn writes_are_noted_before_they_are_answered_and_reads_never() {
        let journal = Journal::default();
        journal
            .during("step", async {
                about_to_send(UpstreamKind::Github, &Method::GET, &url()).unwrap();
                about_to_send(UpstreamKind::Github, &Method::POST, &url()).unwrap();
            })
            .await;
        let writes = journal.writes();
        assert_eq!(writes.len(), 1);
        assert_eq!(writes[0].path, "/api/repos/a/b/keys");
        assert_eq!((writes[0].purpose, writes[0].trace.status), ("step", None));
        journal.forget(&writes);
        assert!(journal.is_empty());
    }

    #[tokio::test]
    async fn occasions_at_the_same_time_keep_their_purposes_apart() {
        let journal = Journal::default();
        let write = |purpose| {
            journal.during(purpose, async {
                tokio::task::yield_now().await;
                about_to_send(UpstreamKind::Netlify, &Method::POST, &url()).unwrap();
            })
        };
        futures_util::future::join(write("one"), write("two")).await;
        let purposes: Vec<_> = journal.writes().iter().map(|write| write.purpose).collect();
        assert_eq!(purposes, ["one", "two"]);
    }

    #[test]
    fn outside_of_any_journal_nothing_is_noted() {
        assert!(
            about_to_send(UpstreamKind::Github, &Method::POST, &url())
                .unwrap()
                .0
                .is_none()
        );
    }

    #[tokio::test]
    async fn a_write_without_leave_is_refused_and_a_read_never() {
        let journal = Journal::with_leave(|| false);
        let sent = journal.during("step", async {
            let [read, write] = [Method::GET, Method::POST]
                .map(|method| about_to_send(UpstreamKind::Github, &method, &url()).is_ok());
            (read, write)
        });
        assert_eq!(sent.await, (true, false));
        assert!(journal.is_empty());
    }
}
