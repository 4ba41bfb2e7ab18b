//! A world in which the cells of a way are played, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use linkbroker_sandbox::recorder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::call::{Call, Phase};
use super::expected::{Class, End};
use super::table::Cell;
use super::wrong::Place;
use crate::conformance::counts::expected;
use crate::crowd;
use crate::world::{By, Setup, Way, World, text, until};

/// How much more memory than before the server may use at once, in KiB (limits.md, C3.6).
const MEMORY_KIB: u64 = 8 * 1024;

/// A pause that an upstream asked for is at least so long.
const PAUSE_MS: f64 = 900.0;

/// The world, and somebody else who listens.
pub struct Lane {
    way: &'static Way,
    world: World,
    elsewhere: Elsewhere,
}

/// What was seen of a link until it came to rest.
struct Seen {
    link: Value,
    retries: usize,
    waited: bool,
}

impl Lane {
    /// A lane of a way. Builds are pretended and nothing is waited for long.
    pub async fn open(way: &'static Way) -> Self {
        let quick = [
            ("LINKBROKER_CALL_TIMEOUT_SECONDS", "3"),
            ("LINKBROKER_RETRY_BASE_MS", "50"),
            ("LINKBROKER_WATCH_MIN_MS", "10"),
            ("LINKBROKER_PROOF_SECONDS", "3"),
        ];
        let world = way
            .world_with(Setup {
                settings: quick.map(|(name, value)| (name, value.to_owned())).into(),
                switches: crowd::pretended(),
                ..Setup::default()
            })
            .await;
        Self {
            way,
            world,
            elsewhere: Elsewhere::listen().await,
        }
    }

    /// The calls of the way when nothing goes wrong.
    pub async fn calls(&self) -> Vec<Call> {
        let before = self.way.calls(&self.world).len();
        let link = self.way.link(&self.world).await;
        assert_eq!(link["status"], "live", "{link:#}");
        let linked = self.way.calls(&self.world);
        let unlinked = self.world.client.unlink(&text(&link["id"]), "").await;
        assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
        let all = self.way.calls(&self.world);
        let phase = |number: usize| match number < linked.len() {
            true => Phase::Link,
            false => Phase::Unlink,
        };
        let calls = all.iter().enumerate().skip(before);
        let mut calls: Vec<_> = calls
            .map(|(number, call)| Call::of(phase(number), call))
            .collect();
        calls.sort();
        calls.dedup();
        calls
    }

    /// Plays a cell; how the call ended, or what was broken by it.
    pub async fn play(&self, cell: &Cell) -> Result<End, String> {
        let calls = self.world.sandbox.calls().len();
        let before = self.counts();
        let memory = self.begin_measuring();
        let ended = match cell.call.phase {
            Phase::Link => self.link(cell, &before).await,
            Phase::Unlink => self.unlink(cell).await,
        }?;
        self.world.sandbox.world().faults.clear();
        let disturbed = self.world.sandbox.calls().split_off(calls);
        let Some(struck) = disturbed.iter().position(|call| call.fault.is_some()) else {
            return Err("the call was not made".to_owned());
        };
        let ended = with_pause(ended, cell, &disturbed[struck..]);
        if cell.wrong.parks {
            return Ok(ended);
        }
        let more = self.end_measuring().saturating_sub(memory);
        if more > MEMORY_KIB {
            return Err(format!("the server took {more} KiB of memory"));
        }
        self.assert_tidy(&before)?;
        Ok(ended)
    }

    /// Links while the call is disturbed, mends what stood still, and takes the link back.
    async fn link(&self, cell: &Cell, before: &Counts) -> Result<End, String> {
        self.disturb(cell);
        let request = self.way.request(&self.world);
        let id = self.world.client.link(request).await;
        let seen = self.watch(&id, cell.wrong.parks).await;
        let ended = end(&seen);
        if cell.wrong.parks {
            return Ok(ended);
        }
        self.world.sandbox.world().faults.clear();
        let mut link = seen.link;
        if link["status"] != "live" {
            self.world.client.retry(&id).await;
            link = self.watch(&id, false).await.link;
        }
        if link["status"] != "live" {
            return Err(format!("a retry does not mend it: {}", shown(&link)));
        }
        self.assert_one_of_each(before)?;
        let unlinked = self.unlinked(&id).await;
        match unlinked["status"] == "unlinked" {
            true => Ok(ended),
            false => Err(format!("it is not unlinked: {}", shown(&unlinked))),
        }
    }

    /// Takes a link back while the call is disturbed, and again when that did not succeed.
    async fn unlink(&self, cell: &Cell) -> Result<End, String> {
        let id = self.world.client.link(self.way.request(&self.world)).await;
        let live = self.watch(&id, false).await.link;
        assert_eq!(live["status"], "live", "{}", shown(&live));
        self.disturb(cell);
        let path = format!("/links/{id}");
        self.world.client.delete(&path).await.expect(202);
        let seen = self.watch(&id, cell.wrong.parks).await;
        let ended = end(&seen);
        if cell.wrong.parks || seen.link["status"] == "unlinked" {
            return Ok(ended);
        }
        self.world.sandbox.world().faults.clear();
        let again = self.unlinked(&id).await;
        match again["status"] == "unlinked" {
            true => Ok(ended),
            false => Err(format!("it cannot be unlinked: {}", shown(&again))),
        }
    }

    async fn unlinked(&self, id: &str) -> Value {
        let path = format!("/links/{id}");
        self.world.client.delete(&path).await.expect(202);
        self.watch(id, false).await.link
    }

