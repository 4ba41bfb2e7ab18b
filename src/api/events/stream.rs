//! Events as a stream (`text/event-stream`) for browsers and other patient readers.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
};
use futures_util::{Stream, StreamExt, future::pending, stream};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::Event;
use crate::api::{
    feed::{Snapshot, Subscription},
    page::Cursor,
};

/// A comment this often keeps proxies from closing a quiet stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Pause before a browser connects again.
const RECONNECT: Duration = Duration::from_secs(2);

/// A reader on its way through a link's events.
struct Reader {
    link: Subscription,
    last: i64,
    unsent: VecDeque<sse::Event>,
    settled: bool,
}

/// Every event after `last`, then each new one, until the link is settled or the process drains.
/// `missed` are events that the subscription no longer holds; after `until`, if any, the reader is not one any more.
pub fn respond(
    link: Subscription,
    last: i64,
    missed: Vec<(i64, Event)>,
    until: Option<Instant>,
) -> Response {
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Some proxies hold answers back until they are long enough.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    let expiry = async move {
        match until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    };
    let events = events(link, last, missed).take_until(expiry);
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    (headers, stream).into_response()
}

fn events(
    link: Subscription,
    last: i64,
    missed: Vec<(i64, Event)>,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let now = link.now();
    let mut reader = Reader {
        link,
        last,
        unsent: VecDeque::new(),
        settled: false,
    };
    reader
        .unsent
        .push_back(sse::Event::default().retry(RECONNECT));
    reader.take(&missed);
    reader.see(&now);
    stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(event) = reader.unsent.pop_front() {
                return Some((Ok(event), reader));
            }
            if reader.settled {
                return None;
            }
            let snapshot = reader.link.next().await?;
            reader.see(&snapshot);
        }
    })
}

impl Reader {
    fn see(&mut self, snapshot: &Snapshot) {
        self.take(&snapshot.events);
        self.settled = snapshot.link.summary.is_settled();
        if self.settled {
            let end = json!({ "status": snapshot.link.summary.status, "version": snapshot.link.summary.version });
            self.unsent
                .push_back(sse::Event::default().event("end").data(end.to_string()));
        }
    }

    fn take(&mut self, events: &[(i64, Event)]) {
        for (id, event) in events.iter().filter(|(id, _)| *id > self.last) {
            let data = json!({ "at": event.at_text(), "detail": event.detail });
            let cursor = Cursor::of(id).into_text();
            self.unsent.push_back(
                sse::Event::default()
                    .id(cursor)
                    .event(&event.kind)
                    .data(data.to_string()),
            );
        }
        self.last = events
            .last()
            .map_or(self.last, |(id, _)| self.last.max(*id));
    }
}
