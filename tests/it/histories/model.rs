//! What a caller may expect of a link, as docs/api.md tells it. It knows nothing of how the product does it: no steps, no workers,
//! no rows; only what the outside is like and what was asked.

use serde_json::Value;

/// The arrows between the statuses.
const ARROWS: [(&str, &[&str]); 12] = [
    (
        "queued",
        &[
            "linking",
            "failed",
            "action_required",
            "canceling",
            "unlinking",
        ],
    ),
    (
        "linking",
        &[
            "building",
            "live",
            "degraded",
            "failed",
            "action_required",
            "canceling",
            "unlinking",
        ],
    ),
    (
        "building",
        &[
            "live",
            "degraded",
            "build_failed",
            "failed",
            "action_required",
            "canceling",
            "unlinking",
        ],
    ),
    (
        "live",
        &[
            "linking",
            "building",
            "degraded",
            "build_failed",
            "unlinking",
        ],
    ),
    (
        "degraded",
        &["linking", "building", "live", "build_failed", "unlinking"],
    ),
    (
        "build_failed",
        &["linking", "building", "live", "degraded", "unlinking"],
    ),
    (
        "action_required",
        &["linking", "building", "canceling", "unlinking"],
    ),
    ("failed", &["linking", "building", "unlinking"]),
    ("canceling", &["canceled", "unlinking", "action_required"]),
    ("unlinking", &["unlinked", "action_required"]),
    ("canceled", &[]),
    ("unlinked", &[]),
];

/// Whether a link may go from one status straight to another.
pub fn may_move(from: &str, to: &str) -> bool {
    let arrows = ARROWS.iter().find(|(status, _)| *status == from);
    arrows.is_some_and(|(_, next)| next.contains(&to))
}

/// Where a link at rest goes at once when this was asked of it. Of its way back the worker tells that takes it.
pub fn moved_by(event: &str) -> Option<&'static str> {
    Some(match event {
        "link.retry_requested" | "link.heal_requested" | "link.key_rotation_requested" => "linking",
        "link.rebuild_requested" | "link.verify_requested" => "building",
        _ => return None,
    })
}

/// What a caller may ask of a link that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Retry,
    Cancel,
    Rebuild,
    Verify,
    Check,
    Heal,
    RotateKey,
    Unlink,
}

impl Verb {
    pub const ALL: [Self; 8] = [
        Self::Retry,
        Self::Cancel,
        Self::Rebuild,
        Self::Verify,
        Self::Check,
        Self::Heal,
        Self::RotateKey,
        Self::Unlink,
    ];

    pub const OF_DRIFT: [Self; 2] = [Self::Check, Self::Heal];

    /// Its place below the link's address; the link itself is deleted.
    pub const fn path(self) -> Option<&'static str> {
        Some(match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Rebuild => "rebuild",
            Self::Verify => "verify",
            Self::Check => "check",
            Self::Heal => "heal",
            Self::RotateKey => "rotate-key",
            Self::Unlink => return None,
        })
    }

    /// Whether it fits a link in this moment.
    fn fits(self, moment: &Moment, proves: bool) -> bool {
        let status = moment.status.as_str();
        let is_up = matches!(status, "live" | "degraded");
        match self {
            Self::Retry => status == "degraded" || STANDS_STILL.contains(&status),
            Self::Cancel => {
                let is_under_way = matches!(status, "queued" | "linking" | "building");
                (is_under_way || status == "action_required") && !moment.was_live
            }
            Self::Rebuild | Self::Check | Self::Heal | Self::RotateKey => {
                is_up || status == "build_failed"
            }
            Self::Verify => is_up && proves,
            // Asking once more for what is done already is no mistake.
            Self::Unlink => true,
        }
    }
}

/// Where a link stands still until somebody acts.
const STANDS_STILL: [&str; 3] = ["failed", "action_required", "build_failed"];

/// A link as it was once.
#[derive(Debug, Clone)]
pub struct Moment {
    pub status: String,
    /// Whether it was ever live until then.
    pub was_live: bool,
}

impl Moment {
    /// As an answer shows the link.
    pub fn of(link: &Value) -> Self {
        Self {
            status: link["status"].as_str().unwrap_or_default().to_owned(),
            was_live: !link["live_at"].is_null(),
        }
    }
}

/// What somebody has changed behind a link's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The repository's webhook was removed. A link may put that back by itself.
    Webhook,
    /// The site publishes another folder, perhaps on purpose.
    Folder,
}

/// How far it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nobody has looked.
    Unseen,
    /// A look was asked for.
    Sought,
    /// It stands in the link's drift.
    Told,
    /// It is being put back, or was so in passing; the next look says that it is gone.
    PutBack,
}

/// What the link depends on and nobody here decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outside {
    /// Netlify refuses to make the site.
    pub refuses_site: bool,
    /// The provider does not let the credential place keys.
    pub refuses_key: bool,
    /// The newest commit breaks the build.
    pub is_broken: bool,
}

