//! Clones and pushes with real git: who is let in, what he is told, and that every push is noticed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use linkbroker_sandbox::git::{KeyPair, NewCommit};
use linkbroker_sandbox::github::{self, NewPersonKey};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::{Receiver, Stage, git};

/// Installs the key on `acme/{name}`.
async fn install(stage: &Stage, name: &str, key: &KeyPair, read_only: bool) -> String {
    let body = json!({"title": "key", "key": key.public_line(), "read_only": read_only});
    let (status, answer) = stage.post(&format!("/repos/acme/{name}/keys"), body).await;
    assert_eq!(status, 201, "{answer}");
    format!("/repos/acme/{name}/keys/{}", answer["id"])
}

async fn clone_log(stage: &Stage, key: Option<&KeyPair>, repo_path: &str, branch: &str) -> String {
    let folder = TempDir::new().unwrap();
    let host = &stage.sandbox.world().git;
    host.clone_over_ssh(
        key,
        &host.ssh_url(repo_path),
        branch,
        &folder.path().join("clone"),
    )
    .await
    .expect_err("the clone must fail")
    .log
}

#[tokio::test]
async fn a_deploy_key_opens_its_repository_and_is_marked_as_used() {
    let stage = Stage::new().await;
    let key = KeyPair::generate().await.unwrap();
    let path = install(&stage, "docs", &key, true).await;
    assert_eq!(stage.get(&path).await.1["last_used"], Value::Null);

    let folder = TempDir::new().unwrap();
    let into = folder.path().join("clone");
    let host = &stage.sandbox.world().git;
    let commit = host
        .clone_over_ssh(Some(&key), &host.ssh_url("acme/docs"), "main", &into)
        .await
        .unwrap();

    assert_eq!(commit.message, "First commit");
    assert!(into.join("build.sh").exists());
    assert_ne!(stage.get(&path).await.1["last_used"], Value::Null);
}

#[tokio::test]
async fn clones_fail_in_the_words_of_git_and_ssh() {
    let stage = Stage::new().await;
    stage.repository("other").await;
    let (mine, stranger) = (
        KeyPair::generate().await.unwrap(),
        KeyPair::generate().await.unwrap(),
    );
    let installed = install(&stage, "docs", &mine, true).await;

    let log = clone_log(&stage, None, "acme/docs", "main").await;
    assert!(log.contains("Host key verification failed."), "{log}");
    let log = clone_log(&stage, Some(&stranger), "acme/docs", "main").await;
    assert!(log.contains("Permission denied (publickey)"), "{log}");
    assert!(
        log.contains("Could not read from remote repository"),
        "{log}"
    );
    let log = clone_log(&stage, Some(&mine), "acme/other", "main").await;
    assert!(log.contains("ERROR: Repository not found."), "{log}");
    let log = clone_log(&stage, Some(&mine), "acme/docs", "absent").await;
    assert!(log.contains("Remote branch absent not found"), "{log}");

    assert_eq!(stage.delete(&installed).await, StatusCode::NO_CONTENT);
    let log = clone_log(&stage, Some(&mine), "acme/docs", "main").await;
    assert!(log.contains("Permission denied (publickey)"), "{log}");
}

#[tokio::test]
async fn a_former_name_still_clones_and_a_switched_off_key_does_not() {
    let stage = Stage::new().await;
    let key = KeyPair::generate().await.unwrap();
    install(&stage, "docs", &key, true).await;
    let world = stage.sandbox.world();
    github::rename(world, "acme/docs", "acme/handbook").unwrap();
    let folder = TempDir::new().unwrap();
    world
        .git
        .clone_over_ssh(
            Some(&key),
            &stage.sandbox.world().git.ssh_url("acme/docs"),
            "main",
            &folder.path().join("a"),
        )
        .await
        .unwrap();

    github::set_deploy_keys_enabled(world, "acme/handbook", false).unwrap();
    let log = clone_log(&stage, Some(&key), "acme/handbook", "main").await;
    assert!(log.contains("Permission denied (publickey)"), "{log}");
}

/// A clone of `acme/docs` in which somebody works, with the ssh command of his key.
struct Desk {
    _folder: TempDir,
    work: PathBuf,
    ssh: String,
}

