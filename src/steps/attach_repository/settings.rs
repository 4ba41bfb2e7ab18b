//! How an attached site is built: as the link asks for it, as people left it, and where the two differ.

use crate::{
    link::{
        drift::{Drift, DriftKind},
        facts::Repository,
        request::{BuildSettings, LinkSpec},
    },
    netlify::sites::Site,
    steps::{Halt, StepContext},
};

/// What people may change on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// Production branch.
    pub branch: String,
    /// How Netlify builds.
    pub build: BuildSettings,
    /// Branches that Netlify builds; empty: every branch.
    pub allowed_branches: Vec<String>,
}

impl Settings {
    /// As the link asks for it. What the caller says nothing about stays as it was on a site that is there.
    pub fn asked(cx: &StepContext<'_>) -> Result<Self, Halt> {
        let before = cx.facts.site_before.clone().unwrap_or_default();
        let was_attached = before.repository.is_some();
        let kept = was_attached.then_some(&before.allowed_branches[..]);
        let asked = cx.spec.allowed_branches.as_deref().or(kept);
        let branch = cx.repository()?.branch.clone();
        Ok(Self {
            build: cx.spec.build.over(&before.build),
            allowed_branches: allowed_branches(asked, &branch),
            branch,
        })
    }

    /// As the site has it.
    pub fn of(site: &Site) -> Self {
        let now = site.before();
        Self {
            branch: site.branch().unwrap_or_default().to_owned(),
            build: now.build,
            allowed_branches: now.allowed_branches,
        }
    }

    /// As the site has it, but for what somebody asked to have put back; as the link asks for it where nothing is attached.
    pub fn left(cx: &StepContext<'_>, site: &Site) -> Result<Self, Halt> {
        let ours = Self::asked(cx)?;
        if site.repository_path().is_none() {
            return Ok(ours);
        }
        let theirs = Self::of(site);
        let put_back = |kind| cx.facts.healing.contains(&kind);
        let mut left = theirs;
        for drift in ours.differ(&left, cx.spec) {
            if put_back(drift.kind) {
                left.take(drift.kind, &ours);
            }
        }
        Ok(left)
    }

    fn take(&mut self, kind: DriftKind, from: &Self) {
        let (build, of) = (&mut self.build, &from.build);
        match kind {
            DriftKind::BranchChanged => self.branch.clone_from(&from.branch),
            DriftKind::BuildCommandChanged => build.command.clone_from(&of.command),
            DriftKind::BuildPublishChanged => build.publish.clone_from(&of.publish),
            DriftKind::BuildBaseChanged => build.base.clone_from(&of.base),
            DriftKind::BuildFunctionsChanged => build.functions.clone_from(&of.functions),
            DriftKind::BuildPackagePathChanged => build.package_path.clone_from(&of.package_path),
            DriftKind::AllowedBranchesChanged => {
                self.allowed_branches.clone_from(&from.allowed_branches);
            }
            _ => {}
        }
    }

    /// Where a site is built in another way. What the caller left to Netlify is nobody's drift.
    pub fn differ(&self, found: &Self, spec: &LinkSpec) -> Vec<Drift> {
        let (ours, theirs) = (&spec.build, &found.build);
        let said = |kind, asked: &Option<String>, found: &Option<String>| {
            (asked.is_some() && asked != found)
                .then(|| Drift::new(kind, asked.clone(), found.clone()))
        };
        let (branch, branch_now) = (Some(self.branch.clone()), Some(found.branch.clone()));
        let listed = |branches: &[String]| {
            let mut branches = branches.to_vec();
            branches.sort();
            Some(match branches.is_empty() {
                true => "every branch".to_owned(),
                false => branches.join(", "),
            })
        };
        let (allowed, allowed_now) = (
            listed(&self.allowed_branches),
            listed(&found.allowed_branches),
        );
        [
            said(DriftKind::BranchChanged, &branch, &branch_now),
            said(
                DriftKind::BuildCommandChanged,
                &ours.command,
                &theirs.command,
            ),
            said(
                DriftKind::BuildPublishChanged,
                &ours.publish,
                &theirs.publish,
            ),
            said(DriftKind::BuildBaseChanged, &ours.base, &theirs.base),
            said(
                DriftKind::BuildFunctionsChanged,
                &ours.functions,
                &theirs.functions,
            ),
            said(
                DriftKind::BuildPackagePathChanged,
                &ours.package_path,
                &theirs.package_path,
            ),
            said(DriftKind::AllowedBranchesChanged, &allowed, &allowed_now),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The repository with the branch that is to be built.
    pub fn of_repository(&self, repository: &Repository) -> Repository {
        Repository {
            branch: self.branch.clone(),
            ..repository.clone()
        }
    }
}

/// Netlify takes an empty list for every branch. A list without the production branch would make a
/// link that builds once and never again.
fn allowed_branches(asked: Option<&[String]>, production: &str) -> Vec<String> {
    match asked {
        Some([]) => Vec::new(),
        Some(branches) if branches.iter().any(|branch| branch == production) => branches.to_vec(),
        other => std::iter::once(production.to_owned())
            .chain(other.into_iter().flatten().cloned())
            .collect(),
    }
}
