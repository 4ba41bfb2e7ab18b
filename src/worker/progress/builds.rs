//! What builds mean for a link: which ones its steps tell of, and which of people's it takes up.

use crate::{
    link::{
        builds::{BuildOutcome, SeenBuild},
        facts::{Build, Deploy, Fact, Facts, Proof},
        failure::Failure,
        plan::StepName,
        request::Verify,
        status::StepState,
        step_run::StepRun,
    },
    netlify::deploys,
};

use super::Progress;

impl Progress {
    /// Takes up what was seen of the site's builds since the link came to rest: the newest one, when it says something
    /// else of the site or of pushes than the link does. Tells whether there is more to do.
    pub fn heed_builds(&mut self, seen: &[SeenBuild]) -> bool {
        if self.is_undoing() || !self.is_through(StepName::AttachRepository) {
            return false;
        }
        let said = |seen: &&SeenBuild| {
            let says = seen.outcome.is_good() || seen.outcome.is_bad();
            seen.is_production() && says && self.is_later(seen)
        };
        // The push that proved the link may have built something else than the link follows.
        let proof = self.link.facts.proof.as_ref();
        let proof = proof.and_then(|it| Some(of_build(it.build.clone()?, it.deploy.as_ref())));
        let all = seen.iter().chain(&proof);
        let newest = all.filter(said).max_by_key(|seen| seen.created_at);
        let Some(newest) = newest.cloned() else {
            return false;
        };
        let proves = newest.is_of_push() && self.is_another_commit(&newest);
        let is_up = self.run(StepName::WatchDeploy).state == StepState::Done;
        let is_news = !(is_up && newest.outcome.is_good());
        if is_news {
            self.follow(&newest);
        }
        proves && self.take_as_proof(newest) || is_news
    }

    /// A link that was claimed while it waits for its build was told that there is news, or has waited long enough.
    pub(super) fn watch_at_once(&mut self) {
        let run = &mut self.link.steps[StepName::WatchDeploy as usize];
        if run.state == StepState::Waiting {
            run.next_attempt_at = None;
        }
    }

    /// Whether the build is one that the link has not followed, and began after the one that it follows.
    fn is_later(&self, seen: &SeenBuild) -> bool {
        let facts = &self.link.facts;
        let followed = facts.deploy.as_ref();
        let is_known = |build: &Build| build.deploy_id == seen.build.deploy_id;
        let ended = facts.ended_builds.iter().map(|ended| &ended.build);
        !facts.build.iter().chain(ended).any(is_known)
            && followed.is_none_or(|followed| followed.made_at() < seen.created_at)
    }

    fn is_another_commit(&self, seen: &SeenBuild) -> bool {
        let facts = &self.link.facts;
        let ended = facts.ended_builds.iter();
        let deploys = ended.filter_map(|ended| ended.deploy.as_ref());
        let mut deploys = deploys.chain(&facts.deploy);
        seen.commit().is_some()
            && !deploys.any(|deploy| deploy.commit_ref.as_deref() == seen.commit())
    }

    /// The link follows this build now: its end says how the site stands. One that is seen to be over is read at once.
    fn follow(&mut self, seen: &SeenBuild) {
        self.link.facts.end_build();
        self.learn(Fact::Build(seen.build.clone(), seen.deploy.clone()));
        *self.change(StepName::WatchDeploy) = StepRun::pending(StepName::WatchDeploy);
        self.link.failure = None;
    }

    /// A push of people's has started a build. Tells whether that proves more than was known.
    fn take_as_proof(&mut self, seen: SeenBuild) -> bool {
        let so_far = self.link.facts.proof.clone().unwrap_or_default();
        let level = match seen.outcome {
            BuildOutcome::Ready => 3,
            _ => 2,
        };
        // A proof that was asked for anew has to come from a later push.
        let is_stale = so_far
            .since
            .is_some_and(|since| seen.created_at < Some(since));
        if so_far.level >= level || is_stale {
            return false;
        }
        self.learn(Fact::Proof(Proof {
            level,
            build: Some(seen.build),
            deploy: seen.deploy,
            unbuilt: None,
            ..so_far
        }));
        let is_open = !self.is_through(StepName::ProvePush);
        if is_open && self.link.spec.verify == Verify::Push {
            self.end(StepName::ReplayPush, StepState::Skipped, None);
            self.end(StepName::ProvePush, StepState::Done, None);
            self.link.failure = None;
        }
        true
    }

    /// Notes for the history what a step has learnt of builds.
    pub(super) fn note_builds(&mut self, before: &Facts) {
        let now = &self.link.facts;
        if now.build != before.build || now.deploy != before.deploy {
            let seen = now
                .build
                .clone()
                .map(|it| of_build(it, now.deploy.as_ref()));
            self.builds.extend(seen);
        }
        let proof = now.proof.as_ref();
        if proof != before.proof.as_ref()
            && let Some(proof) = proof
        {
            let seen = proof
                .build
                .clone()
                .map(|it| of_build(it, proof.deploy.as_ref()));
            self.builds.extend(seen);
        }
    }

    /// Notes for the history why the build that the link follows brought no new version of the site.
    pub(super) fn note_failed_build(&mut self, failure: &Failure) {
        let facts = &self.link.facts;
        let Some(build) = facts.build.clone() else {
            return;
        };
        let log = failure.evidence.iter();
        let log = log.filter(|it| it.source == crate::diagnosis::BUILD_LOG);
        let failed = SeenBuild {
            failure: Some(Failure {
                evidence: Vec::new(),
                ..failure.clone()
            }),
            log_tail: log.map(|it| it.text.clone()).collect(),
            ..of_build(build, facts.deploy.as_ref())
        };
        self.builds
            .retain(|seen| seen.build.deploy_id != failed.build.deploy_id);
        self.builds.push(failed);
    }
}

fn of_build(build: Build, deploy: Option<&Deploy>) -> SeenBuild {
    let known = deploy
        .filter(|deploy| deploy.id == build.deploy_id)
        .cloned();
    let known = known.map(|deploy| Deploy {
        build_id: Some(build.id.clone()),
        ..deploy
    });
    known
        .and_then(deploys::seen)
        .unwrap_or_else(|| SeenBuild::unseen(build))
}
