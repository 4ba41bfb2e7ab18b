//! The plan of a link as a table: which steps there are, what each needs first, when one is skipped.

use super::{
    request::{AccessMode, LinkSpec, Verify},
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
        /// Tells the site its repository, which starts the first build.
        AttachRepository "attach_repository",
        /// Points the webhook to where the attached site wants it.
        AlignWebhook "align_webhook",
        /// Finds the first build and its deploy.
        FindBuild "find_build",
        /// Follows the deploy to its end.
        WatchDeploy "watch_deploy",
        /// Has the provider send its last push again.
        ReplayPush "replay_push",
        /// Sees a build start from the replayed push.
        ProvePush "prove_push",
    }
}

use StepName::{
    AlignWebhook, AttachRepository, CreateSite, FindBuild, InstallDeployKey, InstallWebhook,
    ProvePush, ReplayPush, ReserveDeployKey, ResolveRepository, WatchDeploy,
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
    /// Steps that must be done or skipped before it begins.
    pub needs: &'static [StepName],
    /// Whether this link goes without it.
    pub skip: fn(&LinkSpec) -> bool,
}

const fn step(name: StepName, nature: Nature, needs: &'static [StepName]) -> PlannedStep {
    PlannedStep {
        name,
        nature,
        needs,
        skip: |_| false,
    }
}

/// Netlify's GitHub App needs neither key nor webhook, and a webhook beside it would build twice or not at all.
const fn without_app(name: StepName, nature: Nature, needs: &'static [StepName]) -> PlannedStep {
    PlannedStep {
        name,
        nature,
        needs,
        skip: |spec| matches!(spec.access, AccessMode::InstallationId(_)),
    }
}

const fn proof(name: StepName, nature: Nature, needs: &'static [StepName]) -> PlannedStep {
    PlannedStep {
        name,
        nature,
        needs,
        skip: |spec| matches!(spec.verify, Verify::Build),
    }
}

use Nature::{Acts, Looks, Makes};

/// Deploy key and webhook on a repository (or an installation of Netlify's GitHub App), new site. Nothing that anybody can see is touched
/// before `resolve_repository` has passed, and the repository is attached last, so that the build
/// which Netlify then starts by itself is the one first build and can clone.
#[rustfmt::skip]
pub const PLAN: &[PlannedStep] = &[
    step(ResolveRepository, Looks, &[]),
    without_app(ReserveDeployKey, Makes, &[]),
    without_app(InstallDeployKey, Makes, &[ResolveRepository, ReserveDeployKey]),
    without_app(InstallWebhook,   Makes, &[ResolveRepository, ReserveDeployKey]),
    step(CreateSite,        Makes, &[ResolveRepository, ReserveDeployKey]),
    step(AttachRepository,  Makes, &[InstallDeployKey, InstallWebhook, CreateSite]),
    without_app(AlignWebhook,     Acts,  &[AttachRepository]),
    step(FindBuild,         Acts,  &[AttachRepository]),
    step(WatchDeploy,       Looks, &[AlignWebhook, FindBuild]),
    proof(ReplayPush,       Acts,  &[WatchDeploy]),
    proof(ProvePush,        Looks, &[ReplayPush]),
];

impl StepName {
    /// The step's row in the plan.
    pub fn planned(self) -> &'static PlannedStep {
        // The unit test below holds the table and the names together.
        PLAN.iter()
            .find(|row| row.name == self)
            .expect("every step stands in the plan")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_stands_once_in_the_plan_and_after_what_it_needs() {
        for (at, row) in PLAN.iter().enumerate() {
            for need in row.needs {
                assert!(
                    PLAN[..at].iter().any(|before| before.name == *need),
                    "{}",
                    row.name
                );
            }
        }
        let names: Vec<_> = PLAN.iter().map(|row| row.name).collect();
        assert_eq!(names, StepName::ALL);
    }
}
