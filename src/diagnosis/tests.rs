//! The corpus: builds that failed and pushes that went unbuilt, each with the diagnosis that a person who knows would give.

use std::fmt::Write as _;

use serde::Deserialize;

use super::*;
use crate::link::failure::{Certainty, Failure, FailureCode};

/// How many of the corpus have to be named rightly, in percent.
const RIGHT_PERCENT: usize = 95;

macro_rules! corpus {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../tests/corpus/", $name, ".toml"))),)*]
    };
}

/// Files of `tests/corpus/`.
const CORPUS: &[(&str, &str)] = corpus! {
    "clone" "submodules" "settings" "dependencies" "commands" "endings" "misleading" "unknown" "silent" "field"
};

/// One labelled case: what was seen, and what is right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    code: FailureCode,
    certainty: Certainty,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    by_installation: bool,
    #[serde(default)]
    by_path: bool,
    #[serde(default)]
    deploy: Seen,
    #[serde(default)]
    log: String,
    repository: Option<RepositoryState>,
    key: Option<KeyState>,
    site: Option<SiteState>,
    team: Option<TeamState>,
    webhook: Option<String>,
    delivery: Option<toml::Value>,
    #[serde(default)]
    unread: Vec<String>,
}

/// What Netlify says of a deploy.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Seen {
    state: Option<String>,
    error_message: Option<String>,
    title: Option<String>,
    skipped: bool,
    unknown_contributor: bool,
}

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

impl Case {
    fn deploy(&self) -> Deploy {
        Deploy {
            state: self.deploy.state.clone().unwrap_or("error".into()),
            error_message: self.deploy.error_message.clone(),
            title: self.deploy.title.clone(),
            skipped: self.deploy.skipped,
            unknown_contributor: self.deploy.unknown_contributor,
            ..deploy()
        }
    }

    fn reading<T: Clone>(&self, name: &str, said: Option<&T>) -> Reading<T> {
        match said {
            Some(said) => Reading::Said(said.clone()),
            None if self.unread.iter().any(|unread| unread == name) => {
                Reading::Failed("no answer within 10 s".into())
            }
            None => Reading::NotAsked,
        }
    }

    fn live(&self) -> LiveState {
        let installation = self.by_installation.then_some(InstallationState::There);
        let webhook = self.webhook.as_deref().map(webhook);
        let delivery = self.delivery.as_ref().map(delivery);
        LiveState {
            repository: self.reading("repository", self.repository.as_ref()),
            key: self.reading("key", self.key.as_ref()),
            installation: self.reading("installation", installation.as_ref()),
            webhook: self.reading("webhook", webhook.as_ref()),
            delivery: self.reading("delivery", delivery.as_ref()),
            site: self.reading("site", self.site.as_ref()),
            team: self.reading("team", self.team.as_ref()),
        }
    }

    fn diagnose(&self) -> Failure {
        if self.silent {
            let push = UnbuiltPush {
                detail: "No build started within 60 s of the push.",
                is_known_by_name: self.by_path,
            };
            return of_push(push, &self.live());
        }
        let (deploy, log) = (self.deploy(), lines(&self.log));
        suspect(&deploy, &log).settle(&self.live())
    }
}

fn webhook(word: &str) -> WebhookState {
    let flaw = match word {
        "missing" => return WebhookState::Missing,
        "elsewhere" => return WebhookState::Elsewhere("https://ci.example.com/hook".into()),
        "good" => return WebhookState::Found(Vec::new()),
        "off" => WebhookFlaw::Off,
        "form" => WebhookFlaw::NotJson,
        "no_push" => WebhookFlaw::MissesPushes,
        "no_delete" => WebhookFlaw::MissesOthers,
        "hides_branches" => WebhookFlaw::HidesBranches,
        "insecure" => WebhookFlaw::InsecureTls,
        other => panic!("no such webhook: {other}"),
    };
    WebhookState::Found(vec![flaw])
}

fn delivery(answer: &toml::Value) -> DeliveryState {
    match (answer.as_integer(), answer.as_str()) {
        (Some(status), _) => DeliveryState::Answered(status.try_into().expect("a status")),
        (_, Some("none")) => DeliveryState::None,
        (_, Some("unanswered")) => DeliveryState::Unanswered,
        _ => panic!("no such delivery: {answer}"),
    }
}

fn deploy() -> Deploy {
    Deploy {
        id: "d1".into(),
        build_id: None,
        state: "error".into(),
        context: None,
        branch: None,
        commit_ref: None,
        error_message: None,
        url: None,
        created_at: None,
        published_at: None,
        title: None,
        source: None,
        skipped: false,
        unknown_contributor: false,
    }
}

fn lines(log: &str) -> Vec<String> {
    log.lines().map(str::to_owned).collect()
}

