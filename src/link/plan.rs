//! The plan of a link as a table: which steps there are, what each needs first, when one is skipped.

use super::{
    capabilities::Capabilities,
    request::{LinkSpec, Verify},
    words::text_enum,
};

text_enum! {
    /// A step of a link, in the order in which people think of them.
    StepName {
        /// Reads the repository: id, privacy, branch, rights.
        ResolveRepository "resolve_repository",
        /// Gets a key pair at Netlify.
        ReserveDeployKey "reserve_deploy_key",
        /// Puts the public half on the repository.
        InstallDeployKey "install_deploy_key",
        /// Makes the provider tell Netlify about pushes.
        InstallWebhook "install_webhook",
        /// Makes the bare site.
        CreateSite "create_site",
        /// Gives the site its environment variables.
        SetEnvironment "set_environment",
        /// Tells the site its repository, which starts the first build.
        AttachRepository "attach_repository",
        /// Points the webhook to where the attached site wants it.
        AlignWebhook "align_webhook",
        /// Lets the attached site build.
        OpenGate "open_gate",
        /// Has Netlify tell us of the site's deploys.
        SubscribeNotifications "subscribe_notifications",
        /// Finds the first build and its deploy.
        FindBuild "find_build",
        /// Follows the deploy to its end.
        WatchDeploy "watch_deploy",
        /// Has the provider send its last push again.
        ReplayPush "replay_push",
        /// Sees a build start from the replayed push.
        ProvePush "prove_push",
        /// Removes the key that another has taken the place of.
        RetireKey "retire_key",
    }
}

use StepName::{
    AlignWebhook, AttachRepository, CreateSite, FindBuild, InstallDeployKey, InstallWebhook,
    OpenGate, ProvePush, ReplayPush, ReserveDeployKey, ResolveRepository, RetireKey,
    SetEnvironment, SubscribeNotifications, WatchDeploy,
};

/// What a step does to the world, which says what the engine owes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Only looks: needs no intent and leaves nothing behind.
    Looks,
    /// Causes something that ends by itself: needs an intent, leaves nothing to take back.
    Acts,
    /// Makes something that stays: needs an intent and has an undo.
    Makes,
}

/// One row of the plan.
#[derive(Debug)]
pub struct PlannedStep {
    /// The step.
    pub name: StepName,
    /// What it does to the world.
    pub nature: Nature,
    needs: fn(&Way<'_>) -> &'static [StepName],
    skip: fn(&Way<'_>) -> bool,
}

/// What the plan of a link depends on.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// What the caller asked for.
    pub spec: &'a LinkSpec,
    /// What can be done at the provider.
    pub provider: Capabilities,
    /// Whether the link exchanges its key.
    pub exchanges_key: bool,
    /// What the operator has set.
    pub setup: Setup,
}

/// What the operator has set that changes the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setup {
    /// Whether the service has an address at which Netlify can tell it of deploys.
    pub is_notified: bool,
    /// How first builds start.
    pub first_build: FirstBuild,
}

/// How the first build of a link starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FirstBuild {
    /// Netlify starts it by itself when the repository is attached.
    #[default]
    Attach,
    /// The site is kept from building until everything is in place; the replayed push starts it then, and proves itself.
    Gate,
}

impl Way<'_> {
    /// Whether the provider can be had to send the last push again. Deliveries to Netlify's own app are Netlify's.
    pub fn replays_pushes(&self) -> bool {
        self.provider.replays_pushes && !by_installation(self)
    }

    /// Whether the site is kept from building until the replayed push can start the first build.
    pub fn is_gated(&self) -> bool {
        self.setup.first_build == FirstBuild::Gate
            && self.spec.verify == Verify::Push
            && self.replays_pushes()
    }

    /// The steps that must be done or skipped before this one begins.
    pub fn needs(&self, step: StepName) -> &'static [StepName] {
        (step.planned().needs)(self)
    }

    /// Whether a step needs another, be it by way of steps that the link goes without.
    pub fn builds_on(&self, step: StepName, other: StepName) -> bool {
        let mut needs = self.needs(step).iter();
        needs.any(|need| *need == other || self.builds_on(*need, other))
    }

    /// Whether the link goes without this step.
    pub fn skips(&self, step: StepName) -> bool {
        (step.planned().skip)(self)
    }
}

