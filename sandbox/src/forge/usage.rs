//! Rate limits by fixed windows: how much of a caller's window is used, and what the provider tells him.

use time::OffsetDateTime;

use super::State;

/// What one caller has used of his present window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    used: u64,
    /// Unix seconds at which `used` starts again from 0.
    resets_at: i64,
}

/// A limit: so many calls in so many seconds.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub calls: u64,
    pub seconds: i64,
}

/// A caller's window after a call.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub limit: u64,
    /// This call included, also when it is one too many.
    pub used: u64,
    /// Unix seconds.
    pub resets_at: i64,
    pub now: i64,
}

impl Rate {
    /// Calls that are left.
    pub fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Whether this call is one too many.
    pub fn is_exceeded(&self) -> bool {
        self.used > self.limit
    }

    /// Seconds until the next window.
    pub fn wait_seconds(&self) -> i64 {
        self.resets_at - self.now
    }
}

impl Limit {
    /// Takes one call of `caller`.
    pub fn take(self, state: &mut State, caller: &str, now: OffsetDateTime) -> Rate {
        let now = now.unix_timestamp();
        let window = state.usage.entry(caller.to_owned()).or_default();
        if now >= window.resets_at {
            window.used = 0;
            window.resets_at = now + self.seconds;
        }
        window.used += 1;
        Rate {
            limit: self.calls,
            used: window.used,
            resets_at: window.resets_at,
            now,
        }
    }
}
