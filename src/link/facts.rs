//! What a link knows about the world: the objects that its steps found or made.
//!
//! Facts are what one step hands to the next. They hold ids and public data, never a secret.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::{
    drift::{Drift, DriftKind, Heal},
    failure::Failure,
    plan::StepName,
    request::BuildSettings,
    resource::{Receipt, ResourceKind},
};

/// The repository as its provider describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repository {
    /// Host of the provider instance, e.g. `github.com`.
    pub host: String,
    /// The provider's lasting id, as text: a number of GitHub's, a UUID in braces of Bitbucket's, the
    /// GUIDs of project and repository, joined by a slash, of Azure DevOps'.
    pub id: String,
    /// The provider's own spelling of owner and name, e.g. `acme/docs`; Azure DevOps': organisation, project, name.
    pub path: String,
    /// Address for people.
    pub web_url: String,
    /// Address that Netlify clones from.
    pub ssh_url: String,
    /// Whether anonymous people cannot read it.
    pub private: bool,
    /// The branch that the link builds.
    pub branch: String,
}

/// Netlify's key pair of the link; the private half never leaves Netlify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeployKey {
    /// Netlify's id, 24 hexadecimal digits.
    pub id: String,
    /// One line in OpenSSH form.
    pub public_key: String,
    /// Whether it is the operator's and stands on a service account: many links may use it, and none removes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standing: bool,
}

/// The public half of the deploy key, installed at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstalledKey {
    /// The provider's id.
    pub id: String,
    /// Netlify's id of the pair that it belongs to.
    pub deploy_key_id: String,
    /// When the provider stops taking it; absent where keys do not expire.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

/// The webhook by which the provider tells Netlify about pushes; one per repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// The provider's id.
    pub id: String,
    /// Where deliveries go.
    pub url: String,
}

/// The site on Netlify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    /// Netlify's id.
    pub id: String,
    /// Name, unique across Netlify.
    pub name: String,
    /// Address that visitors use.
    pub url: String,
    /// Address of the site's page in Netlify's dashboard.
    pub admin_url: String,
    /// Slug of the team that owns it.
    pub team: String,
}

/// How a site that was there stood before the link touched it: what unlinking puts back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteBefore {
    /// The repository that was attached to it, if one was.
    pub repository: Option<AttachedRepository>,
    /// How it was built.
    pub build: BuildSettings,
    /// Branches that Netlify built; empty: every branch.
    pub allowed_branches: Vec<String>,
    /// Netlify's ids of the builds that it had: none of them is ours.
    pub builds: Vec<String>,
    /// Names of the environment variables that it had; read only when the link sets some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
}

/// A repository as a site knew it, in the words of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedRepository {
    /// Netlify's word for the provider.
    pub provider: String,
    /// Netlify's name of the repository: owner and name, or an SSH address.
    pub path: String,
    /// Production branch.
    pub branch: Option<String>,
    /// The key pair that it was cloned with.
    pub deploy_key_id: Option<String>,
    /// The app installation that it was cloned with.
    pub installation_id: Option<u64>,
}

/// An environment variable that the link set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetVariable {
    /// Its name.
    pub name: String,
    /// Whether the site had it before; its value was another then.
    pub origin: Origin,
}

/// A hook by which Netlify tells us of a site's deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationHook {
    /// Netlify's id.
    pub id: String,
    /// What it tells.
    pub event: String,
}

/// What Netlify answered when the repository was attached to the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// Where Netlify wants the provider's webhook to point.
    pub deploy_hook: Option<String>,
    /// Build that Netlify started by itself, when the answer names one.
    pub build_id: Option<String>,
    /// Deploy that the answer names or that its deploy address begins with; unconfirmed.
    pub deploy_id: Option<String>,
}

/// A build and the deploy that it makes, with Netlify's own states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// Netlify's id of the build.
    pub id: String,
    /// Netlify's id of the deploy that the build makes.
    pub deploy_id: String,
}

