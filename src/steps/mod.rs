//! The saga: one file per step, each with `observe`, `ensure` and `undo`, in that order.
//!
//! - `observe` never changes anything: it answers what the step would make, when that is there.
//! - `ensure` makes it. The engine has committed the intent before, and calls `observe` first
//!   when an earlier try may have had its effect.
//! - `drift`, of the steps whose part of the world people can change, tells field by field where it is other than the link left
//!   it. It reads what `observe` reads, and changes nothing either.
//! - `undo` takes it back; absent counts as done; nothing foreign or shared is touched.
//!
//! Steps see the link's request and facts and the two upstreams, never the database.

mod align_webhook;
mod attach_repository;
mod create_site;
mod diagnose;
mod find_build;
mod install_deploy_key;
mod install_webhook;
mod installation;
mod live;
mod open_gate;
pub mod preflight;
mod prove_push;
mod replay_push;
mod reserve_deploy_key;
mod resolve_repository;
mod retire_key;
mod set_environment;
mod subscribe_notifications;
mod watch_deploy;

use std::time::{Duration, Instant};

use secrecy::SecretString;
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use crate::{
    config::Workers,
    link::resource::{Receipt, ResourceKind, Right},
    link::{
        access::AccessMode,
        action::{Action, Deed, GoesOn},
        builds::SeenBuild,
        drift::Drift,
        environment::Environment,
        facts::{DeployKey, Fact, Facts, Origin, Repository, Site},
        failure::{Failure, FailureCode, Severity},
        grant::Grants,
        plan::{Setup, StepName, Way},
        request::LinkSpec,
    },
    netlify::sites::CloneKey,
    providers::{Place, Provider},
    upstream::{Access, Class, StandingKey, UpstreamError, UpstreamKind},
};

/// What a step may know and use.
pub struct StepContext<'a> {
    /// The link's id.
    pub link: Uuid,
    /// Whose it is.
    pub tenant: &'a str,
    /// What tenants may do with credentials that are not their own.
    pub grants: &'a Grants,
    /// What the caller asked for.
    pub spec: &'a LinkSpec,
    /// What the link knows.
    pub facts: &'a Facts,
    /// The newest builds of the site as they were seen last, newest first.
    pub builds: &'a [SeenBuild],
    /// Whether the running builds of the site's team were looked at lately.
    pub patrolled: bool,
    /// The environment variables to set, with their values.
    pub environment: &'a Environment,
    /// Netlify.
    pub netlify: &'a Access,
    /// The git provider.
    pub provider: &'a dyn Provider,
    /// Which one it is.
    pub provider_kind: UpstreamKind,
    /// When the interrupted try was about to have its effect, in database time.
    pub intent_at: Option<OffsetDateTime>,
    /// When that try came to rest, in database time: what was made later is not its own.
    pub rested_at: Option<OffsetDateTime>,
    /// How long until the interrupted try's effect can surely be seen; absent when it can be already.
    pub settles_in: Option<Duration>,
    /// Database time, and when it was that.
    pub now: (OffsetDateTime, Instant),
    /// How long the step has been under way.
    pub elapsed: Duration,
    /// The operator's key that the link may use in place of one of its own.
    pub standing_key: Option<&'a StandingKey>,
    /// A deploy key that was taken from stock for this link.
    pub key_at_hand: Option<DeployKey>,
    /// Netlify's ids of the deploy keys that somebody has met lately; only for a look after a lost answer.
    pub known_deploy_keys: &'a [String],
    /// Netlify's ids of the sites that the link may mean and that other links, of any tenant, lean on.
    pub sites_of_others: &'a [String],
    /// Whether the provider was ever given the link's key.
    pub key_was_sent: bool,
    /// What the link may remove.
    pub rights: Vec<(ResourceKind, String, Right)>,
    /// Where Netlify is to tell us of the site's deploys.
    pub subscription: Option<&'a Subscription>,
    /// What the operator has set.
    pub setup: Setup,
    /// Whether the caller wants the site to stay.
    pub keep_site: bool,
    /// How patient to be.
    pub pace: Pace,
}

/// Where Netlify is to tell us of a site's deploys.
#[derive(Debug)]
pub struct Subscription {
    /// What it signs with.
    pub secret: SecretString,
    /// An address for each event.
    pub addresses: Vec<(String, Url)>,
}

