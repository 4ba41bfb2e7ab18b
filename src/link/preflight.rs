//! What reading tells of a link before anything is written: findings, each about one topic.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    failure::{Failure, FailureCode, Severity, UpstreamTrace},
    words::text_enum,
};

text_enum! {
    /// What a finding is about.
    Topic {
        /// Can linkbroker use the connections?
        Connections "connections",
        /// Is the credential for the git provider good, and for how long?
        ProviderCredential "provider_credential",
        /// Is the repository there, with commits, and can it be written to?
        Repository "repository",
        /// May the credential manage keys and webhooks?
        Rights "rights",
        /// Is the branch there?
        Branch "branch",
        /// Does the repository take deploy keys?
        DeployKeys "deploy_keys",
        /// Is there room for the webhook, or a good one already?
        Webhook "webhook",
        /// Can the installation of Netlify's GitHub App be used, and does it see the repository? In place of the last two.
        Installation "installation",
        /// Is the credential for Netlify good?
        NetlifyCredential "netlify_credential",
        /// Does the team exist, and may the credential make sites in it?
        Team "team",
        /// Does the team's plan build private repositories of organisations?
        Plan "plan",
        /// Will Netlify know who pushes, where its plan wants to?
        Contributors "contributors",
        /// Can the team build now?
        Builds "builds",
        /// Is the name free, or the site free to be taken?
        Site "site",
    }
}

text_enum! {
    /// What reading says of a topic.
    FindingStatus {
        /// Nothing that can be read stands in the way.
        Pass "pass",
        /// The link may not become what is wanted; or something will be mended, or is worth to be known.
        Warn "warn",
        /// The link would fail.
        Fail "fail",
        /// It could not be read, or nobody can read it. It blocks nothing.
        Unknown "unknown",
    }
}

/// What reading says of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// What reading says.
    pub status: FindingStatus,
    /// The failure that a link would have or might have; why nothing could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<FailureCode>,
    /// What was seen, in one sentence.
    pub detail: String,
    /// The upstream call that showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamTrace>,
}

impl Topic {
    /// Whether no link comes about without it. A finding that leaves it open leaves the whole open.
    const fn is_essential(self) -> bool {
        matches!(
            self,
            Self::Connections
                | Self::ProviderCredential
                | Self::Repository
                | Self::NetlifyCredential
                | Self::Team
                | Self::Site
        )
    }

    /// Nothing stands in the way.
    pub fn pass(self, detail: impl Into<String>) -> Finding {
        self.finding(FindingStatus::Pass, None, detail)
    }

    /// Something is worth to be known; `code` names the failure that it may become.
    pub fn warn(self, code: impl Into<Option<FailureCode>>, detail: impl Into<String>) -> Finding {
        self.finding(FindingStatus::Warn, code.into(), detail)
    }

    /// The link would fail.
    pub fn fail(self, code: FailureCode, detail: impl Into<String>) -> Finding {
        self.finding(FindingStatus::Fail, Some(code), detail)
    }

    /// Nobody can tell.
    pub fn unknown(self, detail: impl Into<String>) -> Finding {
        self.finding(FindingStatus::Unknown, None, detail)
    }

    /// What a read that failed says of this topic: that the link would fail of it as well, or nothing at all.
    pub fn unread(self, failure: &Failure) -> Finding {
        let status = match says_nothing(failure.code) {
            true => FindingStatus::Unknown,
            false => FindingStatus::Fail,
        };
        Finding {
            upstream: failure.upstream.as_deref().cloned(),
            ..self.finding(status, Some(failure.code), &failure.detail)
        }
    }

    fn finding(
        self,
        status: FindingStatus,
        code: Option<FailureCode>,
        detail: impl Into<String>,
    ) -> Finding {
        Finding {
            topic: self,
            status,
            code,
            detail: detail.into(),
            upstream: None,
        }
    }
}

/// Whether a failed read leaves open what it was to tell: it may succeed in a moment, or is a fault of ours.
pub fn says_nothing(code: FailureCode) -> bool {
    code.severity() == Severity::Transient
        || matches!(
            code,
            FailureCode::UpstreamContractChanged
                | FailureCode::RequestRefused
                | FailureCode::WorkerDied
                | FailureCode::Internal
        )
}

/// What all findings together say: the worst of them. One that is unknown counts when no link comes about without it.
pub fn outcome(findings: &[Finding]) -> FindingStatus {
    let any = |status| findings.iter().any(|finding| finding.status == status);
    let is_open = |finding: &Finding| {
        finding.status == FindingStatus::Unknown && finding.topic.is_essential()
    };
    if any(FindingStatus::Fail) {
        FindingStatus::Fail
    } else if any(FindingStatus::Warn) {
        FindingStatus::Warn
    } else if findings.iter().any(is_open) {
        FindingStatus::Unknown
    } else {
        FindingStatus::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_and_the_unknown_blocks_nothing() {
        let good = Topic::Repository.pass("");
        let open = Topic::DeployKeys.unknown("");
        let unread = Topic::Site.unknown("");
        let doubtful = Topic::Webhook.warn(None, "");
        let bad = Topic::Branch.fail(FailureCode::BranchMissing, "");
        for (findings, expected) in [
            (vec![&good, &open], FindingStatus::Pass),
            (vec![&good, &unread], FindingStatus::Unknown),
            (vec![&unread, &doubtful], FindingStatus::Warn),
            (vec![&bad, &doubtful, &unread], FindingStatus::Fail),
        ] {
            let findings: Vec<_> = findings.into_iter().cloned().collect();
            assert_eq!(outcome(&findings), expected, "{findings:?}");
        }
    }

    #[test]
    fn a_read_that_may_succeed_in_a_moment_says_nothing() {
        for (code, status) in [
            (FailureCode::RateLimited, FindingStatus::Unknown),
            (FailureCode::UpstreamUnavailable, FindingStatus::Unknown),
            (FailureCode::UpstreamContractChanged, FindingStatus::Unknown),
            (FailureCode::CredentialRefused, FindingStatus::Fail),
            (FailureCode::RepositoryArchived, FindingStatus::Fail),
        ] {
            let finding = Topic::Repository.unread(&Failure::new(code, ""));
            assert_eq!((finding.status, finding.code), (status, Some(code)));
        }
    }
}