/// A deploy as Netlify describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deploy {
    /// Netlify's id.
    pub id: String,
    /// Netlify's id of the build behind it; absent for file uploads.
    pub build_id: Option<String>,
    /// Netlify's own word, e.g. `building`, `ready`, `error`; new words may appear.
    pub state: String,
    /// `production`, `branch-deploy` or `deploy-preview`.
    pub context: Option<String>,
    /// Branch that was built.
    pub branch: Option<String>,
    /// Commit that was built; present as soon as the clone worked.
    pub commit_ref: Option<String>,
    /// Netlify's own error text.
    pub error_message: Option<String>,
    /// Address of exactly this deploy.
    pub url: Option<String>,
    /// RFC 3339, by Netlify's clock.
    pub created_at: Option<String>,
    /// RFC 3339, by Netlify's clock; absent when it was not published.
    pub published_at: Option<String>,
    /// Seconds that it took; absent until it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_time: Option<i64>,
    /// Title of the build; ours when we started it.
    #[serde(default)]
    pub title: Option<String>,
    /// What started it: `git` for a push, `api` for a call; new words may appear.
    #[serde(default)]
    pub source: Option<String>,
    /// Whether Netlify decided not to build.
    #[serde(default)]
    pub skipped: bool,
    /// Whether Netlify refused to build because it does not know who pushed.
    #[serde(default)]
    pub unknown_contributor: bool,
}

/// The push that the provider was asked to send again, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proof {
    /// Netlify's ids of the site's builds before the replay; another one is the proof.
    pub known_builds: Vec<String>,
    /// Build that the replayed push started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// The deploy of that build as it was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Deploy>,
    /// 0 installed, 1 delivered, 2 built from a push, 3 deployed from a push.
    pub level: u8,
    /// Whether no push was replayed, because the provider replays only those to another branch: the next one of people is
    /// the proof.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_people: bool,
    /// Builds of pushes from before this time prove nothing; set when a link is to be proven once more.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<OffsetDateTime>,
    /// The branch's commit when a push began to be awaited; where it is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// A push since then that has started no build so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbuilt: Option<UnbuiltPush>,
}

/// A push that Netlify has not built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnbuiltPush {
    /// The branch's commit since the push.
    pub commit: String,
    /// When it was seen first.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = "date-time")]
    pub seen_at: OffsetDateTime,
}

/// A build that the link followed once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedBuild {
    /// The build.
    pub build: Build,
    /// Its deploy as it was seen last.
    pub deploy: Option<Deploy>,
}

/// A key that is on its way out of the link: another has taken its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The pair that goes; absent when there is none any more.
    pub key: Option<DeployKey>,
    /// Its public half at the provider.
    pub installed: Option<InstalledKey>,
    /// The build that the link followed before, to be shown again should the new key fail.
    pub build: Option<EndedBuild>,
    /// Why nothing can be cloned with it, so that it never takes its place back: the new one failed, or Netlify has deleted it.
    pub useless: Option<Failure>,
}

/// How a rotation of the key ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rotated {
    /// When, in the service's time.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = "date-time")]
    pub at: OffsetDateTime,
    /// Why the link kept the key that it had; absent when it has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A build that the caller asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBuild {
    /// Title that no other build has: by it an interrupted try is found again.
    pub title: String,
    /// Whether the build begins from nothing.
    pub clear_cache: bool,
    /// Netlify's id, once Netlify has started it.
    pub id: Option<String>,
}