impl Desk {
    async fn over_ssh(stage: &Stage, key: &KeyPair) -> Self {
        let folder = TempDir::new().unwrap();
        let identity = folder.path().join("id");
        std::fs::write(&identity, key.private_openssh()).unwrap();
        std::fs::set_permissions(&identity, std::fs::Permissions::from_mode(0o600)).unwrap();
        let host = &stage.sandbox.world().git;
        let ssh = host.ssh_command(&identity);
        Self::clone(folder, &host.ssh_url("acme/docs"), ssh).await
    }

    async fn by_path(path: &str) -> Self {
        Self::clone(TempDir::new().unwrap(), path, "false".to_owned()).await
    }

    async fn clone(folder: TempDir, from: &str, ssh: String) -> Self {
        let (done, text) = git(folder.path(), &ssh, &["clone", from, "work"]).await;
        assert!(done, "{text}");
        Self {
            work: folder.path().join("work"),
            _folder: folder,
            ssh,
        }
    }

    async fn change_and_push(&self, text: &str, refs: &[&str]) -> (bool, String) {
        std::fs::write(self.work.join("content/text.txt"), text).unwrap();
        let (done, printed) = git(&self.work, &self.ssh, &["commit", "-qam", text]).await;
        assert!(done, "{printed}");
        self.push(refs).await
    }

    async fn push(&self, refs: &[&str]) -> (bool, String) {
        git(&self.work, &self.ssh, &[&["push", "origin"], refs].concat()).await
    }
}

#[tokio::test]
async fn a_push_over_ssh_reaches_the_hook_with_the_pusher_and_the_commits() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    stage.hook(&receiver.url, &["push"]).await;
    let key = KeyPair::generate().await.unwrap();
    let permissions =
        serde_json::from_value(json!({"repositories": {"acme/docs": "push"}})).unwrap();
    let person = NewPersonKey {
        login: "ann".to_owned(),
        key: key.public_line().to_owned(),
        permissions,
        ..NewPersonKey::default()
    };
    github::add_person_key(stage.sandbox.world(), person).unwrap();

    let desk = Desk::over_ssh(&stage, &key).await;
    let (done, printed) = desk.change_and_push("second", &["main"]).await;
    assert!(done, "{printed}");

    let (headers, body) = receiver.event("push", 1).await;
    let payload: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(payload["ref"], "refs/heads/main");
    assert_eq!(payload["pusher"]["name"], "ann");
    assert_eq!(payload["created"], false);
    assert_eq!(payload["forced"], false);
    assert_eq!(payload["head_commit"]["message"], "second");
    assert_eq!(
        payload["head_commit"]["modified"],
        json!(["content/text.txt"])
    );
    assert_eq!(payload["head_commit"]["id"], payload["after"]);
    assert_eq!(payload["commits"].as_array().unwrap().len(), 1);
    let (_, repository) = stage.get("/repos/acme/docs").await;
    assert_eq!(payload["repository"]["id"], repository["id"]);
}

#[tokio::test]
async fn a_push_by_file_path_is_noticed_with_nothing_but_sh_and_git() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    stage
        .hook(&receiver.url, &["push", "create", "delete"])
        .await;
    let path = github::world_view(stage.sandbox.world())["repositories"][0]["path"].clone();

    let desk = Desk::by_path(path.as_str().unwrap()).await;
    let (done, printed) = desk.change_and_push("by path", &["main:feature/x"]).await;
    assert!(done, "{printed}");
    let (_, body) = receiver.event("push", 1).await;
    let payload: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(payload["ref"], "refs/heads/feature/x");
    assert_eq!(payload["created"], true);
    assert_eq!(
        payload["commits"].as_array().unwrap().len(),
        1,
        "only what no other branch has"
    );
    assert_eq!(payload["pusher"]["name"], "acme");
    let (_, body) = receiver.event("create", 1).await;
    assert!(body.contains(r#""ref":"feature/x""#), "{body}");

    let (done, printed) = desk.push(&[":feature/x"]).await;
    assert!(done, "{printed}");
    let payload: Value = serde_json::from_str(&receiver.event("push", 2).await.1).unwrap();
    assert_eq!(
        (&payload["deleted"], &payload["head_commit"]),
        (&json!(true), &Value::Null)
    );
    receiver.event("delete", 1).await;
}

#[tokio::test]
async fn a_replaced_history_is_a_forced_push() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    stage.hook(&receiver.url, &["push"]).await;
    let path = github::world_view(stage.sandbox.world())["repositories"][0]["path"].clone();
    let desk = Desk::by_path(path.as_str().unwrap()).await;
    let (done, printed) = git(
        &desk.work,
        &desk.ssh,
        &["commit", "--amend", "-qm", "rewritten"],
    )
    .await;
    assert!(done, "{printed}");
    let (done, printed) = desk.push(&["--force", "main"]).await;
    assert!(done, "{printed}");
    let payload: Value = serde_json::from_str(&receiver.event("push", 1).await.1).unwrap();
    assert_eq!(payload["forced"], true);
    assert_eq!(payload["head_commit"]["message"], "rewritten");
}

