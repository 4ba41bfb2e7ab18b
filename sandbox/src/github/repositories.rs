//! `GET /repos/{owner}/{repo}` and what lies in the repository: branches and refs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::Refusal;
use super::paging::Page;
use super::shapes::{self, Addresses, node_id};
use super::state::{Access, Account, TokenKind};
use super::target::{Need, Target};
use crate::git::{BareRepository, CommitInfo};
use crate::world::World;

/// `GET /repos/{owner}/{repo}`, `GET /repositories/{repository_id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let at = super::addresses(&world);
    let mut state = world.github.lock();
    let repository = target.check(&mut state, Need::Metadata)?.clone();
    let owner = owner(&mut state, &repository.owner, repository.created_at);
    let told = world.switches.read().github.installations_are_told_rights;
    let access = target.visitor.token.as_ref().map(|token| match token.kind {
        TokenKind::Installation if !told => Access::None,
        _ => target.visitor.access(&repository),
    });
    Ok(Json(shapes::repository(&repository, &owner, access, &at)))
}

/// The account that owns a repository.
pub fn owner(state: &mut super::State, login: &str, now: time::OffsetDateTime) -> Account {
    state.account(login, false, now)
}

/// `GET …/branches`.
pub async fn branches(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(page): Query<Page>,
) -> Result<Response, Refusal> {
    let found = Found::open(&world, &target)?;
    let branches = found
        .bare
        .branches()
        .await
        .map_err(|e| Refusal::internal(&e))?;
    let short = |(name, sha): (String, String)| {
        json!({
            "name": name, "protected": false,
            "commit": {"sha": sha, "url": format!("{}/commits/{sha}", found.base)},
        })
    };
    let base = format!("{}/repositories/{}/branches", found.at.api, target.id);
    Ok(page.of(branches.into_iter().map(short).collect(), &base))
}

/// `GET …/branches/{branch}`.
pub async fn branch(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let name = target.word("branch");
    let found = Found::open(&world, &target)?;
    let absent = || Refusal::new(StatusCode::NOT_FOUND, "Branch not found");
    let head = found
        .bare
        .head(name)
        .await
        .map_err(|e| Refusal::internal(&e))?;
    let Some(head) = head else {
        return Err(found.moved_branch(name).unwrap_or_else(absent));
    };
    let commit = world.git.show(&found.store_key, &head).await;
    let commit = commit.map_err(|e| Refusal::internal(&e))?;
    let link = format!("{}/branches/{name}", found.base);
    Ok(Json(json!({
        "name": name, "commit": commit_shape(&commit, &found),
        "_links": {"self": link, "html": format!("https://github.com/{}/tree/{name}", found.full_name)},
        "protected": false,
        "protection": {"enabled": false, "required_status_checks":
            {"enforcement_level": "off", "contexts": [], "checks": []}},
        "protection_url": format!("{link}/protection"),
    })))
}

/// `GET …/git/ref/{ref}`: the exact ref, or 404.
pub async fn reference(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Response, Refusal> {
    let name = target.word("ref");
    let found = Found::open(&world, &target)?;
    let branches = found
        .bare
        .branches()
        .await
        .map_err(|e| Refusal::internal(&e))?;
    if branches.is_empty() {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "Git Repository is empty.",
        ));
    }
    let sha = name
        .strip_prefix("heads/")
        .and_then(|branch| branches.get(branch));
    let sha = sha.ok_or_else(Refusal::not_found)?;
    let shape = json!({
        "ref": format!("refs/{name}"), "node_id": node_id("REF", target.id),
        "url": format!("{}/git/refs/{name}", found.base),
        "object": {"sha": sha, "type": "commit", "url": format!("{}/git/commits/{sha}", found.base)},
    });
    Ok(Json(shape).into_response())
}

/// A repository whose contents the visitor may read.
struct Found {
    bare: BareRepository,
    store_key: String,
    former_branches: BTreeMap<String, String>,
    full_name: String,
    /// API address of the repository.
    base: String,
    at: Addresses,
    owner: Account,
}

impl Found {
    fn open(world: &World, target: &Target) -> Result<Self, Refusal> {
        let at = super::addresses(world);
        let mut state = world.github.lock();
        let repository = target.check(&mut state, Need::Contents)?.clone();
        Ok(Self {
            bare: world.git.repository(&repository.store_key()),
            store_key: repository.store_key(),
            former_branches: repository.former_branches.clone(),
            full_name: repository.full_name(),
            base: at.repository(&repository.full_name()),
            owner: owner(&mut state, &repository.owner, repository.created_at),
            at,
        })
    }
}

impl Found {
    /// The redirect for a branch that has another name now.
    fn moved_branch(&self, name: &str) -> Option<Refusal> {
        let now = self.former_branches.get(name)?;
        let location = format!("{}/branches/{now}", self.base);
        Some(Refusal::moved(true, &location))
    }
}

fn commit_shape(commit: &CommitInfo, found: &Found) -> Value {
    let CommitInfo {
        sha,
        tree,
        author,
        committer,
        message,
        ..
    } = commit;
    let base = &found.base;
    let parent = |sha: &String| {
        json!({
            "sha": sha, "url": format!("{base}/commits/{sha}"),
            "html_url": format!("https://github.com/{}/commit/{sha}", found.full_name),
        })
    };
    let person = shapes::account(&found.owner, &found.at);
    json!({
        "sha": sha, "node_id": node_id("C", found.owner.id), "url": format!("{base}/commits/{sha}"),
        "html_url": format!("https://github.com/{}/commit/{sha}", found.full_name),
        "comments_url": format!("{base}/commits/{sha}/comments"),
        "commit": {
            "author": {"name": author.name, "email": author.email, "date": commit.authored_at},
            "committer": {"name": committer.name, "email": committer.email, "date": commit.committed_at},
            "message": message, "comment_count": 0, "url": format!("{base}/git/commits/{sha}"),
            "tree": {"sha": tree, "url": format!("{base}/git/trees/{tree}")},
            "verification": {
                "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null,
            },
        },
        "author": person, "committer": person,
        "parents": commit.parents.iter().map(parent).collect::<Vec<_>>(),
    })
}
