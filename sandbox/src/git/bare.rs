//! One repository on disk: made, committed to without a work tree, read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::command::{git, output, output_with_input, program};

/// What stands for "no commit" when a ref is made or removed.
pub const ZERO_SHA: &str = "0000000000000000000000000000000000000000";

/// The most commits that a push event lists (GitHub's documented bound).
const MOST_COMMITS: usize = 2048;

/// A person as a commit names him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    pub name: String,
    pub email: String,
}

impl Default for Author {
    fn default() -> Self {
        Self {
            name: "Sandbox".to_owned(),
            email: "sandbox@example.com".to_owned(),
        }
    }
}

/// A commit to make on top of a branch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewCommit {
    /// Made when it does not exist; the repository's default branch when empty.
    pub branch: String,
    pub message: String,
    /// Path to new content; a text that begins with `#!` becomes executable.
    pub files: BTreeMap<String, String>,
    /// Path of a submodule to the commit that is recorded of it; its address is what `.gitmodules` says.
    pub submodules: BTreeMap<String, String>,
    /// Paths to remove.
    pub delete: Vec<String>,
    pub author: Author,
}

/// Paths that a commit touched, against its first parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub modified: Vec<String>,
}

/// A commit that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommitInfo {
    pub sha: String,
    pub tree: String,
    pub parents: Vec<String>,
    pub author: Author,
    /// ISO 8601 with offset.
    pub authored_at: String,
    pub committer: Author,
    /// ISO 8601 with offset.
    pub committed_at: String,
    /// Whole message without the newline at its end.
    pub message: String,
    pub changes: Changes,
}

/// A repository in a folder.
#[derive(Clone, Debug)]
pub struct BareRepository {
    path: PathBuf,
}

impl BareRepository {
    /// The repository at this path, which may not exist yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its folder; plain git can clone from it and push to it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, empty.
    pub(super) async fn init(&self, default_branch: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.path.exists(),
            "{} exists already",
            self.path.display()
        );
        std::fs::create_dir_all(&self.path)?;
        let branch = format!("--initial-branch={default_branch}");
        let mut init = program("git");
        // Without git's template there are no sample hooks to copy.
        init.args(["init", "--quiet", "--bare", "--template=", &branch]);
        output(init.arg(&self.path)).await?;
        // A push must not leave a gc behind that outlives the sandbox.
        output(git(&self.path).args(["config", "receive.autogc", "false"])).await?;
        Ok(())
    }

    /// Commit id of a branch; `None` when there is no such branch.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub async fn head(&self, branch: &str) -> anyhow::Result<Option<String>> {
        // A branch that moved lately is a file of its own; reading it costs no process.
        let file = check_branch(branch).map(|()| self.path.join("refs/heads").join(branch));
        match file.map(std::fs::read_to_string) {
            Ok(Ok(sha)) => Ok(Some(sha.trim_end().to_owned())),
            _ => Ok(self.branches().await?.remove(branch)),
        }
    }

    /// All branches with their commit ids.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub async fn branches(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let format = "--format=%(objectname) %(refname:lstrip=2)";
        let list = output(git(&self.path).args(["for-each-ref", format, "refs/heads"])).await?;
        let pair = |line: &str| {
            line.split_once(' ')
                .map(|(sha, name)| (name.to_owned(), sha.to_owned()))
        };
        Ok(list.lines().filter_map(pair).collect())
    }

    /// One commit, by anything that git can resolve.
    ///
    /// # Errors
    /// When there is no such commit.
    pub async fn show(&self, revision: &str) -> anyhow::Result<CommitInfo> {
        let commits = self.log(&["--max-count=1", revision]).await?;
        commits
            .into_iter()
            .next()
            .with_context(|| format!("no commit {revision}"))
    }

    /// The commits that a push brought, oldest first: those of a new branch are the ones that no other branch has.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub(super) async fn pushed(
        &self,
        reference: &str,
        before: &str,
        after: &str,
    ) -> anyhow::Result<Vec<CommitInfo>> {
        let most = format!("--max-count={MOST_COMMITS}");
        if after == ZERO_SHA {
            return Ok(Vec::new());
        }
        if before != ZERO_SHA {
            return self
                .log(&["--reverse", &most, after, "--not", before])
                .await;
        }
        // `--branches` wants the pattern without `refs/heads/`.
        let own = reference.strip_prefix("refs/heads/").unwrap_or(reference);
        let own = format!("--exclude={own}");
        self.log(&["--reverse", &most, after, "--not", &own, "--branches"])
            .await
    }

    /// Whether a push replaced commits instead of adding to them.
    ///
    /// # Errors
    /// When one of the two commits is not there.
    pub(super) async fn forced(&self, before: &str, after: &str) -> anyhow::Result<bool> {
        if before == ZERO_SHA || after == ZERO_SHA {
            return Ok(false);
        }
        let gone =
            output(git(&self.path).args(["rev-list", "--max-count=1", before, "--not", after]))
                .await?;
        Ok(!gone.is_empty())
    }

    async fn log(&self, arguments: &[&str]) -> anyhow::Result<Vec<CommitInfo>> {
        let mut command = git(&self.path);
        command.args([
            "-c",
            "core.quotePath=false",
            "log",
            "--name-status",
            "--no-renames",
        ]);
        command
            .args(["--diff-merges=first-parent", LOG_FORMAT])
            .args(arguments)
            .arg("--");
        let text = output(&mut command).await?;
        text.split(RECORD)
            .filter(|record| !record.is_empty())
            .map(parse)
            .collect()
    }

    /// Size on disk in KiB, as GitHub's `size`; 0 while there is no commit.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub async fn size_kib(&self) -> anyhow::Result<u64> {
        let counts = output(git(&self.path).args(["count-objects", "-v"])).await?;
        let of = |name: &str| {
            counts
                .lines()
                .find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok())
        };
        Ok(of("size: ").unwrap_or(0) + of("size-pack: ").unwrap_or(0))
    }

    /// Makes a commit; the caller sees to it that nobody else writes and that `parent` is the branch's head.
    pub(super) async fn commit(
        &self,
        commit: &NewCommit,
        parent: Option<&str>,
    ) -> anyhow::Result<CommitInfo> {
        let stream = fast_import(commit, parent)?;
        let mut import = git(&self.path);
        import.args(["fast-import", "--quiet", "--date-format=now", "--done"]);
        output_with_input(&mut import, stream).await?;
        self.show(&format!("refs/heads/{}", commit.branch)).await
    }

    /// Renames a branch; when it is the one that clones check out, it stays so.
    pub(crate) async fn rename_branch(&self, from: &str, to: &str) -> anyhow::Result<()> {
        output(git(&self.path).args(["branch", "--move", "--", from, to])).await?;
        Ok(())
    }

    /// A command that serves `git-upload-pack` or `git-receive-pack` of this repository on its standard streams.
    pub(super) fn pack_command(&self, service: &str) -> tokio::process::Command {
        let mut command = program("git");
        command
            .arg(service)
            .arg(&self.path)
            .stdin(std::process::Stdio::piped());
        command
    }
}

