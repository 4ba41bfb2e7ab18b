//! The status of a link and the states of its steps; the only place that names the arrows between them.
//!
//! ```text
//! queued → linking → building → live ⇄ degraded
//!              │         └──→ build_failed → retry → linking
//!              ├→ action_required → retry → linking
//!              └→ failed → retry → linking
//! queued|linking|building|action_required → canceling → canceled
//! any settled status → unlinking → unlinked   (an undo that cannot finish: action_required)
//! live|degraded|build_failed → rebuild → building;  live|degraded → verify → building
//! live|degraded|build_failed → heal, rotate-key → linking
//! live → (drift found) → degraded → (heal) → linking → live;  degraded → (drift gone) → live
//! ```
//!
//! A link that was live once is never canceled, only unlinked: canceling takes the site with it.

use super::{
    failure::{Failure, FailureCode, Severity},
    plan::StepName,
    words::text_enum,
};

text_enum! {
    /// Where a link stands, for people.
    LinkStatus {
        /// Accepted; no worker has begun.
        Queued "queued",
        /// Keys, webhook and site are being set up.
        Linking "linking",
        /// The repository is attached and the first build runs.
        Building "building",
        /// Pushes build the site.
        Live "live",
        /// The site is up, but something about the link is not as it should be.
        Degraded "degraded",
        /// The link stands; its build failed.
        BuildFailed "build_failed",
        /// A person must change something outside.
        ActionRequired "action_required",
        /// This request cannot succeed as it stands.
        Failed "failed",
        /// Being undone before it was ever live.
        Canceling "canceling",
        /// Undone before it was ever live.
        Canceled "canceled",
        /// Being undone.
        Unlinking "unlinking",
        /// Undone.
        Unlinked "unlinked",
    }
}

impl LinkStatus {
    /// Nothing will change until somebody acts.
    pub const fn is_settled(self) -> bool {
        !matches!(
            self,
            Self::Queued | Self::Linking | Self::Building | Self::Canceling | Self::Unlinking
        )
    }

    /// The link is over and holds nothing any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Canceled | Self::Unlinked)
    }

    /// Whether a caller may ask to try again.
    pub const fn may_retry(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::ActionRequired | Self::BuildFailed | Self::Degraded
        )
    }

    /// The status while a link in this one is being undone.
    pub const fn undoing(self, was_live: bool) -> Self {
        match self {
            Self::Queued | Self::Linking | Self::Building if !was_live => Self::Canceling,
            Self::Canceling => Self::Canceling,
            _ => Self::Unlinking,
        }
    }

    /// The status after the undo that this status stands for is complete, however often that is found.
    pub const fn undone(self) -> Self {
        match self {
            Self::Canceling | Self::Canceled => Self::Canceled,
            _ => Self::Unlinked,
        }
    }

    /// The status of a link whose step ended in this failure.
    pub fn after_failure(step: StepName, failure: &Failure) -> Self {
        match (step, failure.code.severity()) {
            _ if matches!(
                failure.code,
                FailureCode::PushAwaited | FailureCode::CredentialRefused
            ) =>
            {
                Self::ActionRequired
            }
            // A call that was refused while the build was watched says nothing of the build.
            (StepName::WatchDeploy, _) if failure.upstream.is_none() => Self::BuildFailed,
            (StepName::ReplayPush | StepName::ProvePush | StepName::RetireKey, _) => Self::Degraded,
            (_, Severity::NeedsAction) => Self::ActionRequired,
            (_, Severity::Transient | Severity::Permanent) => Self::Failed,
        }
    }
}

text_enum! {
    /// What a caller may ask of a link that is there.
    Verb {
        /// Go on from the step that failed.
        Retry "retry",
        /// Take back a link that was never live.
        Cancel "cancel",
        /// Build once more.
        Rebuild "rebuild",
        /// Prove once more that a push builds.
        Verify "verify",
        /// See whether everything is as the link left it.
        Check "check",
        /// Put back what is not.
        Heal "heal",
        /// Exchange its deploy key for a new one.
        RotateKey "rotate-key",
        /// Take it back.
        Unlink "unlink",
    }
}

