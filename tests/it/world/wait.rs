//! Waiting for conditions.

use std::time::{Duration, Instant};

/// The longest wait; everything that tests wait for takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries again until there is a value.
///
/// # Panics
/// When there is none for too long.
pub async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