/// Separates commits, and fields of a commit, in git's log; neither occurs in names or messages that people write.
const RECORD: char = '\u{1e}';
const FIELD: char = '\u{1f}';
const LOG_FORMAT: &str =
    "--format=%x1e%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B%x1f";

fn parse(record: &str) -> anyhow::Result<CommitInfo> {
    let fields: Vec<&str> = record.split(FIELD).collect();
    let [
        sha,
        tree,
        parents,
        an,
        ae,
        authored_at,
        cn,
        ce,
        committed_at,
        message,
        changes,
    ] = fields[..]
    else {
        anyhow::bail!("git log printed {} fields for a commit", fields.len());
    };
    let person = |name: &str, email: &str| Author {
        name: name.to_owned(),
        email: email.to_owned(),
    };
    Ok(CommitInfo {
        sha: sha.to_owned(),
        tree: tree.to_owned(),
        parents: parents.split_whitespace().map(str::to_owned).collect(),
        author: person(an, ae),
        authored_at: authored_at.to_owned(),
        committer: person(cn, ce),
        committed_at: committed_at.to_owned(),
        message: message.trim_end().to_owned(),
        changes: parse_changes(changes),
    })
}

fn parse_changes(text: &str) -> Changes {
    let mut changes = Changes::default();
    for (status, path) in text.lines().filter_map(|line| line.split_once('\t')) {
        let list = match status {
            "A" => &mut changes.added,
            "D" => &mut changes.removed,
            _ => &mut changes.modified,
        };
        list.push(path.to_owned());
    }
    changes
}

/// The commit in the language of `git fast-import`: one process, no work tree, all or nothing.
fn fast_import(commit: &NewCommit, parent: Option<&str>) -> anyhow::Result<Vec<u8>> {
    check_branch(&commit.branch)?;
    let Author { name, email } = &commit.author;
    anyhow::ensure!(
        !format!("{name}{email}").contains(['<', '>', '\n']),
        "an author without <, > and line ends"
    );
    let mut stream = format!(
        "commit refs/heads/{}\ncommitter {name} <{email}> now\n",
        commit.branch
    );
    push_data(&mut stream, &commit.message);
    if let Some(parent) = parent {
        stream.push_str(&format!("from {parent}\n"));
    }
    for path in &commit.delete {
        stream.push_str(&format!("D {}\n", checked_path(path)?));
    }
    for (path, content) in &commit.files {
        let mode = if content.starts_with("#!") {
            "100755"
        } else {
            "100644"
        };
        stream.push_str(&format!("M {mode} inline {}\n", checked_path(path)?));
        push_data(&mut stream, content);
    }
    for (path, commit) in &commit.submodules {
        let plain = commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
        anyhow::ensure!(plain, "{commit:?} is not the name of a commit");
        stream.push_str(&format!("M 160000 {commit} {}\n", checked_path(path)?));
    }
    stream.push_str("done\n");
    Ok(stream.into_bytes())
}

fn push_data(stream: &mut String, data: &str) {
    stream.push_str(&format!("data {}\n{data}\n", data.len()));
}

/// The part of `git check-ref-format` that keeps a name from breaking out of its line or its folder; git checks the rest.
fn check_branch(name: &str) -> anyhow::Result<()> {
    let plain = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    anyhow::ensure!(
        plain && !name.contains("..") && !name.starts_with(['-', '/']),
        "{name:?} is not a branch name"
    );
    Ok(())
}

fn checked_path(path: &str) -> anyhow::Result<&str> {
    let bad_part =
        |part: &str| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git");
    let bad = path.split('/').any(bad_part) || path.starts_with('"') || path.contains(['\n', '\0']);
    anyhow::ensure!(!bad, "{path:?} is not a path inside the repository");
    Ok(path)
}
