//! A world in which cells are played, many at once: each has a link, a repository, a site and credentials of its own.

use std::collections::BTreeSet;
use std::iter::zip;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use linkbroker_sandbox::{FaultRule, Strikes, Upstream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::call::{Call, Phase, word};
use super::expected::{Class, End};
use super::table::Cell;
use super::wrong::Place;
use crate::kills::batch::{caught, told as shown};
use crate::kills::objects::{After, Totals, check};
use crate::kills::variant::{Stage, Subject, Variant};
use crate::world::{Answer, Setup, text};

/// Some calls are made only where a link is slower than another part of the service.
pub const NOT_MADE: &str = "the call was not made";

/// Longest wait for a link to get somewhere, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);
/// What was done by hand is seen in a fraction of this.
const SEEN_SOON: Duration = Duration::from_secs(30);
/// A call that was made is over within this.
const STRUCK_SOON: Duration = Duration::from_secs(8);
/// How much more memory a cell may cost the server, in KiB (limits.md, C3.6).
const MEMORY_KIB: u64 = 8 * 1024;
/// What cannot end well at once ends well after so many retries at most.
const RETRIES: usize = 3;

/// The world, and somebody else who listens.
pub struct Ground {
    stage: Stage,
    elsewhere: Elsewhere,
}

/// The two cells of one link: while it is made, while it is taken back.
pub type Pair = [Option<Cell>; 2];

/// How they ended, or what was broken.
pub type Ended = [Option<Result<End, String>>; 2];

/// What was seen of a link until it came to rest.
struct Seen {
    link: Value,
    retries: usize,
    waited: bool,
}

impl Ground {
    /// A world for links of this variant. Builds are pretended and nothing is waited for long.
    pub async fn open(variant: &'static Variant) -> Self {
        let settings = [
            ("LINKBROKER_CALL_TIMEOUT_SECONDS", "5"),
            ("LINKBROKER_PROOF_SECONDS", "10"),
            ("LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", "0"),
            ("LINKBROKER_QUOTA_LINKS_PER_MINUTE", "0"),
            ("LINKBROKER_QUOTA_LINKS_IN_FLIGHT", "0"),
        ];
        let limits = json!({"calls_per_hour": 1_000_000_000, "content_per_minute": 1_000_000, "content_per_hour": 1_000_000});
        let setup = Setup {
            settings: settings
                .map(|(name, value)| (name, value.to_owned()))
                .into(),
            switches: json!({"github": {"limits": limits}, "netlify": {
                "pretend_builds": true, "rate_limit_per_minute": 1_000_000, "concurrent_builds": 100, "key_stock": 16}}),
            ..Setup::default()
        };
        Self {
            stage: variant.stage_in(setup).await,
            elsewhere: Elsewhere::listen().await,
        }
    }

    /// The calls that every link makes when nothing goes wrong. Some are made only where a link is slower than another part of
    /// the service.
    pub async fn calls(&mut self) -> BTreeSet<Call> {
        let (one, other) = (self.calls_of_one().await, self.calls_of_one().await);
        for call in one.symmetric_difference(&other) {
            println!("made by chance: {}: {call}", word(call.upstream));
        }
        one.intersection(&other).cloned().collect()
    }

    async fn calls_of_one(&mut self) -> BTreeSet<Call> {
        let subject = &self.stage.subjects(1).await[0];
        let world = &self.stage.world;
        let count = || subject.way.calls(world).len();
        let before = count();
        let id = self.accepted(subject).await;
        let link = self.rest(subject, &id).await.link;
        assert_eq!(link["status"], "live", "{}", shown(&link));
        let linked = count();
        let path = format!("/links/{id}");
        self.ask(Method::DELETE, &path, &Value::Null)
            .await
            .expect(202);
        let link = self.rest(subject, &id).await.link;
        assert_eq!(link["status"], "unlinked", "{}", shown(&link));
        let phase = |number: usize| match number < linked {
            true => Phase::Link,
            false => Phase::Unlink,
        };
        let calls = subject.way.calls(world);
        let calls = calls.iter().enumerate().skip(before);
        calls
            .map(|(number, call)| Call::of(phase(number), call))
            .collect()
    }

    /// Plays the cells of some links at the same time.
    pub async fn play(&mut self, pairs: &[Pair]) -> Vec<Ended> {
        let before = Totals::of(&self.stage).await;
        let subjects = self.stage.subjects(pairs.len()).await;
        // A vendor that is busy with making keys is no fault of the table.
        self.stage.world.sandbox.warm_up().await;
        let memory = self.begin_measuring();
        let linking = zip(&subjects, pairs).map(|(subject, [cell, _])| self.link(subject, cell));
        let mut linked = join_all(linking.map(caught)).await;
        if linked.iter().all(Result::is_ok) {
            let totals = before.check(&self.stage, pairs.len(), After::Linking);
            blame_all(&mut linked, totals.await);
        }
        let links = zip(zip(&subjects, &linked), pairs);
        let unlinking = links.map(|((subject, link), [_, cell])| self.unlink(subject, link, cell));
        let mut unlinked = join_all(unlinking.map(caught)).await;
        if unlinked.iter().all(Result::is_ok) {
            let totals = before.check(&self.stage, pairs.len(), After::Unlinking);
            let harmless = self.harmless(memory, pairs.len());
            blame_all(&mut unlinked, totals.await.and(harmless));
        }
        let linked = linked.into_iter().map(|linked| linked.map(|(_, end)| end));
        let ended = zip(zip(linked, unlinked), pairs);
        ended
            .map(|((linked, unlinked), [making, taking])| {
                let linked = making.is_some().then_some(linked);
                [linked, taking.is_some().then_some(unlinked)]
            })
            .collect()
    }

    /// Makes a link while its call is disturbed, and mends what stood still.
    async fn link(&self, subject: &Subject, cell: &Option<Cell>) -> Result<(String, End), String> {
        let strikes = cell.as_ref().map(|cell| self.disturb(subject, cell));
        let id = self.accepted(subject).await;
        let seen = self.rest(subject, &id).await;
        let end = end(&seen, 0);
        let link = self.mend(subject, &id, seen.link, "live").await?;
        was_struck(strikes).await?;
        check(&self.stage, subject, &link, After::Linking)?;
        self.keeps_secrets(subject, &id).await?;
        Ok((id, end?))
    }

    /// Takes a link back while its call is disturbed, and again when that did not succeed.
    async fn unlink(
        &self,
        subject: &Subject,
        link: &Result<(String, End), String>,
        cell: &Option<Cell>,
    ) -> Result<End, String> {
        let Ok((id, _)) = link else {
            return Err("it was never made".to_owned());
        };
        let strikes = cell.as_ref().map(|cell| self.disturb(subject, cell));
        let before = self.retries(id).await;
        let path = format!("/links/{id}");
        self.ask(Method::DELETE, &path, &Value::Null)
            .await
            .expect(202);
        let seen = self.rest(subject, id).await;
        let end = end(&seen, before);
        let link = self.mend(subject, id, seen.link, "unlinked").await?;
        was_struck(strikes).await?;
        check(&self.stage, subject, &link, After::Unlinking)?;
        self.keeps_secrets(subject, id).await?;
        end
    }

    fn disturb(&self, subject: &Subject, cell: &Cell) -> Strikes {
        let secret = match cell.call.upstream {
            Upstream::Netlify => &subject.netlify,
            _ => &subject.provider,
        };
        let place = Place {
            elsewhere: &self.elsewhere.address,
            secret,
        };
        let fault = cell.wrong.fault(&place);
        let rule = FaultRule {
            credential: Some(secret.clone()),
            times: cell.wrong.times,
            ..FaultRule::next(
                cell.call.upstream,
                cell.call.method(),
                &cell.call.pattern,
                fault,
            )
        };
        self.stage.world.sandbox.add_fault(rule).expect("a rule")
    }

    /// What a person does about a link that stands still, until it has come to this end.
    async fn mend(
        &self,
        subject: &Subject,
        id: &str,
        mut link: Value,
        end: &str,
    ) -> Result<Value, String> {
        for _ in 0..RETRIES {
            if link["status"] == end {
                return Ok(link);
            }
            if link["diagnosis"]["code"] == "credential_refused" {
                // It was the vendor's mistake: the credential is as good as ever.
                for connection in &subject.connections {
                    let path = format!("{connection}/check");
                    self.ask(Method::POST, &path, &Value::Null)
                        .await
                        .expect(202);
                }
                self.changes(id, &link).await;
            }
            if self
                .get(&format!("/links/{id}"))
                .await
                .get("poll_after_ms")
                .is_none()
            {
                let path = format!("/links/{id}/retry");
                self.ask(Method::POST, &path, &Value::Null).await;
            }
            link = self.rest(subject, id).await.link;
        }
        match link["status"] == end {
            true => Ok(link),
            false => Err(format!(
                "retries do not bring it to be {end}: {}",
                shown(&link)
            )),
        }
    }

    /// Waits until the link is another than this, but not for ever.
    async fn changes(&self, id: &str, link: &Value) -> bool {
        let deadline = Instant::now() + SEEN_SOON;
        while Instant::now() < deadline {
            let path = format!("/links/{id}?wait=2&after={}", link["version"]);
            let now = self.get(&path).await;
            if now["version"] != link["version"] {
                return true;
            }
        }
        false
    }

    /// Does what the link asks people for, each thing once, until nothing changes by itself any more.
    async fn rest(&self, subject: &Subject, id: &str) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        let mut done = Vec::new();
        let mut waited = false;
        let mut link = self.get(&format!("/links/{id}")).await;
        loop {
            assert!(
                Instant::now() < deadline,
                "waited too long: {}",
                shown(&link)
            );
            waited |= waits(&link);
            if link.get("poll_after_ms").is_some() {
                let path = format!("/links/{id}?wait=5&after={}", link["version"]);
                link = self.get(&path).await;
                continue;
            }
            let action = &link["diagnosis"]["action"];
            let deed = text(&action["what"]["kind"]);
            let by_retry = action["then"] == "by_retry";
            if deed.is_empty()
                || (done.contains(&deed) && (by_retry || !self.changes(id, &link).await))
            {
                let retries = self.retries(id).await;
                return Seen {
                    link,
                    retries,
                    waited,
                };
            }
            if !done.contains(&deed) {
                done.push(deed);
                subject.way.act(&self.stage.world, action).await;
                if by_retry {
                    let path = format!("/links/{id}/retry");
                    self.ask(Method::POST, &path, &Value::Null)
                        .await
                        .expect(202);
                }
            }
            link = self.get(&format!("/links/{id}")).await;
        }
    }

    /// Asks as a patient caller: the database of a busy machine may be slow to answer.
    async fn ask(&self, method: Method, path: &str, body: &Value) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let client = &self.stage.world.client;
            let answer = client.send(method.clone(), path, |request| match body {
                Value::Null => request,
                body => request.json(body),
            });
            let answer = answer.await;
            if answer.status != 503 || Instant::now() > deadline {
                return answer;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Asks for a link; its id.
    async fn accepted(&self, subject: &Subject) -> String {
        let accepted = self.ask(Method::POST, "/links", &subject.request).await;
        accepted.expect(202).id()
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, &Value::Null)
            .await
            .expect(200)
            .body
    }

    async fn retries(&self, id: &str) -> usize {
        let path = format!("/links/{id}/events?limit=100");
        let events = self.get(&path).await;
        let events = events["events"].as_array().expect("events").iter();
        events
            .filter(|event| event["type"] == "step.retrying")
            .count()
    }

    /// Nothing that a caller may read of the link has its credentials in it.
    async fn keeps_secrets(&self, subject: &Subject, id: &str) -> Result<(), String> {
        for part in ["", "/events?limit=100", "/diagnosis", "/steps"] {
            let path = format!("/links/{id}{part}");
            let answer = self.ask(Method::GET, &path, &Value::Null).await.expect(200);
            for secret in [&subject.netlify, &subject.provider] {
                if has_word(&answer.text, secret) {
                    return Err(format!("{path} tells a credential"));
                }
            }
        }
        Ok(())
    }

    /// Nobody else was called, and no answer was kept in memory that is too large.
    fn harmless(&self, before: u64, links: usize) -> Result<(), String> {
        let more = self.memory("VmHWM:").saturating_sub(before);
        let allowed = MEMORY_KIB * links as u64;
        match self.elsewhere.visits.load(Ordering::Relaxed) {
            0 if more <= allowed => Ok(()),
            0 => Err(format!(
                "the server took {more} KiB of memory for {links} links"
            )),
            _ => Err("another host was called".to_owned()),
        }
    }

    /// What the server holds in memory, in KiB; from now on its peak is a new one.
    fn begin_measuring(&self) -> u64 {
        let pid = self.stage.world.server.pid();
        // Where that is not allowed, the peak is one of all cells.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> u64 {
        let pid = self.stage.world.server.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.map_or(0, |kib| kib.parse().expect("a number"))
    }
}