/// Everything that a link knows about the world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Set by `resolve_repository`.
    pub repository: Option<Repository>,
    /// When `resolve_repository` saw that the repository has no webhook to Netlify; absent when it has one, or was not asked.
    #[serde(
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub no_webhook_at: Option<OffsetDateTime>,
    /// Set by `reserve_deploy_key`.
    pub deploy_key: Option<DeployKey>,
    /// Netlify's ids of keys that the provider would not take because they are in use elsewhere.
    pub refused_keys: Vec<String>,
    /// Set by `install_deploy_key`.
    pub installed_key: Option<InstalledKey>,
    /// Set by `install_webhook`.
    pub webhook: Option<Webhook>,
    /// Set by `create_site`.
    pub site: Option<Site>,
    /// Set by `create_site` when the site was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_before: Option<SiteBefore>,
    /// Set by `set_environment`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<SetVariable>,
    /// Set by `attach_repository`.
    pub attachment: Option<Attachment>,
    /// Set by `subscribe_notifications`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<NotificationHook>,
    /// Set by `find_build`.
    pub build: Option<Build>,
    /// Builds that the link followed before, oldest first; none of them is news.
    pub ended_builds: Vec<EndedBuild>,
    /// Set by a rebuild: `find_build` starts this one.
    pub asked_build: Option<AskedBuild>,
    /// Set by `watch_deploy`, and by `find_build` when it saw the deploy.
    pub deploy: Option<Deploy>,
    /// Set by `replay_push` and `prove_push`.
    pub proof: Option<Proof>,
    /// Steps whose part a person was asked to do and linkbroker cannot see done: the next try takes it as done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<StepName>,
    /// What the last inspection found to be other than the link left it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// What is being put back; its steps are at work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub healing: Vec<DriftKind>,
    /// The key that another is taking the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// How the key was last exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Rotated>,
    /// Heals of the last days, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heals: Vec<Heal>,
    /// What a newer version has noted, which may work beside this one: kept as it is, because the document is written as a whole.
    #[serde(flatten)]
    pub of_newer_versions: Map<String, Value>,
}

/// Who made an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// One of our links made it.
    Made,
    /// It was there before.
    Found,
}

/// One thing that a step learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The repository exists and may be linked; since when it is known to have no webhook to Netlify.
    Repository(Repository, Option<OffsetDateTime>),
    /// The link has a key pair.
    DeployKey(DeployKey),
    /// The provider will not take the link's key: it is in use elsewhere.
    DeployKeyRefused,
    /// The public half is on the repository.
    InstalledKey(InstalledKey, Origin),
    /// The webhook is on the repository; what became of the one that it takes the place of.
    Webhook(Webhook, Origin, Option<Receipt>),
    /// The site exists.
    Site(Site, Origin),
    /// The site was there.
    SiteThatWas(Site, Box<SiteBefore>),
    /// The site has its environment variables.
    Environment(Vec<SetVariable>),
    /// The site knows its repository.
    Attachment(Attachment),
    /// Netlify tells us of the site's deploys, unless there are none of these.
    Notifications(Vec<NotificationHook>),
    /// The first build is known, and its deploy as far as it was seen.
    Build(Build, Option<Deploy>),
    /// Netlify has started the build that the caller asked for.
    AskedBuild(AskedBuild),
    /// The deploy moved on.
    Deploy(Deploy),
    /// The proof moved on.
    Proof(Proof),
    /// A person was asked to do the part of this step.
    Asked(StepName),
    /// The key that another took the place of is gone; what became of its halves.
    KeyRetired(Vec<(ResourceKind, String, Receipt)>),
    /// Nothing that later steps need.
    Nothing,
}

/// Ended builds that a link remembers.
const ENDED_BUILDS_MAX: usize = 10;

impl Deploy {
    /// When it was started.
    pub fn made_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.created_at.as_deref()?, &Rfc3339).ok()
    }
}

impl Facts {
    /// Whether something is there that a step has made, be it for the key before.
    pub fn are_left_of(&self, step: StepName) -> bool {
        let rotation = self.rotation.as_ref();
        match step {
            StepName::ReserveDeployKey => {
                self.deploy_key.is_some()
                    || !self.refused_keys.is_empty()
                    || rotation.is_some_and(|it| it.key.is_some())
            }
            StepName::InstallDeployKey => {
                self.installed_key.is_some() || rotation.is_some_and(|it| it.installed.is_some())
            }
            StepName::InstallWebhook => self.webhook.is_some(),
            StepName::CreateSite => self.site.is_some(),
            StepName::SetEnvironment => !self.environment.is_empty(),
            StepName::AttachRepository => self.attachment.is_some(),
            StepName::SubscribeNotifications => !self.notifications.is_empty(),
            _ => false,
        }
    }