/// How often to look and how long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// First pause between looks at a build.
    pub watch_min: Duration,
    /// Longest pause between looks at a build.
    pub watch_max: Duration,
    /// How long a replayed push may take to start a build.
    pub proof: Duration,
    /// How long a build may wait for its turn.
    pub queue: Duration,
}

impl Pace {
    /// As the operator has set it.
    pub const fn of(settings: &Workers) -> Self {
        Self {
            watch_min: settings.watch_min,
            watch_max: settings.watch_max,
            proof: settings.proof,
            queue: settings.queue,
        }
    }

    /// The next pause: half of the time that the build has taken so far, so the news is never
    /// older than half the build (limits.md A4), within the limits.
    pub fn pause(self, elapsed: Duration) -> Duration {
        (elapsed / 2).clamp(self.watch_min, self.watch_max)
    }
}

/// Why a step did not end well, now or ever.
#[derive(Debug)]
pub enum Halt {
    /// Healthy; come back later. Costs no attempt.
    Wait {
        /// After this long.
        after: Duration,
        /// What it waits for, for people.
        note: String,
        /// What it learned on the way.
        fact: Option<Box<Fact>>,
    },
    /// A passing failure.
    Retry {
        /// What happened.
        failure: Failure,
        /// Whether the effect may have taken place.
        uncertain: bool,
    },
    /// The effect of an interrupted try is not there, and may still come.
    Unsettled {
        /// Look again after this long.
        after: Duration,
    },
    /// An earlier step has to be done again first.
    Reopen {
        /// Which.
        step: StepName,
        /// What was learned.
        fact: Box<Fact>,
        /// Why.
        why: FailureCode,
    },
    /// The end, until a person has done what the failure's `action` says.
    Ask {
        /// What to do.
        failure: Failure,
        /// Whether the step's `observe` shows when it is done.
        looks_again: bool,
        /// What was learned on the way.
        fact: Option<Box<Fact>>,
    },
    /// The end, until somebody acts.
    Stop {
        /// What happened.
        failure: Failure,
        /// What was learned on the way.
        fact: Option<Box<Fact>>,
    },
}

impl Halt {
    fn wait(after: Duration, note: impl Into<String>) -> Self {
        Self::Wait {
            after,
            note: note.into(),
            fact: None,
        }
    }

    fn stop(code: FailureCode, detail: impl Into<String>) -> Self {
        Failure::new(code, detail).into()
    }
}

impl From<UpstreamError> for Halt {
    fn from(error: UpstreamError) -> Self {
        match error.class {
            Class::RateLimited { until } => {
                let rest = (until - OffsetDateTime::now_utc())
                    .try_into()
                    .unwrap_or_default();
                Self::wait(
                    rest,
                    format!(
                        "waits for {}'s rate limit to be reset",
                        error.trace.upstream
                    ),
                )
            }
            Class::Transient | Class::Uncertain => Self::Retry {
                uncertain: error.class == Class::Uncertain,
                failure: error.into(),
            },
            Class::NotFound | Class::Refused if error.code.severity() == Severity::Transient => {
                Self::Retry {
                    failure: error.into(),
                    uncertain: false,
                }
            }
            Class::NotFound | Class::Refused => Failure::from(error).into(),
        }
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Stop {
            failure,
            fact: None,
        }
    }
}

/// The objects that an undo let go of.
pub type Undone = Vec<(ResourceKind, String, Receipt)>;

macro_rules! dispatch {
    ($function:ident, $step:expr, $cx:expr) => {
        match $step {
            StepName::ResolveRepository => resolve_repository::$function($cx).await,
            StepName::ReserveDeployKey => reserve_deploy_key::$function($cx).await,
            StepName::InstallDeployKey => install_deploy_key::$function($cx).await,
            StepName::InstallWebhook => install_webhook::$function($cx).await,
            StepName::CreateSite => create_site::$function($cx).await,
            StepName::SetEnvironment => set_environment::$function($cx).await,
            StepName::AttachRepository => attach_repository::$function($cx).await,
            StepName::AlignWebhook => align_webhook::$function($cx).await,
            StepName::OpenGate => open_gate::$function($cx).await,
            StepName::SubscribeNotifications => subscribe_notifications::$function($cx).await,
            StepName::FindBuild => find_build::$function($cx).await,
            StepName::WatchDeploy => watch_deploy::$function($cx).await,
            StepName::ReplayPush => replay_push::$function($cx).await,
            StepName::ProvePush => prove_push::$function($cx).await,
            StepName::RetireKey => retire_key::$function($cx).await,
        }
    };
}