/// What is true of all links together says nothing of one.
fn blame_all<T>(results: &mut [Result<T, String>], verdict: Result<(), String>) {
    if let Err(why) = verdict {
        results
            .iter_mut()
            .for_each(|result| *result = Err(why.clone()));
    }
}

/// A strike counts once it is over, which may be after the link has come to its end.
async fn was_struck(strikes: Option<Strikes>) -> Result<(), String> {
    let Some(strikes) = strikes else {
        return Ok(());
    };
    let deadline = Instant::now() + STRUCK_SOON;
    while strikes.count() == 0 {
        if Instant::now() > deadline {
            return Err(NOT_MADE.to_owned());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn waits(link: &Value) -> bool {
    let steps = link["steps"].as_array().into_iter().flatten();
    let mut waiting = steps.filter(|step| step["state"] == "waiting");
    waiting.any(|step| text(&step["reason"]).contains("rate limit"))
}

fn end(seen: &Seen, retries_before: usize) -> Result<End, String> {
    let class = match text(&seen.link["status"]).as_str() {
        "live" | "unlinked" if seen.waited => Class::Waits,
        "live" | "unlinked" if seen.retries > retries_before => Class::Retries,
        "live" | "unlinked" => Class::GoesOn,
        "action_required" => Class::Asks,
        "failed" => Class::Fails,
        "degraded" => Class::Degrades,
        _ => return Err(format!("it ended as {}", shown(&seen.link))),
    };
    Ok(End {
        class,
        code: text(&seen.link["diagnosis"]["code"]),
    })
}

/// A token is none when it goes on: `token-1` is not in `token-12`.
fn has_word(text: &str, word: &str) -> bool {
    let mut found = text.match_indices(word);
    found.any(|(at, _)| !text[at + word.len()..].starts_with(|next: char| next.is_ascii_digit()))
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