/// What decides which verbs fit a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub status: LinkStatus,
    /// What the caller wants it to be.
    pub wanted: Wanted,
    /// Whether it was ever live.
    pub was_live: bool,
}

impl Standing {
    /// Whether this may be asked of the link now.
    pub fn allows(self, verb: Verb) -> bool {
        use LinkStatus::{ActionRequired, BuildFailed, Building, Degraded, Linking, Live, Queued};
        let is_wanted = self.wanted == Wanted::Linked;
        match verb {
            Verb::Retry => self.status.may_retry(),
            Verb::Cancel => {
                let is_under_way =
                    matches!(self.status, Queued | Linking | Building | ActionRequired);
                is_under_way && is_wanted && !self.was_live
            }
            Verb::Rebuild | Verb::Check | Verb::Heal | Verb::RotateKey => {
                is_wanted && matches!(self.status, Live | Degraded | BuildFailed)
            }
            Verb::Verify => is_wanted && matches!(self.status, Live | Degraded),
            Verb::Unlink => !self.status.is_over(),
        }
    }

    /// Everything that may be asked of the link now.
    pub fn verbs(self) -> Vec<Verb> {
        let verbs = Verb::ALL.iter().copied();
        verbs.filter(|verb| self.allows(*verb)).collect()
    }
}

text_enum! {
    /// Where one step of a link stands.
    StepState {
        /// Not begun.
        Pending "pending",
        /// Begun; the outcome is not known yet.
        Running "running",
        /// Healthy; looks again later, or tries again after a passing failure.
        Waiting "waiting",
        /// Its part of the world is as wanted.
        Done "done",
        /// Not needed for this link.
        Skipped "skipped",
        /// Ended; `failure` says why.
        Failed "failed",
        /// Taken back.
        Undone "undone",
        /// Could not be taken back; `failure` says what is left.
        UndoFailed "undo_failed",
    }
}

text_enum! {
    /// What the caller wants a link to be.
    Wanted {
        /// Set up and watched.
        Linked "linked",
        /// Taken back, with the site if we made it.
        Unlinked "unlinked",
        /// Taken back, but the site stays.
        UnlinkedKeepSite "unlinked_keep_site",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(status: LinkStatus, wanted: Wanted, was_live: bool) -> Standing {
        Standing {
            status,
            wanted,
            was_live,
        }
    }

    #[test]
    fn what_was_live_is_unlinked_and_never_canceled() {
        for status in [
            LinkStatus::Queued,
            LinkStatus::Linking,
            LinkStatus::Building,
            LinkStatus::ActionRequired,
        ] {
            assert!(standing(status, Wanted::Linked, false).allows(Verb::Cancel));
            assert!(!standing(status, Wanted::Linked, true).allows(Verb::Cancel));
            assert_eq!(status.undoing(true), LinkStatus::Unlinking);
        }
    }

    #[test]
    fn what_is_undone_is_called_so_for_ever() {
        for over in [LinkStatus::Canceled, LinkStatus::Unlinked] {
            assert_eq!(over.undone(), over);
        }
    }

    #[test]
    fn a_link_that_is_not_wanted_may_only_be_taken_back() {
        for status in LinkStatus::ALL {
            let verbs = standing(*status, Wanted::Unlinked, true).verbs();
            let others = [
                Verb::Cancel,
                Verb::Rebuild,
                Verb::Verify,
                Verb::Check,
                Verb::Heal,
                Verb::RotateKey,
            ];
            assert!(!verbs.iter().any(|verb| others.contains(verb)), "{status}");
        }
        assert!(
            standing(LinkStatus::Unlinked, Wanted::Unlinked, true)
                .verbs()
                .is_empty()
        );
    }
}
