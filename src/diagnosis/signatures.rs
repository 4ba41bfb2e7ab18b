//! The words by which builds tell why they failed, collected from Netlify's support forum, its build system's source
//! and field reports.

use super::log::Stage;
use crate::link::failure::FailureCode;

/// Where words mean what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the deploy's error text alone: build output says such things in passing.
    Message,
    /// In the error text, and in the log as a heading of the build system.
    Heading,
    /// In any line of the log too.
    Line,
}

/// Words and the reason that they stand for.
pub(super) struct Signature {
    /// All of these occur, in lower case.
    needles: &'static [&'static str],
    pub(super) place: Place,
    /// The stages that fail with these words; the first is their own, elsewhere they are not sure. Empty: every stage.
    pub(super) stages: &'static [Stage],
    pub(super) code: FailureCode,
    /// One sentence for people.
    pub(super) detail: &'static str,
}

impl Signature {
    /// Whether all words occur in `text`, which is in lower case. A number is not the beginning of a longer one.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.needles.iter().all(|needle| {
            let number = needle.ends_with(|c: char| c.is_ascii_digit());
            text.match_indices(needle).any(|(at, _)| {
                let next = text[at + needle.len()..].chars().next();
                !(number && next.is_some_and(|c| c.is_ascii_digit()))
            })
        })
    }

    /// Whether a build that failed in this stage may mean it.
    pub(super) fn fits(&self, stage: Option<Stage>) -> bool {
        self.stages.is_empty() || stage.is_none_or(|stage| self.stages.contains(&stage))
    }

    /// Whether this is the stage that says so for sure.
    pub(super) fn is_own(&self, stage: Option<Stage>) -> bool {
        self.stages.first().copied() == stage || self.stages.is_empty()
    }
}

macro_rules! signatures {
    ($($place:ident [$($stage:ident)*] $needles:tt $code:ident $detail:literal;)*) => {
        &[$(Signature {
            needles: &$needles,
            place: Place::$place,
            stages: &[$(Stage::$stage,)*],
            code: FailureCode::$code,
            detail: $detail,
        },)*]
    };
}

