//! Words that were seen in the field, and what they mean.

use super::*;
use FailureCode as Code;

fn deploy(error_message: &str) -> Deploy {
    Deploy {
        id: "d1".into(),
        build_id: None,
        state: "error".into(),
        context: None,
        branch: None,
        commit_ref: None,
        error_message: (!error_message.is_empty()).then(|| error_message.into()),
        url: None,
        created_at: None,
        published_at: None,
        deploy_time: None,
        title: None,
        source: None,
        skipped: false,
        unknown_contributor: false,
    }
}

fn diagnose(error_message: &str, log: &[&str]) -> Failure {
    let log: Vec<String> = log.iter().map(|line| (*line).to_owned()).collect();
    diagnose_build(&deploy(error_message), &log, &LiveState::default())
}

#[test]
fn the_error_text_decides_when_it_is_specific() {
    for (text, code) in [
        (
            "Failed during stage 'preparing repo': git@github.com: Permission denied (publickey).",
            Code::CloneDenied,
        ),
        (
            "Failed during stage 'preparing repo': Host key verification failed. fatal: Could not read from remote repository.",
            Code::HostKeyFailed,
        ),
        (
            "Failed during stage 'preparing repo': git ref refs/heads/master does not exist or you do not have permission",
            Code::RefMissing,
        ),
        (
            "Failed during stage 'preparing repo': Could not resolve host: github.com",
            Code::BuildSystemFailed,
        ),
        (
            "Failed during stage 'preparing repo': Error checking out submodules: git@github.com: Permission denied (publickey).",
            Code::SubmoduleDenied,
        ),
        (
            "No url found for submodule path 'themes/x' in .gitmodules",
            Code::SubmoduleDenied,
        ),
        (
            "Build blocked: Unrecognized Git contributor. This plan allows only verified account members",
            Code::BuildBlocked,
        ),
        (
            "Skipped due to account credit usage exceeded",
            Code::AccountCannotBuild,
        ),
        ("Skipped", Code::BuildSkipped),
        ("Canceled build", Code::BuildCanceled),
        ("Build canceled by netlify-plugin-x", Code::BuildCanceled),
        (
            "Failed during stage 'checking build content for changes': Canceled build due to no content change",
            Code::BuildSkipped,
        ),
        (
            "Failed during stage 'building site': Build script returned non-zero exit code: 2",
            Code::BuildCommandFailed,
        ),
        (
            "Failed during stage 'building site': Build script returned non-zero exit code: 4",
            Code::BuildSystemFailed,
        ),
        (
            "Failed during stage 'building site': Build script returned non-zero exit code: 42",
            Code::BuildCommandFailed,
        ),
        (
            "Failed during stage 'Install dependencies': dependency_installation script returned non-zero exit code: 1",
            Code::DependencyInstallFailed,
        ),
        (
            "Failed during stage 'building site': Deploy directory 'dist' does not exist",
            Code::PublishDirMissing,
        ),
        (
            "Failed during stage 'Reading and parsing configuration files': Base directory does not exist: /opt/build/repo/site",
            Code::BaseDirMissing,
        ),
        (
            "When resolving config file /opt/build/repo/netlify.toml: Could not parse configuration file",
            Code::BuildConfigInvalid,
        ),
        (
            "Command did not finish within the time limit",
            Code::BuildTimeout,
        ),
        ("Build exceeded maximum allowed runtime", Code::BuildTimeout),
        (
            "Secrets scanning detected secrets in files during build.",
            Code::SecretsDetected,
        ),
        (
            "Plugin \"@netlify/plugin-nextjs\" failed",
            Code::BuildPluginFailed,
        ),
        (
            "Something that nobody has seen before",
            Code::BuildFailedUnknown,
        ),
        ("", Code::BuildFailedUnknown),
    ] {
        assert_eq!(diagnose(text, &[]).code, code, "{text}");
    }
}

#[test]
fn behind_a_general_text_the_log_decides() {
    let wrapper = "Unable to access repository. The repository may have been deleted, the branch may not exist, or permissions may have changed";
    for (text, log, code) in [
        (
            wrapper,
            vec!["git@github.com: Permission denied (publickey)."],
            Code::CloneDenied,
        ),
        (
            wrapper,
            vec!["Host key verification failed."],
            Code::HostKeyFailed,
        ),
        (
            wrapper,
            vec!["fatal: Remote branch dev not found in upstream origin"],
            Code::RefMissing,
        ),
        (wrapper, vec!["nothing that helps"], Code::CloneDenied),
        (
            "Build script returned non-zero exit code: 2",
            vec!["Error during npm install", "later line"],
            Code::DependencyInstallFailed,
        ),
        (
            "Build script returned non-zero exit code: 2",
            vec!["Skipped 3 tests", "Canceled build of x"],
            Code::BuildCommandFailed,
        ),
        (
            "",
            vec!["\"build.command\" failed"],
            Code::BuildCommandFailed,
        ),
    ] {
        assert_eq!(diagnose(text, &log).code, code, "{text} / {log:?}");
    }
}

#[test]
fn after_the_clone_denied_keys_are_the_builds_own_affair() {
    let text = "Failed during stage 'building site': Build script returned non-zero exit code: 2";
    let failure = diagnose(text, &["git@example.com: Permission denied (publickey)."]);
    assert_eq!(failure.code, Code::BuildCommandFailed);
}

#[test]
fn the_provider_settles_what_git_leaves_open() {
    let text = "git ref refs/heads/main does not exist or you do not have permission";
    for (key_installed, branch_exists, code) in [
        (None, None, Code::RefMissing),
        (Some(false), Some(true), Code::CloneDenied),
        (Some(true), Some(false), Code::RefMissing),
    ] {
        let live = LiveState {
            key_installed,
            branch_exists,
        };
        assert_eq!(diagnose_build(&deploy(text), &[], &live).code, code);
    }
    let command = "Build script returned non-zero exit code: 2";
    let live = LiveState {
        key_installed: Some(false),
        branch_exists: None,
    };
    assert_eq!(
        diagnose_build(&deploy(command), &[], &live).code,
        Code::BuildCommandFailed
    );
}

#[test]
fn flags_speak_without_words() {
    let reason = |change: fn(&mut Deploy)| {
        let mut deploy = deploy("");
        change(&mut deploy);
        diagnose_build(&deploy, &[], &LiveState::default()).code
    };
    assert_eq!(reason(|d| d.skipped = true), Code::BuildSkipped);
    assert_eq!(reason(|d| d.unknown_contributor = true), Code::BuildBlocked);
    assert_eq!(
        reason(|d| d.state = "pending_review".into()),
        Code::BuildInReview
    );
    assert_eq!(reason(|d| d.state = "rejected".into()), Code::BuildInReview);
}

#[test]
fn evidence_is_short_and_without_secrets() {
    let mut log: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    log[3] = "git@github.com: Permission denied (publickey).".into();
    log[99] = "curl https://bob:canary@host/x -H 'Authorization: Bearer canary-0123456789'".into();
    let failure = diagnose_build(
        &deploy("exit 128 with NPM_TOKEN=canary"),
        &log,
        &LiveState {
            key_installed: Some(false),
            branch_exists: None,
        },
    );
    assert_eq!(failure.code, Code::CloneDenied);
    let lines: Vec<&str> = failure.evidence.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(
        lines.len(),
        1 + 1 + 1 + LOG_LINES,
        "message, key, deciding line, tail"
    );
    assert_eq!(lines[2], "git@github.com: Permission denied (publickey).");
    assert!(!serde_json::to_string(&failure).unwrap().contains("canary"));
}
