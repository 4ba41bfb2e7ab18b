//! Drift: where an inspection found the world to be other than the link left it, and what may be done about it.
//!
//! What linkbroker placed itself (key, webhook, the site's identity) is put back by policy, because a link that says
//! `live` must build on push. What people change on purpose (branch, command, a detached site) is told and left alone
//! until somebody asks for it to be put back.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::{
    failure::{Failure, FailureCode},
    plan::StepName,
    words::text_enum,
};

text_enum! {
    /// What is other than it was; each at most once for a link.
    DriftKind {
        /// The repository has another name or owner.
        RepositoryRenamed "repository_renamed",
        /// Another repository stands where the link's was.
        RepositoryReplaced "repository_replaced",
        /// The repository is archived.
        RepositoryArchived "repository_archived",
        /// The repository is gone, or hidden from the credential.
        RepositoryUnreachable "repository_unreachable",
        /// The repository became public or private.
        VisibilityChanged "visibility_changed",
        /// The production branch is gone from the repository.
        BranchMissing "branch_missing",
        /// The credential may not look at the repository's keys and webhooks any more.
        RightsLost "rights_lost",
        /// The deploy key is not on the repository any more.
        KeyMissing "key_missing",
        /// The deploy key is on the repository, and switched off.
        KeyDisabled "key_disabled",
        /// The deploy key stops working soon.
        KeyExpiring "key_expiring",
        /// The repository has no webhook to Netlify any more.
        WebhookMissing "webhook_missing",
        /// The webhook is switched off.
        WebhookDisabled "webhook_disabled",
        /// The webhook does not tell what Netlify needs, or not as Netlify reads it, or it tells somebody else.
        WebhookChanged "webhook_changed",
        /// More than one webhook tells Netlify: every push builds as often.
        WebhookDoubled "webhook_doubled",
        /// Netlify does not tell linkbroker of the site's deploys.
        NotificationMissing "notification_missing",
        /// Netlify has stopped to tell linkbroker of the site's deploys, after failures.
        NotificationDisabled "notification_disabled",
        /// The site is gone.
        SiteGone "site_gone",
        /// Netlify keeps the site from building and serving.
        SiteDisabled "site_disabled",
        /// No repository is attached to the site.
        SiteUnlinked "site_unlinked",
        /// Another repository is attached to the site.
        SiteRelinked "site_relinked",
        /// The site has no key to clone with.
        CloneKeyMissing "clone_key_missing",
        /// The site clones with another key or installation.
        CloneKeyChanged "clone_key_changed",
        /// The site builds another branch for production.
        BranchChanged "branch_changed",
        /// The site builds on no push.
        BuildsStopped "builds_stopped",
        /// The build command is another.
        BuildCommandChanged "build_command_changed",
        /// The publish folder is another.
        BuildPublishChanged "build_publish_changed",
        /// The base folder is another.
        BuildBaseChanged "build_base_changed",
        /// The folder of functions is another.
        BuildFunctionsChanged "build_functions_changed",
        /// The package's folder is another.
        BuildPackagePathChanged "build_package_path_changed",
        /// Other branches are deployed.
        AllowedBranchesChanged "allowed_branches_changed",
        /// Netlify refuses the link's credential.
        NetlifyCredentialRefused "netlify_credential_refused",
        /// The git provider refuses the link's credential.
        ProviderCredentialRefused "provider_credential_refused",
        /// The credential of the link's connection to the git provider stops working soon.
        ProviderCredentialExpiring "provider_credential_expiring",
    }
}

text_enum! {
    /// Whether linkbroker can put it back.
    Healable {
        /// It does so by itself, when the link's policy is `heal`.
        ByPolicy "by_policy",
        /// When it is asked: a person may have done it on purpose.
        OnRequest "on_request",
        /// It cannot.
        No "no",
    }
}

text_enum! {
    /// What becomes of drift.
    DriftPolicy {
        /// It is told.
        Report "report",
        /// What linkbroker placed itself is put back; everything else is told.
        Heal "heal",
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "text_enum! has no place for #[default]"
)]
impl Default for DriftPolicy {
    fn default() -> Self {
        Self::Heal
    }
}

/// One thing that is other than it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What it is.
    pub kind: DriftKind,
    /// How the link left it.
    pub expected: Option<String>,
    /// How it was found.
    pub found: Option<String>,
    /// Whether it can be put back.
    pub healable: Healable,
    /// When it was first found like this.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// A heal that was begun, remembered so that a heal that does not last is not repeated for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Heal {
    /// Of what.
    pub kind: DriftKind,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = "date-time")]
    pub at: OffsetDateTime,
}

/// Heals of one kind within a day, before the drift is only told: somebody else is at work there.
const HEALS_A_DAY: usize = 3;

impl Drift {
    /// Found just now.
    pub fn new(kind: DriftKind, expected: Option<String>, found: Option<String>) -> Self {
        Self {
            kind,
            expected,
            found,
            healable: kind.healable(),
            since: OffsetDateTime::now_utc(),
        }
    }