/// They name the reason. Earlier entries win. Submodules stand first: they fail with the same words as the repository itself.
pub(super) const SPECIFIC: &[Signature] = signatures! {
    Line [Prepare] ["no url found for submodule path"] SubmoduleBroken
        "The repository holds a submodule without an address in `.gitmodules`.";
    Line [Prepare] ["fetched in submodule path", "did not contain"] SubmoduleBroken
        "The commit that the repository records for a submodule does not exist there.";
    Line [Prepare] ["fatal: repository '/opt/", "does not exist"] SubmoduleBroken
        "A submodule's address in `.gitmodules` is a relative path, which leads nowhere at Netlify.";
    Line [Prepare] ["could not read username for 'https://"] SubmoduleDenied
        "A submodule is cloned over https and wants a login.";
    Line [Prepare] ["clone of '", "into submodule path"] SubmoduleDenied
        "Netlify could not clone a submodule.";
    Line [Prepare] ["error checking out submodules", "permission denied (publickey"] SubmoduleDenied
        "A submodule's repository does not accept the deploy key.";
    Line [Prepare] ["permission denied (publickey"] CloneDenied
        "The provider did not accept Netlify's deploy key.";
    Line [Prepare] ["permission denied (password,publickey"] CloneDenied
        "The provider did not accept Netlify's deploy key.";
    Line [Prepare] ["public key authentication failed"] CloneDenied
        "The provider did not accept Netlify's deploy key.";
    Line [Prepare] ["host key verification failed"] HostKeyFailed
        "Netlify tried to clone without a deploy key.";
    Line [Prepare] ["git ref refs/heads/", "does not exist or you do not have permission"] RefMissing
        "The branch does not exist, or Netlify may not read it.";
    Line [Prepare] ["remote branch", "not found in upstream"] RefMissing
        "The branch does not exist.";
    Line [Prepare] ["couldn't find remote ref"] RefMissing
        "The branch does not exist.";
    Line [Prepare] ["could not resolve host"] GitHostUnreachable
        "Netlify could not find the git host in the DNS.";
    Line [Prepare] ["ssh: connect to host", "timed out"] GitHostUnreachable
        "The git host does not answer Netlify.";
    Line [Prepare] ["ssh: connect to host", "connection refused"] GitHostUnreachable
        "The git host does not let Netlify connect.";
    Message [] ["unrecognized git contributor"] BuildBlocked
        "Netlify does not know the person who pushed, and the plan builds private repositories for known people only.";
    Message [] ["not available on this plan"] PlanRequired
        "The plan of the Netlify team does not include this.";
    Message [] ["credit usage exceeded"] AccountCannotBuild
        "The team's credits are used up.";
    Message [] ["no content change"] BuildSkipped
        "Nothing that the site is built from had changed.";
    Message [] ["canceled build"] BuildCanceled
        "The build was canceled.";
    Message [] ["build canceled by"] BuildCanceledByPlugin
        "A plugin canceled the build.";
    Line [Configure] ["failed retrieving extensions for site"] BuildSystemFailed
        "Netlify could not look up the site's extensions.";
    Line [Configure] ["base directory does not exist"] BaseDirMissing
        "The base directory does not exist in the repository.";
    Line [Configure] ["could not parse configuration"] BuildConfigInvalid
        "Netlify cannot read `netlify.toml`.";
    Line [Configure] ["when resolving config file"] BuildConfigInvalid
        "Netlify cannot read `netlify.toml`.";
    Line [Configure] ["configuration file does not exist"] BuildConfigInvalid
        "The configuration file that the site names does not exist.";
    Line [Install] ["dependency_installation script returned non-zero exit code"] DependencyInstallFailed
        "Installing the dependencies failed.";
    Line [Install Build] ["error during ", " install"] DependencyInstallFailed
        "Installing the dependencies failed.";
    Line [Install Build] ["failed to install dependencies"] DependencyInstallFailed
        "Installing the dependencies failed.";
    Heading [Build] ["dependencies installation error"] DependencyInstallFailed
        "Installing the dependencies of plugins or functions failed.";
    Heading [Build] ["configuration error"] BuildConfigInvalid
        "Netlify does not understand the build configuration.";
    Heading [Build] ["secrets scanning detected secrets"] SecretsDetected
        "Netlify found secret values in the build's files.";
    Heading [Build] ["secrets scanning found secrets"] SecretsDetected
        "Netlify found secret values in the build's files.";
    Heading [Build] ["bundling of ", "function", "failed"] FunctionsInvalid
        "Bundling the functions failed.";
    Message [Build] ["error", "bundling functions"] FunctionsInvalid
        "Bundling the functions failed.";
    Message [Build] ["incorrect function names"] FunctionsInvalid
        "Names of functions are not allowed.";
    Message [Build] ["unsupported plugin version detected"] BuildPluginFailed
        "A plugin's version is not supported.";
    Heading [Build] ["plugin \"", "\" failed"] BuildPluginFailed
        "A build plugin failed.";
    Heading [Build] ["internal error"] BuildSystemFailed
        "Netlify's build system failed.";
    Heading [Build] ["\"build.command\" failed"] BuildCommandFailed
        "The build command failed.";
    Message [Build] ["build script returned non-zero exit code: 127"] CommandMissing
        "The build called a program that is not there.";
    Line [Build] ["command did not finish within the time limit"] BuildTimeout
        "The build ran into the team's time limit.";
    Line [] ["build exceeded maximum allowed runtime"] BuildTimeout
        "The build ran into the team's time limit.";
    Line [Build] ["deploy directory '", "does not exist"] PublishDirMissing
        "The publish directory does not exist after the build.";
};

/// They are wrapped around many reasons: only believed when nothing specific was said anywhere.
pub(super) const GENERAL: &[Signature] = signatures! {
    Line [Prepare] ["error checking out submodules"] SubmoduleDenied
        "Netlify could not check out a submodule.";
    Line [Prepare] ["unable to access repository"] CloneDenied
        "Netlify could not read the repository.";
    Line [Prepare] ["could not read from remote repository"] CloneDenied
        "Netlify could not read the repository: the key is not accepted, or the repository was moved or deleted.";
    Line [Prepare] ["checking for ref"] CloneDenied
        "Netlify could not look up the branch in the repository.";
    Line [Prepare] ["repository not found"] CloneDenied
        "The provider does not show the repository to the deploy key.";
    Line [Prepare] ["error fetching branch"] CloneDenied
        "Netlify could not fetch the branch.";
    Message [Prepare] ["exit status 128"] CloneDenied
        "Git failed while Netlify prepared the repository.";
    Message [] ["build blocked:"] BuildBlocked
        "Netlify blocked the build.";
    Message [] ["skipped"] BuildSkipped
        "Netlify skipped the build: a newer commit, a skip mark, or stopped builds.";
    Message [Build] ["fork/exec", "no such file or directory"] BaseDirMissing
        "Netlify could not start the build, as when the base directory does not exist.";
    Line [Build] ["build script returned non-zero exit code: 4"] BuildSystemFailed
        "Netlify's build system failed.";
    Line [Build] ["build script returned non-zero exit code: 3"] BuildPluginFailed
        "A build plugin failed.";
    Line [Build] ["build script returned non-zero exit code"] BuildCommandFailed
        "The build command failed.";
    Line [Build] ["build.command", "failed"] BuildCommandFailed
        "The build command failed.";
    Message [Deploy] ["stage 'deploying site'"] BuildSystemFailed
        "Netlify could not publish what the build made.";
};
