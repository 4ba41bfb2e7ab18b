//! The words by which builds tell why they failed, collected from Netlify's support forum, its build system's source
//! and field reports.

use crate::link::failure::FailureCode;

/// How much a signature tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// It names the reason.
    Specific,
    /// It is wrapped around many reasons: only believed when nothing specific was said anywhere.
    General,
}

/// Words and the reason that they stand for.
pub(super) struct Signature {
    /// All of these occur, in lower case.
    needles: &'static [&'static str],
    pub(super) strength: Strength,
    /// Whether the words in the log mean it; otherwise only in the deploy's error text, because build output says
    /// such things in passing.
    pub(super) counts_in_log: bool,
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
}

/// Error text or log, specific.
const fn anywhere(
    needles: &'static [&'static str],
    code: FailureCode,
    detail: &'static str,
) -> Signature {
    Signature {
        needles,
        strength: Strength::Specific,
        counts_in_log: true,
        code,
        detail,
    }
}

/// Error text only, specific.
const fn message(
    needles: &'static [&'static str],
    code: FailureCode,
    detail: &'static str,
) -> Signature {
    Signature {
        needles,
        strength: Strength::Specific,
        counts_in_log: false,
        code,
        detail,
    }
}

/// Error text or log, general.
const fn general(
    needles: &'static [&'static str],
    code: FailureCode,
    detail: &'static str,
) -> Signature {
    Signature {
        needles,
        strength: Strength::General,
        counts_in_log: true,
        code,
        detail,
    }
}

use FailureCode as Code;

/// Earlier entries win. Submodules stand first: they fail with the same words as the repository itself.
#[rustfmt::skip] // one row, one line
pub(super) const SIGNATURES: &[Signature] = &[
    anywhere(&["error checking out submodules"], Code::SubmoduleDenied, "Netlify could not check out a submodule."),
    anywhere(&["no url found for submodule path"], Code::SubmoduleDenied, "The repository holds a submodule without an address in `.gitmodules`."),
    anywhere(&["could not read username for 'https://"], Code::SubmoduleDenied, "A submodule is cloned over https and wants a login."),
    anywhere(&["permission denied (publickey"], Code::CloneDenied, "The provider did not accept Netlify's deploy key."),
    anywhere(&["public key authentication failed"], Code::CloneDenied, "The provider did not accept Netlify's deploy key."),
    anywhere(&["host key verification failed"], Code::HostKeyFailed, "Netlify tried to clone without a deploy key."),
    anywhere(&["git ref refs/heads/", "does not exist or you do not have permission"], Code::RefMissing, "The branch does not exist, or Netlify may not read it."),
    anywhere(&["remote branch", "not found in upstream"], Code::RefMissing, "The branch does not exist."),
    anywhere(&["couldn't find remote ref"], Code::RefMissing, "The branch does not exist."),
    message(&["unrecognized git contributor"], Code::BuildBlocked, "Netlify does not know the person who pushed."),
    message(&["build blocked:"], Code::BuildBlocked, "Netlify blocked the build."),
    message(&["credit usage exceeded"], Code::AccountCannotBuild, "The team's credits are used up."),
    message(&["no content change"], Code::BuildSkipped, "Nothing that the site is built from had changed."),
    message(&["canceled build"], Code::BuildCanceled, "The build was canceled."),
    message(&["build canceled by"], Code::BuildCanceled, "A plugin canceled the build."),
    message(&["skipped"], Code::BuildSkipped, "Netlify skipped the build: a newer commit, a skip mark, or stopped builds."),
    message(&["could not resolve host"], Code::BuildSystemFailed, "Netlify could not find the git server in the DNS."),
    anywhere(&["failed retrieving extensions for site"], Code::BuildSystemFailed, "Netlify could not look up the site's extensions."),
    anywhere(&["base directory does not exist"], Code::BaseDirMissing, "The base directory does not exist in the repository."),
    anywhere(&["could not parse configuration"], Code::BuildConfigInvalid, "Netlify cannot read `netlify.toml`."),
    anywhere(&["when resolving config file"], Code::BuildConfigInvalid, "Netlify cannot read `netlify.toml`."),
    anywhere(&["configuration file does not exist"], Code::BuildConfigInvalid, "The configuration file that the site names does not exist."),
    message(&["configuration error"], Code::BuildConfigInvalid, "Netlify does not understand the build configuration."),
    anywhere(&["secrets scanning detected secrets"], Code::SecretsDetected, "Netlify found secret values in the build's files."),
    anywhere(&["did not finish within the time limit"], Code::BuildTimeout, "The build ran into the team's time limit."),
    anywhere(&["exceeded maximum allowed runtime"], Code::BuildTimeout, "The build ran into the team's time limit."),
    anywhere(&["dependency_installation script returned non-zero exit code"], Code::DependencyInstallFailed, "Installing the dependencies failed."),
    anywhere(&["error during npm install"], Code::DependencyInstallFailed, "`npm install` failed."),
    anywhere(&["error during yarn install"], Code::DependencyInstallFailed, "`yarn install` failed."),
    anywhere(&["error during pnpm install"], Code::DependencyInstallFailed, "`pnpm install` failed."),
    anywhere(&["failed to install dependencies"], Code::DependencyInstallFailed, "Installing the dependencies failed."),
    anywhere(&["dependencies installation error"], Code::DependencyInstallFailed, "Installing the dependencies failed."),
    anywhere(&["deploy directory '", "does not exist"], Code::PublishDirMissing, "The publish directory does not exist after the build."),
    anywhere(&["unsupported plugin version detected"], Code::BuildPluginFailed, "A plugin's version is not supported."),
    anywhere(&["plugin \"", "\" failed"], Code::BuildPluginFailed, "A build plugin failed."),
    anywhere(&["incorrect function names"], Code::FunctionsInvalid, "Names of functions are not allowed."),
    anywhere(&["error", "bundling functions"], Code::FunctionsInvalid, "Bundling the functions failed."),
    general(&["build script returned non-zero exit code: 4"], Code::BuildSystemFailed, "Netlify's build system failed."),
    general(&["build script returned non-zero exit code: 3"], Code::BuildPluginFailed, "A build plugin failed."),
    general(&["build script returned non-zero exit code"], Code::BuildCommandFailed, "The build command failed."),
    general(&["build.command", "failed"], Code::BuildCommandFailed, "The build command failed."),
    general(&["unable to access repository"], Code::CloneDenied, "Netlify could not read the repository."),
    general(&["could not read from remote repository"], Code::CloneDenied, "Netlify could not read the repository: the key is not accepted, or the repository was moved or deleted."),
    general(&["checking for ref"], Code::CloneDenied, "Netlify could not look up the branch in the repository."),
    general(&["repository not found"], Code::CloneDenied, "The provider does not show the repository to the deploy key."),
];
