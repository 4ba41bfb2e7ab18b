//! What goes wrong with the calls of a link, and what happens to its worker in that moment.

use std::convert::Infallible;
use std::time::Duration;

use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use linkbroker_sandbox::Strikes;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::timeout;

use super::{Blow, Crowd, Place, Tally, caller::stands};

/// How long a link may take to come where it is to come, whatever happens to it.
const PATIENCE: Duration = Duration::from_secs(180);
/// The calls of links' own steps at Netlify. A patrol whose call fails rests for half a minute, which thousands of links have
/// no time for.
const OWN_CALLS: &str = r"/deploy_keys|/sites(/[^/]+(/builds)?)?(\?|$)|/cancel$";

/// Something that goes wrong.
#[derive(Debug)]
pub struct Trouble {
    upstream: &'static str,
    /// With which of these calls there.
    path: &'static str,
    nth: u64,
    times: u64,
    fault: Value,
    /// What happens to the worker at that moment.
    blow: Option<Blow>,
}

/// What a link is going through.
#[derive(Debug, Clone, Copy)]
pub enum Phase {
    Making,
    Unmaking,
}

impl Phase {
    /// Most calls at one of the vendors.
    const fn calls(self) -> u64 {
        match self {
            Self::Making => 8,
            Self::Unmaking => 3,
        }
    }
}

impl Trouble {
    /// Draws one, with a blow or without.
    pub fn draw(rng: &mut Rng, phase: Phase) -> Self {
        let trouble = Self::of_call(rng, phase);
        // Rare, because a blow strikes all links that the worker has, wherever they are: a good dozen.
        let blow = match rng.u16(..800) {
            0..15 => Blow::Killed,
            15..17 => Blow::Frozen,
            _ => return trouble,
        };
        // Some blows come alone.
        let fault = match rng.u8(..3) {
            0 => json!("watch"),
            _ => trouble.fault,
        };
        Self {
            blow: Some(blow),
            fault,
            ..trouble
        }
    }

    /// Draws one without a blow.
    pub fn of_call(rng: &mut Rng, phase: Phase) -> Self {
        let fault = match rng.u8(..8) {
            0..4 => json!("lost_answer"),
            4 => json!("reset"),
            5 => json!({"status": 503, "body": "down"}),
            6 => json!({"body": "<html>Bad gateway</html>"}),
            _ => json!({"delay_ms": 40}),
        };
        let (upstream, path) = [("netlify", OWN_CALLS), ("github", "")][rng.usize(..2)];
        Self {
            upstream,
            path,
            nth: rng.u64(1..=phase.calls()),
            times: 1,
            fault,
            blow: None,
        }
    }

    /// Draws one that goes on for some tries, but for fewer than a link makes of a step.
    pub fn lasting(rng: &mut Rng, phase: Phase) -> Self {
        Self {
            times: rng.u64(2..=5),
            ..Self::of_call(rng, phase)
        }
    }

    fn name(&self) -> String {
        let fault = match &self.fault {
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        format!("struck: {fault}")
    }
}

/// The rules of some troubles.
pub struct Armed<'a> {
    place: &'a Place,
    rules: Vec<(&'a Trouble, Strikes)>,
}

impl<'a> Armed<'a> {
    /// Sets them.
    pub fn new(crowd: &Crowd, place: &'a Place, troubles: &'a [Trouble]) -> Self {
        let arm = |it: &'a Trouble| {
            let rule =
                json!({"path": it.path, "nth": it.nth, "times": it.times, "fault": it.fault});
            (it, place.disturb(&crowd.world, it.upstream, rule))
        };
        let rules = troubles.iter().map(arm).collect();
        Self { place, rules }
    }

    /// Does something about a link while its worker is struck at the moments that the troubles say, and counts what happened.
    pub async fn during<T>(
        &self,
        struck: &mut Struck<'_>,
        id: &str,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let tally = struck.tally;
        let done = tokio::select! {
            done = timeout(PATIENCE, work) => done,
            never = self.strike(struck, id) => match never {},
        };
        for (trouble, _) in self.rules.iter().filter(|(_, strikes)| strikes.count() > 0) {
            tally.count(&trouble.name());
        }
        match done.unwrap_or_else(|_| Err(format!("no end after {PATIENCE:?}"))) {
            Ok(done) => Ok(done),
            Err(why) => Err(format!(
                "{id}: {why}\n{}",
                stands(&struck.crowd.world, &self.place.client, id).await
            )),
        }
    }

    async fn strike(&self, struck: &mut Struck<'_>, id: &str) -> Infallible {
        let with_blow = self.rules.iter().filter_map(|(it, strikes)| {
            let (blow, strikes) = (it.blow?, strikes.clone());
            Some(async move {
                strikes.first().await;
                blow
            })
        });
        let mut moments: FuturesUnordered<_> = with_blow.collect();
        while let Some(blow) = moments.next().await {
            match struck.crowd.strike(id, blow, struck.owner).await {
                Some(links) => {
                    struck.tally.count(&format!("workers: {blow:?}"));
                    struck.tally.add("links: in the hands of those", links);
                }
                None => struck.tally.count("workers: nobody had the link"),
            }
        }
        std::future::pending().await
    }
}

/// Whose workers are struck, and what is needed for it.
pub struct Struck<'a> {
    pub crowd: &'a Crowd,
    /// Sees who has which link.
    pub owner: &'a mut PgConnection,
    pub tally: &'a Tally,
}