    fn disturb(&self, cell: &Cell) {
        let place = Place {
            elsewhere: self.elsewhere.address.clone(),
        };
        let Call {
            upstream, method, ..
        } = &cell.call;
        let fault = cell.wrong.fault(&place);
        self.world.fault(
            json!({"upstream": upstream, "method": method, "path": cell.call.pattern(),
            "times": cell.wrong.times, "fault": fault}),
        );
    }

    /// Does what the link asks people for, until it is at rest; or until it waits.
    async fn watch(&self, id: &str, until_it_waits: bool) -> Seen {
        let client = &self.world.client;
        let mut waited = false;
        let mut link = client.glance(&format!("/links/{id}")).await;
        loop {
            until("the link to settle", async || {
                let steps = link["steps"].as_array().expect("steps").iter();
                let limited = |step: &Value| text(&step["reason"]).contains("rate limit");
                let mut waiting = steps.filter(|step| step["state"] == "waiting");
                waited |= waiting.any(limited);
                if link.get("poll_after_ms").is_none() || (waited && until_it_waits) {
                    return Some(());
                }
                let path = format!("/links/{id}?wait=5&after={}", link["version"]);
                link = client.glance(&path).await;
                None
            })
            .await;
            let action = &link["diagnosis"]["action"];
            if action.is_null() || (waited && until_it_waits) {
                break;
            }
            self.way.act(&self.world, action).await;
            match text(&action["then"]).as_str() {
                "by_retry" => drop(client.retry(id).await),
                _ => {
                    let version = link["version"].clone();
                    until("the link to see what was done", async || {
                        (client.glance(&format!("/links/{id}")).await["version"] != version)
                            .then_some(())
                    })
                    .await;
                }
            }
            link = client.glance(&format!("/links/{id}")).await;
        }
        Seen {
            retries: self.retries(id).await,
            link,
            waited,
        }
    }

    async fn retries(&self, id: &str) -> usize {
        let path = format!("/links/{id}/events?limit=100");
        let events = self.world.client.glance(&path).await;
        let events = events["events"].as_array().expect("events").iter();
        events
            .filter(|event| event["type"] == "step.retrying")
            .count()
    }

    fn counts(&self) -> Counts {
        let kinds = expected(self.way).map(|(kind, ..)| kind);
        kinds.map(|kind| (kind, self.world.count(kind))).into()
    }

    /// Each object was made once, and no commit was built twice to the end.
    fn assert_one_of_each(&self, before: &Counts) -> Result<(), String> {
        for (kind, made, _) in expected(self.way) {
            let (created, alive) = self.world.count(kind);
            let (created_before, alive_before) = before[kind];
            let (created, alive) = (created - created_before, alive.saturating_sub(alive_before));
            // The operator's key was made before; a key may come from stock.
            let made_now = match (kind, self.way.key) {
                ("deploy_keys", By::Operator) => 0,
                _ => made,
            };
            if created > made_now || alive > made_now {
                return Err(format!(
                    "{kind}: {created} made, {alive} alive, {made_now} needed"
                ));
            }
        }
        Ok(())
    }

    /// Nothing is left of what linkbroker made, and nobody else was told anything.
    fn assert_tidy(&self, before: &Counts) -> Result<(), String> {
        for (kind, made, left) in expected(self.way) {
            let alive = self.world.count(kind).1;
            let was = before[kind].1;
            if made != left && alive > was {
                return Err(format!("{kind}: {alive} are left, {was} were there before"));
            }
        }
        self.way.clear_what_people_made(&self.world);
        match self.elsewhere.visits.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err("another host was called".to_owned()),
        }
    }

    /// What the server holds in memory, in KiB; from now on its peak is a new one.
    fn begin_measuring(&self) -> u64 {
        let pid = self.world.server.pid();
        // Where that is not allowed, the peak is one of all cells.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
        self.memory("VmRSS:")
    }

    fn end_measuring(&self) -> u64 {
        self.memory("VmHWM:").max(self.memory("VmRSS:"))
    }

    fn memory(&self, field: &str) -> u64 {
        let pid = self.world.server.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.map_or(0, |kib| kib.parse().expect("a number"))
    }
}

/// By kind: made ever, and there now.
type Counts = BTreeMap<&'static str, (u64, u64)>;

fn end(seen: &Seen) -> End {
    let class = match text(&seen.link["status"]).as_str() {
        _ if seen.waited => Class::Waits,
        "live" | "unlinked" if seen.retries > 0 => Class::Retries,
        "live" | "unlinked" => Class::GoesOn,
        "action_required" => Class::Asks,
        "failed" => Class::Fails,
        "degraded" => Class::Degrades,
        other => panic!("{other}: {}", seen.link["diagnosis"]),
    };
    End {
        class,
        code: text(&seen.link["diagnosis"]["code"]),
    }
}

/// A wait may be over before a reader of the link has seen it: the pause in the calls shows it too.
fn with_pause(ended: End, cell: &Cell, calls: &[recorder::Call]) -> End {
    let may_wait = cell.wrong.ends.of(cell.call.kind()).contains(&Class::Waits);
    let next = calls[1..]
        .iter()
        .find(|call| call.upstream == calls[0].upstream);
    let paused = next.is_some_and(|next| next.started_ms - calls[0].ended_ms > PAUSE_MS);
    match ended.class {
        Class::GoesOn if may_wait && paused => End {
            class: Class::Waits,
            ..ended
        },
        _ => ended,
    }
}

fn shown(link: &Value) -> String {
    format!("{}: {}", text(&link["status"]), link["diagnosis"])
}

/// Somebody else's host: whoever calls it is counted.
struct Elsewhere {
    address: String,
    visits: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Elsewhere {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let visits = Arc::<AtomicUsize>::default();
        let counted = visits.clone();
        let listening = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            address,
            visits,
            listening,
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
