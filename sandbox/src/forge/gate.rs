//! Decides for the SSH front, for all providers: whose key is this, and may he read or write that repository?
//!
//! One front serves them all, so the path tells whose repository is meant: `owner/name` is GitHub's, `v3/ORG/PROJECT/REPO` is
//! Azure DevOps', `gitlab/…`, `gitea/…`, `bitbucket/…` and `plain/…` are the others'. A key may be known to several.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{Access, Forge, Provider, State};
use crate::git::PublicKey;
use crate::github;
use crate::world::World;

/// What a git client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Read,
    Write,
}

/// A repository that may be served.
#[derive(Clone, Debug)]
pub struct Opened {
    pub store_key: String,
    /// Named in the push event.
    pub pusher: String,
}

/// What stands percent-encoded in an address; slashes stay.
const IN_PATHS: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'?');

/// Whether any provider knows this key.
pub fn is_known(world: &World, key: &PublicKey) -> bool {
    let now = world.clock.now();
    let knows = |forge: &&Forge| {
        let state = forge.lock();
        let alive =
            |k: &&super::PersonKey| k.key == *key && k.expires_at.is_none_or(|end| end > now);
        state.installed(key).next().is_some() || state.person_keys.iter().any(|k| alive(&k))
    };
    github::gate::identify(world, key).is_some() || world.forges.all().iter().any(knows)
}

/// Opens a repository under its present path, or a former one where the provider goes by that.
///
/// # Errors
/// The line that the client prints when it may not.
pub fn open(world: &World, key: &PublicKey, path: &str, wanted: Wanted) -> Result<Opened, String> {
    let Some((provider, path)) = addressed(path) else {
        return github::gate::open(world, key, path, wanted);
    };
    let forge = world.forges.of(provider).ok_or_else(denied)?;
    open_at(world, forge, key, &path, wanted)
}

/// What the front says to somebody who wants a shell.
pub fn greeting(world: &World, key: &PublicKey) -> String {
    github::gate::greeting(world, key)
        .unwrap_or_else(|| "Welcome! There is no shell access here.".to_owned())
}

/// The address to clone a repository from.
pub fn ssh_url(world: &World, provider: Provider, path: &str) -> String {
    match provider {
        Provider::Github => world.git.ssh_url(path),
        Provider::AzureDevops => {
            let path = utf8_percent_encode(path, IN_PATHS);
            format!("ssh://git@{}/v3/{path}", world.git.ssh_addr())
        }
        other => world.git.ssh_url(&format!("{}/{path}", other.word())),
    }
}

/// The provider's refusal of a key that it does not know, which a real SSH server says before it hears of a path.
pub fn denied() -> String {
    "Permission denied (publickey).".to_owned()
}

/// Provider and path; `None` for GitHub's.
fn addressed(path: &str) -> Option<(Provider, String)> {
    let (first, rest) = path.split_once('/')?;
    if first == "v3" && rest.split('/').count() == 3 {
        let decoded = percent_decode_str(rest).decode_utf8_lossy();
        return Some((Provider::AzureDevops, decoded.into_owned()));
    }
    let others = [
        Provider::Gitlab,
        Provider::Gitea,
        Provider::Bitbucket,
        Provider::Plain,
    ];
    let provider = others.into_iter().find(|p| p.word() == first)?;
    // GitHub may have an owner of that name; its paths have two parts only.
    rest.contains('/').then(|| (provider, rest.to_owned()))
}

fn open_at(
    world: &World,
    forge: &Forge,
    key: &PublicKey,
    path: &str,
    wanted: Wanted,
) -> Result<Opened, String> {
    let mut state = forge.lock();
    let missing = || forge.vendor.not_found(path);
    let found = match forge.provider {
        // "Everybody has to update the address": nothing leads from the old one.
        Provider::AzureDevops => state.at_path(path),
        _ => state.at_path_ever(path).map(|(repository, _)| repository),
    };
    let repository = found.ok_or_else(missing)?;
    let (id, archived, store_key) = (repository.id, repository.archived, repository.store_key());
    let visit = Visit { world, key, id };
    let (pusher, access) = match visit.deploy_key(&mut state) {
        Some(found) => found,
        None => visit.person(&state).ok_or_else(denied)?,
    };
    match (access, wanted) {
        (Access::None, _) => Err(missing()),
        (Access::Read, Wanted::Write) => Err(forge.vendor.read_only(path)),
        (_, Wanted::Write) if archived => Err(forge.vendor.read_only(path)),
        _ => Ok(Opened { store_key, pusher }),
    }
}

/// A key at the door of a repository.
struct Visit<'w> {
    world: &'w World,
    key: &'w PublicKey,
    id: u64,
}

impl Visit<'_> {
    /// Login and access by a key on the repository; a key of other repositories sees nothing.
    fn deploy_key(&self, state: &mut State) -> Option<(String, Access)> {
        let now = self.world.clock.now();
        let elsewhere = state
            .installed(self.key)
            .next()
            .map(|(_, key)| (key.added_by.clone(), Access::None));
        let repository = state.repositories.get_mut(&self.id)?;
        let here = repository.keys.iter_mut().find(|k| k.key == *self.key);
        let Some(key) = here.filter(|k| k.expires_at.is_none_or(|end| end > now)) else {
            return elsewhere.filter(|_| !state.is_personal(self.key));
        };
        key.last_used = Some(now);
        let access = if key.can_push {
            Access::Push
        } else {
            Access::Read
        };
        Some((key.added_by.clone(), access))
    }

    /// Login and access by a person's own key.
    fn person(&self, state: &State) -> Option<(String, Access)> {
        let now = self.world.clock.now();
        let alive = |end: Option<time::OffsetDateTime>| end.is_none_or(|end| end > now);
        let keys = &state.person_keys;
        let key = keys
            .iter()
            .find(|k| k.key == *self.key && alive(k.expires_at))?;
        let repository = state.repositories.get(&self.id)?;
        let below = |within: &String| repository.path.starts_with(&format!("{within}/"));
        if !key.within.as_ref().is_none_or(below) {
            return None;
        }
        let member = key.permissions.on(&repository.path, &key.login);
        let access = member.unwrap_or_default().max(repository.for_anybody());
        Some((key.login.clone(), access))
    }
}