    /// In a few words.
    pub fn told(&self) -> String {
        let field = self.kind.field();
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => format!("{field} is {found} instead of {expected}"),
            (Some(expected), None) => format!("{field} {expected} is gone"),
            (None, Some(found)) => format!("{field}: {found}"),
            (None, None) => format!("{field} differs"),
        }
    }

    /// Whether it is the same as was found before, though it may be for others to put back by now.
    pub fn is_same(&self, other: &Self) -> bool {
        let found = |drift: &Self| (drift.kind, drift.expected.clone(), drift.found.clone());
        found(self) == found(other)
    }
}

impl DriftKind {
    /// What of the link it is about.
    pub const fn field(self) -> &'static str {
        match self {
            Self::KeyMissing => "key",
            Self::KeyDisabled => "key.enabled",
            Self::KeyExpiring => "key.expires_at",
            Self::WebhookMissing => "webhook",
            Self::WebhookDisabled => "webhook.active",
            Self::WebhookChanged => "webhook.settings",
            Self::WebhookDoubled => "webhook.doubles",
            Self::NotificationMissing => "notifications",
            Self::NotificationDisabled => "notifications.enabled",
            Self::RepositoryRenamed => "repository.path",
            Self::RepositoryReplaced => "repository.id",
            Self::RepositoryArchived => "repository.archived",
            Self::RepositoryUnreachable => "repository",
            Self::VisibilityChanged => "repository.private",
            Self::BranchMissing => "repository.branch",
            Self::RightsLost => "repository.rights",
            Self::SiteGone => "site",
            Self::SiteDisabled => "site.disabled",
            Self::SiteUnlinked | Self::SiteRelinked => "site.repository",
            Self::CloneKeyMissing | Self::CloneKeyChanged => "site.key",
            Self::BranchChanged => "site.branch",
            Self::BuildsStopped => "site.stop_builds",
            Self::BuildCommandChanged => "build.command",
            Self::BuildPublishChanged => "build.publish",
            Self::BuildBaseChanged => "build.base",
            Self::BuildFunctionsChanged => "build.functions",
            Self::BuildPackagePathChanged => "build.package_path",
            Self::AllowedBranchesChanged => "allowed_branches",
            Self::NetlifyCredentialRefused => "connections.netlify",
            Self::ProviderCredentialRefused => "connections.provider",
            Self::ProviderCredentialExpiring => "connections.provider.expires_at",
        }
    }

    /// Whether it can be put back, as far as the kind alone tells.
    pub const fn healable(self) -> Healable {
        match self {
            Self::KeyMissing
            | Self::WebhookMissing
            | Self::WebhookDisabled
            | Self::WebhookChanged
            | Self::NotificationMissing
            | Self::NotificationDisabled
            | Self::CloneKeyMissing
            | Self::RepositoryRenamed => Healable::ByPolicy,
            Self::SiteUnlinked
            | Self::SiteRelinked
            | Self::CloneKeyChanged
            | Self::BranchChanged
            | Self::BuildsStopped
            | Self::BuildCommandChanged
            | Self::BuildPublishChanged
            | Self::BuildBaseChanged
            | Self::BuildFunctionsChanged
            | Self::BuildPackagePathChanged
            | Self::AllowedBranchesChanged
            | Self::VisibilityChanged => Healable::OnRequest,
            _ => Healable::No,
        }
    }

    /// Whether the link is not as it should be while this lasts. What only announces itself leaves it live, and what patrols
    /// make up for.
    pub const fn degrades(self) -> bool {
        !matches!(
            self,
            Self::KeyExpiring
                | Self::ProviderCredentialExpiring
                | Self::WebhookDoubled
                | Self::NotificationMissing
                | Self::NotificationDisabled
                | Self::VisibilityChanged
        )
    }

    /// Whether an upstream refuses a credential.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::NetlifyCredentialRefused | Self::ProviderCredentialRefused
        )
    }

    /// Whether the repository cannot be looked into, or takes no changes: what else differs there is not to be put back.
    pub const fn hides_more(self) -> bool {
        matches!(
            self,
            Self::RepositoryReplaced
                | Self::RepositoryUnreachable
                | Self::RepositoryArchived
                | Self::RightsLost
                | Self::ProviderCredentialRefused
                | Self::NetlifyCredentialRefused
        )
    }

    /// The steps that put it back. They look first, and do only what is missing.
    pub const fn mended_by(self) -> &'static [StepName] {
        use StepName::{
            AlignWebhook, AttachRepository, InstallDeployKey, InstallWebhook, ResolveRepository,
            SubscribeNotifications,
        };
        match self {
            Self::KeyMissing => &[InstallDeployKey],
            Self::WebhookMissing | Self::WebhookDisabled | Self::WebhookChanged => {
                &[InstallWebhook, AlignWebhook]
            }
            Self::NotificationMissing | Self::NotificationDisabled => &[SubscribeNotifications],
            Self::RepositoryRenamed | Self::VisibilityChanged => {
                &[ResolveRepository, AttachRepository]
            }
            _ => &[AttachRepository],
        }
    }

    /// Whether putting it back lets Netlify build, which the link then follows.
    pub const fn is_mended_by_a_build(self) -> bool {
        matches!(
            self,
            Self::SiteUnlinked | Self::SiteRelinked | Self::RepositoryRenamed
        )
    }

    /// Whether Netlify has deleted the site's key with it.
    pub const fn takes_the_key_along(self) -> bool {
        matches!(self, Self::SiteUnlinked | Self::SiteRelinked)
    }

    /// Whether pushes may have gone by unheard, so that the link has to be proven again.
    pub const fn casts_doubt_on_pushes(self) -> bool {
        matches!(
            self,
            Self::KeyMissing
                | Self::WebhookMissing
                | Self::WebhookDisabled
                | Self::WebhookChanged
                | Self::SiteUnlinked
                | Self::SiteRelinked
                | Self::CloneKeyMissing
                | Self::CloneKeyChanged
                | Self::BuildsStopped
                | Self::RepositoryRenamed
        )
    }
}