    /// Makes room for another build to follow; the one so far becomes history.
    pub fn end_build(&mut self) {
        let deploy = self.deploy.take();
        let ended = self.build.take().map(|build| EndedBuild { build, deploy });
        self.ended_builds.extend(ended);
        let surplus = self.ended_builds.len().saturating_sub(ENDED_BUILDS_MAX);
        self.ended_builds.drain(..surplus);
        self.asked_build = None;
    }

    /// Makes room for another key; the one so far goes once the new one is proven, or at once when it is `useless`.
    pub fn retire_key(&mut self, useless: Option<Failure>) {
        self.rotation = Some(Rotation {
            key: self.deploy_key.take(),
            installed: self.installed_key.take(),
            build: self.build.clone().map(|build| EndedBuild {
                build,
                deploy: self.deploy.clone(),
            }),
            useless,
        });
    }

    /// The new key has failed: the old one takes its place back, and the new one goes.
    pub fn keep_old_key(&mut self, failure: Failure) {
        let Some(rotation) = &mut self.rotation else {
            return;
        };
        std::mem::swap(&mut rotation.key, &mut self.deploy_key);
        std::mem::swap(&mut rotation.installed, &mut self.installed_key);
        rotation.useless = Some(failure);
        let before = rotation.build.take();
        self.end_build();
        if let Some(before) = before {
            self.ended_builds
                .retain(|ended| ended.build != before.build);
            self.build = Some(before.build);
            self.deploy = before.deploy;
        }
    }

    /// Whether something is other than it should be.
    pub fn is_degraded(&self) -> bool {
        self.drift.iter().any(|drift| drift.kind.degrades())
    }

    /// Takes over what a step learned; tells whether it was news.
    pub fn learn(&mut self, fact: Fact) -> bool {
        let before = self.clone();
        match fact {
            Fact::Repository(it, no_webhook_at) => {
                self.repository = Some(it);
                self.no_webhook_at = no_webhook_at;
            }
            Fact::DeployKey(it) => self.deploy_key = Some(it),
            Fact::DeployKeyRefused => self
                .refused_keys
                .extend(self.deploy_key.take().map(|key| key.id)),
            Fact::InstalledKey(it, _) => {
                self.asked
                    .retain(|step| *step != StepName::InstallDeployKey);
                self.installed_key = Some(it);
            }
            Fact::Webhook(it, ..) => {
                self.asked.retain(|step| *step != StepName::InstallWebhook);
                self.webhook = Some(it);
            }
            Fact::Site(it, _) => self.site = Some(it),
            Fact::SiteThatWas(it, before) => {
                self.site = Some(it);
                // A later look sees what we made of it.
                self.site_before.get_or_insert(*before);
            }
            Fact::Environment(it) => self.environment = it,
            Fact::Attachment(it) => self.attachment = Some(it),
            Fact::Notifications(it) => self.notifications = it,
            Fact::Build(it, deploy) => {
                self.build = Some(it);
                self.deploy = deploy;
            }
            Fact::AskedBuild(it) => self.asked_build = Some(it),
            Fact::Deploy(it) => self.deploy = Some(it),
            Fact::Proof(it) => self.proof = Some(it),
            Fact::Asked(step) => {
                self.asked.retain(|asked| *asked != step);
                self.asked.push(step);
            }
            Fact::KeyRetired(_) => {
                self.rotated = self.rotation.take().map(|rotation| Rotated {
                    at: OffsetDateTime::now_utc(),
                    failure: rotation.useless,
                });
            }
            Fact::Nothing => {}
        }
        *self != before
    }
}