/// What is known of a link.
#[derive(Debug, Clone)]
pub struct Link {
    /// Where it comes to rest, if nothing else is asked of it.
    rest: &'static str,
    /// Whether people have pushed, or something was put back in passing: of what came of that it hears sooner or later, whatever
    /// else is asked of it.
    pub may_hear: bool,
    /// Whether a push has to prove it.
    proves: bool,
    /// Whether it puts back by itself what is its own.
    heals: bool,
    /// What is other than it was.
    changed: Option<(Change, Known)>,
    has_site: bool,
    has_key: bool,
}

impl Link {
    /// A link that was just accepted.
    pub fn new(proves: bool, heals: bool, outside: Outside) -> Self {
        let mut link = Self {
            rest: "",
            may_hear: false,
            proves,
            heals,
            changed: None,
            has_site: false,
            has_key: false,
        };
        link.try_again(outside);
        link
    }

    /// Everything that is missing is made, as far as it is let.
    fn try_again(&mut self, outside: Outside) {
        self.has_site |= !outside.refuses_site;
        self.has_key |= !outside.refuses_key;
        match (self.has_site, self.has_key) {
            (false, _) => self.rest = "failed",
            (true, false) => self.rest = "action_required",
            (true, true) => self.is_built(outside),
        }
    }

    /// The newest commit is built.
    fn is_built(&mut self, outside: Outside) {
        self.rest = built(outside);
    }

    /// Whether this is where it comes to rest. What nobody has sought is found now and then, as by the look that confirms an
    /// earlier heal.
    pub fn rests_at(&self, status: &str) -> bool {
        let is_unseen = matches!(self.changed, Some((_, Known::Unseen)));
        status == self.rest || (is_unseen && self.rest == "live" && status == "degraded")
    }

    /// Whether it is over, or will be.
    pub fn is_given_up(&self) -> bool {
        matches!(self.rest, "unlinked" | "canceled")
    }

    /// Whether it is live, and nobody has changed anything.
    pub fn is_whole(&self) -> bool {
        self.rest == "live" && self.changed.is_none()
    }

    /// Whether something is other than it was, known or not.
    pub fn is_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// Whether what others have changed is being put back.
    pub fn is_put_back(&self) -> bool {
        matches!(self.changed, Some((_, Known::PutBack)))
    }

    /// Whether a verb may have been answered so in one of these moments.
    pub fn may_answer(&self, verb: Verb, accepted: bool, moments: &[Moment]) -> bool {
        let drift = self.changed.map(|(_, known)| known);
        match (verb, drift) {
            (Verb::Heal, None) => return !accepted,
            // It may be known already, or still.
            (Verb::Heal, Some(Known::Unseen | Known::Sought | Known::PutBack)) if !accepted => {
                return true;
            }
            _ => {}
        }
        let mut moments = moments.iter();
        moments.any(|moment| verb.fits(moment, self.proves) == accepted)
    }

    /// A verb was accepted; `told` is the status in the answer.
    pub fn accepted(&mut self, verb: Verb, told: &str, outside: Outside) {
        match verb {
            Verb::Retry => self.try_again(outside),
            Verb::Rebuild | Verb::Verify | Verb::RotateKey => self.is_built(outside),
            Verb::Check | Verb::Heal => {}
            Verb::Cancel => self.rest = "canceled",
            Verb::Unlink if told.starts_with("cancel") => self.rest = "canceled",
            Verb::Unlink => self.rest = "unlinked",
        }
        if let Some((change, known)) = self.changed.filter(|_| !self.is_given_up()) {
            self.now_is(change, self.after(verb, change, known));
        }
    }

    /// How far a change is known after a verb.
    fn after(&self, verb: Verb, change: Change, known: Known) -> Known {
        match (verb, change) {
            (Verb::Heal, _) | (Verb::Retry, Change::Webhook) => Known::PutBack,
            // Either sees that it is missing.
            (Verb::Check | Verb::Verify, Change::Webhook) if self.heals => Known::PutBack,
            (Verb::Check, _) | (Verb::Verify, Change::Webhook) if known == Known::Unseen => {
                Known::Sought
            }
            _ => known,
        }
    }

    fn now_is(&mut self, change: Change, known: Known) {
        self.changed = Some((change, known));
        self.may_hear |= known == Known::PutBack;
        self.rest = match known {
            Known::Unseen | Known::PutBack => "live",
            Known::Sought | Known::Told => "degraded",
        };
    }

    /// Somebody has changed something of a whole link.
    pub fn is_meddled_with(&mut self, change: Change) {
        self.now_is(change, Known::Unseen);
    }

    /// It rests where it was to, and tells of drift or not.
    pub fn rested(&mut self, has_drift: bool) {
        match self.changed {
            Some((_, known)) if known == Known::PutBack || self.is_given_up() => {
                self.changed = None;
            }
            Some((change, Known::Unseen | Known::Sought)) if has_drift => {
                self.now_is(change, Known::Told);
            }
            _ => {}
        }
    }

    /// A push has reached Netlify: a link whose site is built follows its builds.
    pub fn pushed(&mut self, outside: Outside) {
        if matches!(self.rest, "live" | "build_failed") {
            self.is_built(outside);
            self.may_hear = true;
        }
    }
}

/// Where a link rests whose newest build was of the newest commit.
const fn built(outside: Outside) -> &'static str {
    match outside.is_broken {
        true => "build_failed",
        false => "live",
    }
}