/// Why a link with this drift is degraded, when it is.
pub fn failure(drift: &[Drift]) -> Option<Failure> {
    let degrading = drift.iter().filter(|drift| drift.kind.degrades());
    let told: Vec<_> = degrading.map(Drift::told).collect();
    (!told.is_empty()).then(|| Failure::new(FailureCode::Drifted, told.join("; ")))
}

/// Something that stops working by itself at `end`, when it is near: within the least number of `days` that it is within.
pub fn expiring(
    kind: DriftKind,
    end: OffsetDateTime,
    days: &[u16],
    now: OffsetDateTime,
) -> Option<Drift> {
    let is_within = |days: &&u16| end - now < time::Duration::days(i64::from(**days));
    let within = days.iter().filter(is_within).min()?;
    let end = end.format(&Rfc3339).unwrap_or_default();
    let found = format!("{end}, in less than {within} days");
    Some(Drift::new(kind, None, Some(found)))
}

/// What was found now, with the time of what was found like this before.
pub fn since_when(found: Vec<Drift>, before: &[Drift]) -> Vec<Drift> {
    let since = |drift: Drift| {
        let known = before.iter().find(|known| drift.is_same(known));
        let since = known.map_or(drift.since, |known| known.since);
        Drift { since, ..drift }
    };
    found.into_iter().map(since).collect()
}

/// What the policy puts back by itself at this time.
pub fn to_heal(
    drift: &[Drift],
    policy: DriftPolicy,
    heals: &[Heal],
    now: OffsetDateTime,
) -> Vec<DriftKind> {
    if policy == DriftPolicy::Report {
        return Vec::new();
    }
    let healed_often = |kind| {
        let of_today = |heal: &&Heal| heal.kind == kind && now - heal.at < time::Duration::DAY;
        heals.iter().filter(of_today).count() >= HEALS_A_DAY
    };
    let by_policy = drift
        .iter()
        .filter(|drift| drift.healable == Healable::ByPolicy);
    let kinds = by_policy.map(|drift| drift.kind);
    kinds.filter(|kind| !healed_often(*kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heal_that_does_not_last_is_told_after_the_third_time() {
        let drift = [Drift::new(DriftKind::WebhookMissing, None, None)];
        let now = OffsetDateTime::now_utc();
        let heal = |hours| Heal {
            kind: DriftKind::WebhookMissing,
            at: now - time::Duration::hours(hours),
        };
        let of = |heals: &[Heal]| to_heal(&drift, DriftPolicy::Heal, heals, now).len();
        assert_eq!(of(&[heal(1), heal(2)]), 1);
        assert_eq!(of(&[heal(1), heal(2), heal(3)]), 0);
        assert_eq!(of(&[heal(1), heal(2), heal(25)]), 1);
        assert!(to_heal(&drift, DriftPolicy::Report, &[], now).is_empty());
    }

    #[test]
    fn an_end_is_announced_once_for_each_number_of_days() {
        let now = OffsetDateTime::now_utc();
        let found = |hours| {
            let end = now + time::Duration::hours(hours);
            let drift = expiring(DriftKind::KeyExpiring, end, &[14, 3, 1], now)?;
            drift
                .found?
                .split_once(", ")
                .map(|(_, within)| within.to_owned())
        };
        let said = |days| Some(format!("in less than {days} days"));
        assert_eq!(found(15 * 24), None);
        assert_eq!(found(13 * 24), said(14));
        assert_eq!(found(4 * 24), said(14));
        assert_eq!(found(2 * 24), said(3));
        assert_eq!(found(23), said(1));
        assert_eq!(found(-5), said(1));
    }

    #[test]
    fn what_lasts_keeps_its_time() {
        let before = Drift {
            since: OffsetDateTime::UNIX_EPOCH,
            ..Drift::new(
                DriftKind::BranchChanged,
                Some("main".into()),
                Some("next".into()),
            )
        };
        let same = Drift::new(
            DriftKind::BranchChanged,
            Some("main".into()),
            Some("next".into()),
        );
        let other = Drift::new(
            DriftKind::BranchChanged,
            Some("main".into()),
            Some("dev".into()),
        );
        let known = [before.clone()];
        assert_eq!(since_when(vec![same], &known), [before]);
        assert_eq!(since_when(vec![other.clone()], &known), [other]);
    }
}
