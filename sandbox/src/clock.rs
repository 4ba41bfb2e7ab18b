//! The sandbox's clock: real time plus an offset that a test can move forward.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Duration as Span, OffsetDateTime};

/// Both vendors print milliseconds or nothing; Netlify's captured answers always have three digits.
const MILLISECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Wall-clock time as the vendors of the sandbox see it.
///
/// Time-outs and build durations run in real time; rate-limit windows, list lag and time stamps follow this clock, so that a
/// test can jump over an hour's limit without waiting for it.
#[derive(Debug, Default)]
pub struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// The present moment in UTC.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + Span::milliseconds(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Unix time in seconds.
    pub fn unix(&self) -> i64 {
        self.now().unix_timestamp()
    }

    /// Unix time in milliseconds.
    pub fn unix_ms(&self) -> i64 {
        (self.now().unix_timestamp_nanos() / 1_000_000) as i64
    }

    /// Moves the clock forward; it never goes back.
    pub fn advance(&self, by: Duration) {
        self.offset_ms
            .fetch_add(by.as_millis() as i64, Ordering::Relaxed);
    }

    /// Sets the clock wrong from the start, before anything has happened by it.
    pub fn set_wrong_by(&self, by: Span) {
        let offset = by.whole_milliseconds() as i64;
        self.offset_ms.store(offset, Ordering::Relaxed);
    }
}

/// `Sun, 22 Nov 2026 09:38:00 GMT`, the form of the `Date` header.
pub fn http_date(at: OffsetDateTime) -> String {
    at.format(HTTP_DATE)
        .expect("a UTC time always has the parts of the format")
}

/// `2026-11-22T09:38:00.123Z`, the form of Netlify's time stamps.
pub fn milliseconds(at: OffsetDateTime) -> String {
    at.format(MILLISECONDS)
        .expect("a UTC time always has the parts of the format")
}

/// `2026-11-22T09:38:00Z`, the form of GitHub's time stamps.
pub fn seconds(at: OffsetDateTime) -> String {
    at.format(SECONDS)
        .expect("a UTC time always has the parts of the format")
}