/// Looks for what the step would make.
pub async fn observe(step: StepName, cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    dispatch!(observe, step, cx)
}

/// Looks for what an interrupted try may have made, until it can surely be seen. A step that takes what was there has made nothing.
pub async fn settle(step: StepName, cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let takes = match step {
        StepName::CreateSite => cx.spec.site.id.is_some(),
        StepName::ReserveDeployKey => cx.standing_key.is_some(),
        _ => false,
    };
    if takes {
        return Ok(None);
    }
    match (observe(step, cx).await, cx.settles_in) {
        (Ok(None), Some(after)) => Err(Halt::Unsettled { after }),
        // With the site went whatever the try may have made there.
        (Err(Halt::Stop { failure, .. }), _) if failure.code == FailureCode::SiteGone => Ok(None),
        (found, _) => found,
    }
}

/// What is looked at before the effect: that no other repository has the name by now, and what an earlier try has brought about,
/// where there was one.
pub async fn look_first(
    step: StepName,
    cx: &StepContext<'_>,
    was_tried: bool,
) -> Result<Option<Fact>, Halt> {
    if is_placed_anew(step, cx) {
        cx.provider.check_name(cx.repository()?).await?;
    }
    if !was_tried {
        return Ok(None);
    }
    match (observe(step, cx).await?, cx.settles_in) {
        (None, Some(after)) => Err(Halt::Unsettled { after }),
        (found, _) => Ok(found),
    }
}

/// Brings the step's part of the world about.
pub async fn ensure(step: StepName, cx: &StepContext<'_>) -> Result<Fact, Halt> {
    dispatch!(ensure, step, cx)
}

/// Whether a key or a webhook is to be placed on the repository of a link that had one there. By then it may be long since
/// `resolve_repository` has seen whose the name is.
fn is_placed_anew(step: StepName, cx: &StepContext<'_>) -> bool {
    let is_on_repository = matches!(step, StepName::InstallDeployKey | StepName::InstallWebhook);
    is_on_repository && cx.facts.are_left_of(step)
}

/// Where the step's part of the world is other than the link left it. Steps that leave nothing behind have none.
pub async fn drift(step: StepName, cx: &StepContext<'_>) -> Result<Vec<Drift>, Halt> {
    match step {
        StepName::ResolveRepository => resolve_repository::drift(cx).await,
        StepName::InstallDeployKey => install_deploy_key::drift(cx).await,
        StepName::InstallWebhook => install_webhook::drift(cx).await,
        StepName::AttachRepository => attach_repository::drift(cx).await,
        StepName::SubscribeNotifications => subscribe_notifications::drift(cx).await,
        _ => Ok(Vec::new()),
    }
}

/// Takes the step's part of the world back.
pub async fn undo(step: StepName, cx: &StepContext<'_>) -> Result<Undone, Halt> {
    dispatch!(undo, step, cx)
}

