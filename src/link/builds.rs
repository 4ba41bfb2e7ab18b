//! Builds of a link's site as they are seen from outside, whoever started them.

use time::OffsetDateTime;

use super::{
    facts::{Build, Deploy},
    failure::Failure,
    words::text_enum,
};

text_enum! {
    /// How a build stands. Netlify calls all that follow `ready` errors.
    BuildOutcome {
        /// Not over yet.
        Running "running",
        /// Not over, and a person has to approve it on Netlify.
        InReview "in_review",
        /// Its deploy is live at its own address.
        Ready "ready",
        /// It failed.
        Failed "failed",
        /// A person or a program canceled it.
        Canceled "canceled",
        /// Nothing had changed: the site is as it should be.
        Unchanged "unchanged",
        /// It never ran: a newer commit, a skip mark, or no credits.
        Skipped "skipped",
        /// It never ran: pushed by somebody whom Netlify does not know.
        Blocked "blocked",
        /// A person said no.
        Rejected "rejected",
    }
}

impl BuildOutcome {
    /// Whether it is over.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::InReview)
    }

    /// Whether the site is as the commit wants it.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Ready | Self::Unchanged)
    }

    /// Whether somebody wanted a new version of the site and did not get it. Canceled and skipped builds say nothing of
    /// the site.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Blocked | Self::Rejected)
    }
}

/// A build as it was seen last.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenBuild {
    /// Netlify's ids.
    pub build: Build,
    /// How it stands.
    pub outcome: BuildOutcome,
    /// Its deploy; absent before it was seen.
    pub deploy: Option<Deploy>,
    /// Builds of the team that were started before and are not over, while it waits for its turn.
    pub ahead: Option<u32>,
    /// When it was started, by Netlify's clock once that is known.
    pub created_at: Option<OffsetDateTime>,
    /// When it was first seen to be over.
    pub finished_at: Option<OffsetDateTime>,
    /// Why it brought no new version of the site.
    pub failure: Option<Failure>,
    /// The end of its log, redacted, when it failed.
    pub log_tail: Vec<String>,
}

/// What a link waits for while its build is not over, for people.
pub fn waiting_for(state: Option<&str>, ahead: Option<u32>) -> String {
    match (state, ahead) {
        (_, Some(ahead @ 1..)) => format!("the build waits for a slot, {ahead} ahead"),
        (Some(state), _) => format!("the deploy is `{state}`"),
        (None, _) => "waits for the build".to_owned(),
    }
}

impl SeenBuild {
    /// A build of which nothing but its ids is known.
    pub const fn unseen(build: Build) -> Self {
        Self {
            build,
            outcome: BuildOutcome::Running,
            deploy: None,
            ahead: None,
            created_at: None,
            finished_at: None,
            failure: None,
            log_tail: Vec::new(),
        }
    }

    /// Whether it builds what visitors see.
    pub fn is_production(&self) -> bool {
        self.context() == Some("production")
    }

    /// Whether a push started it.
    pub fn is_of_push(&self) -> bool {
        let source = self.deploy.as_ref().and_then(|it| it.source.as_deref());
        source == Some("git")
    }

    /// Whether it has not begun to run.
    pub fn is_waiting(&self) -> bool {
        let state = self.deploy.as_ref().map(|deploy| deploy.state.as_str());
        self.outcome == BuildOutcome::Running && matches!(state, Some("new" | "enqueued"))
    }

    /// What was built.
    pub fn commit(&self) -> Option<&str> {
        self.deploy.as_ref()?.commit_ref.as_deref()
    }

    fn context(&self) -> Option<&str> {
        self.deploy.as_ref()?.context.as_deref()
    }
}