/// Every case with its file, and what was said of it.
fn diagnosed() -> Vec<(&'static str, Case, Failure)> {
    let read = |(file, text): (&'static str, &str)| {
        let table: Table = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        table.case.into_iter().map(move |case| (file, case))
    };
    let cases = CORPUS.iter().copied().flat_map(read);
    cases
        .map(|(file, case)| {
            let failure = case.diagnose();
            (file, case, failure)
        })
        .collect()
}

type Diagnosed = (&'static str, Case, Failure);

fn is_wrong((_, case, said): &&Diagnosed) -> bool {
    case.code != said.code
}

/// Sure of something wrong, or of more than can be known.
fn overclaims((_, case, said): &&Diagnosed) -> bool {
    let certain = said.certainty == Certainty::Certain;
    certain && (case.code != said.code || case.certainty != Certainty::Certain)
}

fn told<'a>(cases: impl Iterator<Item = &'a Diagnosed>) -> String {
    let line = |(file, case, said): &Diagnosed| {
        let (wanted, got) = (case.code, said.code);
        let (name, sure, is) = (&case.name, case.certainty, said.certainty);
        format!("{file}: {name}: {got} {is} instead of {wanted} {sure}\n")
    };
    cases.map(line).collect()
}

#[test]
fn the_corpus_is_named_rightly_and_nothing_is_called_certain_that_is_not() {
    let all = diagnosed();
    let wrong = all.iter().filter(is_wrong);
    let right = all.len() - wrong.clone().count();
    assert!(all.len() >= 80, "only {} cases", all.len());
    assert_eq!(told(all.iter().filter(overclaims)), "");
    assert!(right * 100 >= RIGHT_PERCENT * all.len(), "{}", told(wrong));
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let all = diagnosed();
    let mut names: Vec<_> = all
        .iter()
        .map(|(file, case, _)| (file, &case.name))
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all.len());
}

/// `docs/corpus.md`.
fn markdown() -> String {
    let all = diagnosed();
    let wrong = all.iter().filter(is_wrong).count();
    let mut text = format!(
        "# The corpus of failures\n\nMade by a test from the labelled cases in `tests/corpus/`; see [diagnosis.md](diagnosis.md). {} cases, {} named \
         rightly, {} called certain that should not be.\n",
        all.len(),
        all.len() - wrong,
        all.iter().filter(overclaims).count(),
    );
    for (name, table) in CORPUS {
        let about = table
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ");
        let _ = write!(
            text,
            "\n## {name}\n{about}\n\n| case | expected | said |\n|---|---|---|\n"
        );
        for (_, case, said) in all.iter().filter(|(file, _, _)| file == name) {
            let (wanted, got) = (case.code, said.code);
            let (name, sure, is) = (&case.name, case.certainty, said.certainty);
            let _ = writeln!(text, "| {name} | `{wanted}`, {sure} | `{got}`, {is} |");
        }
    }
    text
}

#[test]
fn the_written_table_is_what_the_rules_say() {
    let root = env!("CARGO_MANIFEST_DIR");
    let new = markdown();
    let written = std::fs::read_to_string(format!("{root}/docs/corpus.md")).unwrap_or_default();
    if written != new {
        std::fs::write(format!("{root}/target/corpus.md"), new).expect("the build's folder");
        panic!("docs/corpus.md is old: cp target/corpus.md docs/");
    }
}

#[test]
fn evidence_is_short_and_without_secrets() {
    let mut log: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    log[3] = "git@github.com: Permission denied (publickey).".into();
    log[99] = "curl https://bob:canary@host/x -H 'Authorization: Bearer canary-0123456789'".into();
    let deploy = Deploy {
        error_message: Some("exit 128 with NPM_TOKEN=canary".into()),
        ..deploy()
    };
    let live = LiveState {
        key: Reading::Said(KeyState::Missing),
        ..LiveState::default()
    };
    let failure = suspect(&deploy, &log).settle(&live);
    assert_eq!(failure.code, FailureCode::KeyMissing);
    let lines: Vec<&str> = failure.evidence.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(
        lines.len(),
        1 + 1 + 1 + LOG_LINES,
        "message, key, deciding line, tail"
    );
    assert_eq!(lines[2], "git@github.com: Permission denied (publickey).");
    assert!(!format!("{failure:?}").contains("canary"));
}

#[test]
fn only_what_the_words_leave_open_costs_reads() {
    for (text, asks) in [
        (
            "Failed during stage 'building site': Deploy directory 'dist' does not exist",
            0,
        ),
        (
            "Failed during stage 'building site': Build script returned non-zero exit code: 2",
            0,
        ),
        ("Canceled build", 0),
        ("Skipped", 2),
        ("Failed during stage 'preparing repo': exit status 128", 4),
    ] {
        let deploy = Deploy {
            error_message: Some(text.into()),
            ..deploy()
        };
        assert_eq!(suspect(&deploy, &[]).questions().len(), asks, "{text}");
    }
}