#[tokio::test]
async fn pushes_are_refused_to_read_only_keys_and_archived_repositories() {
    let stage = Stage::new().await;
    let (reader, writer) = (
        KeyPair::generate().await.unwrap(),
        KeyPair::generate().await.unwrap(),
    );
    install(&stage, "docs", &reader, true).await;
    install(&stage, "docs", &writer, false).await;

    let desk = Desk::over_ssh(&stage, &reader).await;
    let (done, printed) = desk.change_and_push("no", &["main"]).await;
    assert!(
        !done && printed.contains("marked as read only"),
        "{printed}"
    );

    let desk = Desk::over_ssh(&stage, &writer).await;
    let (done, printed) = desk.change_and_push("yes", &["main"]).await;
    assert!(done, "{printed}");
    github::archive(stage.sandbox.world(), "acme/docs", true).unwrap();
    let (done, printed) = desk.change_and_push("too late", &["main"]).await;
    assert!(
        !done && printed.contains("archived so it is read-only"),
        "{printed}"
    );
}

#[tokio::test]
async fn the_template_builds_and_shows_the_text_of_the_commit() {
    let stage = Stage::new().await;
    let key = KeyPair::generate().await.unwrap();
    install(&stage, "docs", &key, true).await;
    let world = stage.sandbox.world();
    let new = NewCommit {
        message: "Change the text".to_owned(),
        files: [(
            "content/text.txt".to_owned(),
            "A & second <text>\n".to_owned(),
        )]
        .into(),
        ..NewCommit::default()
    };
    github::commit(world, "acme/docs", new).await.unwrap();

    let folder = TempDir::new().unwrap();
    let into = folder.path().join("clone");
    let commit = world
        .git
        .clone_over_ssh(
            Some(&key),
            &stage.sandbox.world().git.ssh_url("acme/docs"),
            "main",
            &into,
        )
        .await
        .unwrap();
    assert_eq!(commit.message, "Change the text");
    assert!(run_build(&into).contains("A & second <text>"));
}

fn run_build(folder: &Path) -> String {
    let status = std::process::Command::new("sh")
        .arg("build.sh")
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read_to_string(folder.join("dist/index.html")).unwrap()
}

#[tokio::test]
async fn commits_cannot_leave_the_repository() {
    let stage = Stage::new().await;
    for path in ["../x", ".git/config", "a//b", "/etc/x", "a\nD b"] {
        let new = NewCommit {
            files: [(path.to_owned(), String::new())].into(),
            ..NewCommit::default()
        };
        let refused = github::commit(stage.sandbox.world(), "acme/docs", new).await;
        assert!(
            refused.unwrap_err().to_string().contains("not a path"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn megabytes_pass_the_ssh_front_both_ways() {
    let stage = Stage::new().await;
    let key = KeyPair::generate().await.unwrap();
    install(&stage, "docs", &key, false).await;
    let desk = Desk::over_ssh(&stage, &key).await;
    // Text that does not compress, and more of it than SSH's window holds.
    let mut seed = 1_u64;
    let mut letter = || {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        char::from(b'!' + (seed >> 33) as u8 % 90)
    };
    let text: String = (0..6_000_000).map(|_| letter()).collect();
    std::fs::write(desk.work.join("content/text.txt"), &text).unwrap();
    let (done, printed) = git(&desk.work, &desk.ssh, &["commit", "-qam", "large"]).await;
    assert!(done, "{printed}");
    let (done, printed) = desk.push(&["main"]).await;
    assert!(done, "{printed}");

    let again = Desk::over_ssh(&stage, &key).await;
    let cloned = std::fs::read_to_string(again.work.join("content/text.txt")).unwrap();
    assert!(cloned == text);
}