impl StepContext<'_> {
    fn repository(&self) -> Result<&Repository, Halt> {
        known(self.facts.repository.as_ref(), "repository")
    }

    fn deploy_key(&self) -> Result<&DeployKey, Halt> {
        known(self.facts.deploy_key.as_ref(), "deploy key")
    }

    /// What the plan of the link depends on.
    fn way(&self) -> Way<'_> {
        Way {
            spec: self.spec,
            provider: self.provider.capabilities(),
            setup: self.setup,
            exchanges_key: self.facts.rotation.is_some(),
        }
    }

    /// How Netlify is to get at the repository.
    fn clone_key(&self) -> Result<CloneKey<'_>, Halt> {
        Ok(match self.spec.access {
            AccessMode::DeployKey => CloneKey::DeployKey(&self.deploy_key()?.id),
            AccessMode::InstallationId(id) => CloneKey::Installation(id),
        })
    }

    fn site(&self) -> Result<&Site, Halt> {
        known(self.facts.site.as_ref(), "site")
    }

    /// Whether another link leans on the site. Netlify shows a credential all sites of its teams, which tenants may share.
    fn is_of_another(&self, site: &str) -> bool {
        self.sites_of_others.iter().any(|other| other == site)
    }

    /// Whether the site outlives the link.
    fn stays(&self, site: &Site) -> bool {
        self.keep_site || self.right(ResourceKind::Site, &site.id) != Some(Right::Ours)
    }

    /// Whether an object at Netlify was made by the interrupted try.
    fn origin_at_netlify(&self, created_at: Option<OffsetDateTime>) -> Origin {
        self.origin(self.netlify.upstream_now(), created_at)
    }

    /// Whether an object at the provider was made by the interrupted try.
    fn origin_at_provider(&self, created_at: Option<OffsetDateTime>) -> Origin {
        self.origin(self.provider.now(), created_at)
    }

    /// Not before its intent, nor after it came to rest, by the clock of whoever says when it was made: that clock says `theirs`
    /// now. The intent is as old by it as by the database's.
    fn origin(&self, theirs: OffsetDateTime, created_at: Option<OffsetDateTime>) -> Origin {
        const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
        let (now, read_at) = self.now;
        let by_theirs = |at: OffsetDateTime| theirs - (now + read_at.elapsed() - at);
        let (Some(intent), Some(created)) = (self.intent_at.map(by_theirs), created_at) else {
            return Origin::Found;
        };
        let rested = self.rested_at.map(by_theirs);
        let is_since = created + CLOCKS_DIFFER >= intent;
        let is_until = rested.is_none_or(|rested| created <= rested + CLOCKS_DIFFER);
        match is_since && is_until {
            true => Origin::Made,
            false => Origin::Found,
        }
    }

    /// How the link may treat an object that it leans on. A site that the caller has named by its id was there, even if an earlier
    /// link had made it and was told to leave it.
    fn right(&self, kind: ResourceKind, id: &str) -> Option<Right> {
        let mine = self
            .rights
            .iter()
            .find(|(of, known, _)| *of == kind && known == id);
        mine.map(|(_, _, right)| match (kind, right) {
            (ResourceKind::Site, Right::Ours) if self.spec.site.id.is_some() => Right::Foreign,
            _ => *right,
        })
    }
}

/// Asks a person to do what no API does, and to come back or to be seen; `asked` is what the link remembers of it.
fn ask(asked: Fact, code: FailureCode, what: Deed, place: Place, then: GoesOn) -> Halt {
    let detail = match &what {
        Deed::PlaceDeployKey { .. } => {
            "Netlify reads the repository with this key; it may only read."
        }
        Deed::PlaceWebhook { .. } => "Netlify learns of pushes by this webhook.",
        Deed::PushCommit { .. } => "A build that a push starts is the proof of the link.",
    };
    let action = Action {
        what,
        page: place.page,
        account: place.account,
        then,
    };
    Halt::Ask {
        failure: Failure {
            action: Some(Box::new(action)),
            ..Failure::new(code, detail)
        },
        looks_again: then == GoesOn::BySeeing,
        fact: Some(Box::new(asked)),
    }
}

/// The plan's order guarantees it; a gap is a fault of ours and says so.
fn known<'a, T>(fact: Option<&'a T>, what: &str) -> Result<&'a T, Halt> {
    fact.ok_or_else(|| {
        Halt::stop(
            FailureCode::Internal,
            format!("the link does not know its {what}"),
        )
    })
}

/// Removes an object that is ours alone; says why it stays when it is not. Of what the link has let go of before there is nothing
/// more to say.
async fn remove(
    cx: &StepContext<'_>,
    kind: ResourceKind,
    id: &str,
    delete: impl Future<Output = Result<bool, UpstreamError>>,
) -> Result<Undone, Halt> {
    let Some(right) = cx.right(kind, id) else {
        return Ok(Vec::new());
    };
    let receipt = match right {
        Right::Shared => Receipt::KeptShared,
        Right::Foreign => Receipt::KeptForeign,
        Right::Ours if delete.await? => Receipt::Deleted,
        Right::Ours => Receipt::AlreadyGone,
    };
    Ok(vec![(kind, id.to_owned(), receipt)])
}