const fn step(
    name: StepName,
    nature: Nature,
    needs: fn(&Way<'_>) -> &'static [StepName],
) -> PlannedStep {
    PlannedStep {
        name,
        nature,
        needs,
        skip: |_| false,
    }
}

impl PlannedStep {
    const fn unless(self, skip: fn(&Way<'_>) -> bool) -> Self {
        Self { skip, ..self }
    }
}

use Nature::{Acts, Looks, Makes};

/// A person is asked only once the site is up: the webhook's address may be the site's own, and a push proves it.
fn needs_of_webhook(way: &Way<'_>) -> &'static [StepName] {
    let can = way.provider;
    match (can.installs_webhooks, can.site_has_own_webhook) {
        (false, _) => &[WatchDeploy],
        (true, true) => &[AttachRepository],
        (true, false) => &[ResolveRepository, ReserveDeployKey],
    }
}

fn needs_of_attachment(way: &Way<'_>) -> &'static [StepName] {
    let can = way.provider;
    match can.installs_webhooks && !can.site_has_own_webhook {
        true => &[InstallDeployKey, InstallWebhook, SetEnvironment],
        false => &[InstallDeployKey, SetEnvironment],
    }
}

/// Netlify's GitHub App needs neither key nor webhook, and a webhook beside it would build twice or not at all.
fn by_installation(way: &Way<'_>) -> bool {
    way.spec.access.installation_id().is_some()
}

fn has_no_environment(way: &Way<'_>) -> bool {
    way.spec.env.is_empty()
}

fn has_no_gate(way: &Way<'_>) -> bool {
    !way.is_gated()
}

fn needs_of_build(way: &Way<'_>) -> &'static [StepName] {
    match way.is_gated() {
        true => &[ReplayPush],
        false => &[AttachRepository],
    }
}

fn needs_of_replay(way: &Way<'_>) -> &'static [StepName] {
    match way.is_gated() {
        true => &[OpenGate],
        false => &[AlignWebhook, WatchDeploy],
    }
}

fn needs_of_proof(way: &Way<'_>) -> &'static [StepName] {
    match way.is_gated() {
        true => &[ReplayPush, WatchDeploy],
        false => &[ReplayPush],
    }
}

fn nobody_is_told(way: &Way<'_>) -> bool {
    !way.setup.is_notified
}

fn builds_prove_enough(way: &Way<'_>) -> bool {
    way.spec.verify == Verify::Build
}

fn push_is_not_replayed(way: &Way<'_>) -> bool {
    builds_prove_enough(way) || !way.replays_pushes()
}

/// Deploy key and webhook on a repository, or an installation of Netlify's GitHub App; a site. Nothing that anybody can see is touched
/// before `resolve_repository` has passed, and the repository is attached last, so that the build
/// which Netlify then starts by itself is the one first build, can clone, and has its variables.
#[rustfmt::skip]
pub const PLAN: &[PlannedStep] = &[
    step(ResolveRepository, Looks, |_| &[]),
    step(ReserveDeployKey,  Makes, |_| &[]).unless(by_installation),
    step(InstallDeployKey,  Makes, |_| &[ResolveRepository, ReserveDeployKey]).unless(by_installation),
    step(InstallWebhook,    Makes, needs_of_webhook).unless(by_installation),
    step(CreateSite,        Makes, |_| &[ResolveRepository, ReserveDeployKey]),
    step(SetEnvironment,    Makes, |_| &[CreateSite]).unless(has_no_environment),
    step(AttachRepository,  Makes, needs_of_attachment),
    step(AlignWebhook,      Acts,  |_| &[InstallWebhook, AttachRepository]).unless(by_installation),
    step(OpenGate,          Acts,  |_| &[AlignWebhook]).unless(has_no_gate),
    step(SubscribeNotifications, Makes, |_| &[AttachRepository]).unless(nobody_is_told),
    step(FindBuild,         Acts,  needs_of_build),
    step(WatchDeploy,       Looks, |_| &[FindBuild]),
    step(ReplayPush,        Acts,  needs_of_replay).unless(push_is_not_replayed),
    step(ProvePush,         Looks, needs_of_proof).unless(builds_prove_enough),
    step(RetireKey,         Acts,  |_| &[FindBuild]).unless(|way| !way.exchanges_key),
];

impl StepName {
    /// The step's row in the plan.
    pub fn planned(self) -> &'static PlannedStep {
        // The unit test below holds the table and the names together.
        PLAN.iter()
            .find(|row| row.name == self)
            .expect("every step stands in the plan")
    }

    /// Whether what it has made goes with the site: its undo does nothing then, and is another one when the site is to stay.
    pub const fn goes_with_the_site(self) -> bool {
        matches!(
            self,
            Self::SetEnvironment | Self::AttachRepository | Self::SubscribeNotifications
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_row_at_its_own_place() {
        let names: Vec<_> = PLAN.iter().map(|row| row.name).collect();
        assert_eq!(names, StepName::ALL);
    }
}
