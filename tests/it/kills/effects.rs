//! The effects of a way: every writing call of a run without faults, so that a new call is among them by itself.

use linkbroker_sandbox::recorder::{Call, Upstream};
use regex::escape;
use serde_json::Value;

use super::points::{Intent, Log, Point};
use crate::world::text;

/// A writing call, as it is found again in another run.
#[derive(Debug, Clone)]
pub struct Effect {
    pub upstream: Upstream,
    pub method: String,
    /// Regular expression for its path.
    pub path: String,
    /// Which of the calls of this kind it is, counted from 1.
    pub nth: u64,
    /// How people know it.
    pub name: String,
    /// Of calls that are announced together the first one has it.
    pub intent: Option<Intent>,
}

impl Effect {
    /// Whether there is such a point.
    pub fn has(&self, point: Point) -> bool {
        let announced = matches!(point, Point::BeforeIntent | Point::AfterIntent);
        !announced || self.intent.is_some()
    }
}

/// What a run has shown: its calls in the order in which they began, who announced what, and which step wrote what.
pub struct Seen<'a> {
    pub calls: &'a [Call],
    pub log: &'a Log,
    /// The audit of the link, oldest first.
    pub audit: &'a [Value],
}

impl Seen<'_> {
    /// The effects while the link is made, or while it is taken back.
    pub fn effects(&self, undoing: bool) -> Vec<Effect> {
        let mut audit: Vec<&Value> = self.audit.iter().collect();
        let mut effects: Vec<Effect> = Vec::new();
        let writes = self
            .calls
            .iter()
            .filter(|call| call.method != "GET" && call.upstream != Upstream::NetlifyHooks);
        for call in writes {
            let step = take_step(&mut audit, call);
            let intent = match undoing {
                true => self.round(call),
                false => step.and_then(|step| self.intent(call, step)),
            };
            let is_first = effects.iter().all(|known| known.intent != intent);
            let path = pattern(call);
            let same = |known: &&Effect| known.path == path && known.method == call.method;
            effects.push(Effect {
                upstream: call.upstream,
                method: call.method.clone(),
                nth: 1 + effects.iter().filter(same).count() as u64,
                name: name(call),
                intent: intent.filter(|_| is_first),
                path,
            });
        }
        effects
    }

    fn intent(&self, call: &Call, step: String) -> Option<Intent> {
        let mut announced = self.log.steps.iter();
        let found = announced.any(|(at, running)| *running == step && *at <= call.started_ms);
        found.then_some(Intent::OfStep(step))
    }

    fn round(&self, call: &Call) -> Option<Intent> {
        let before = self.log.rounds.iter().filter(|at| **at <= call.started_ms);
        Some(Intent::OfRound(before.count())).filter(|round| *round != Intent::OfRound(0))
    }
}

/// The step that the audit names for a call.
fn take_step(audit: &mut Vec<&Value>, call: &Call) -> Option<String> {
    let path = call.path.split('?').next().unwrap_or_default();
    let is_of = |entry: &&Value| {
        let object = text(&entry["object"]);
        let object = object.split('?').next().unwrap_or_default();
        entry["step"].is_string() && entry["verb"] == call.method && path.ends_with(object)
    };
    let found = audit.iter().position(is_of)?;
    Some(text(&audit.remove(found)["step"]))
}

fn route(call: &Call) -> &str {
    let path = call.path.split('?').next().unwrap_or_default();
    call.route.as_deref().unwrap_or(path)
}

/// Regular expression for the path of a call in other runs, where ids differ.
pub fn pattern(call: &Call) -> String {
    let part = |part: &str| match part.starts_with('{') {
        true if part.starts_with("{*") => ".+".to_owned(),
        true => "[^/?]+".to_owned(),
        false => escape(part),
    };
    let parts: Vec<_> = route(call).split('/').map(part).collect();
    format!("^{}(\\?|$)", parts.join("/"))
}

/// Method and route below the vendor's base.
pub fn name(call: &Call) -> String {
    let known = [
        "/netlify/api/v1",
        "/github",
        "/gitlab/api/v4",
        "/gitea/api/v1",
        "/bitbucket/2.0",
        "/azure",
    ];
    let route = route(call);
    let short = known.iter().find_map(|prefix| route.strip_prefix(prefix));
    format!("{} {}", call.method, short.unwrap_or(route))
}
