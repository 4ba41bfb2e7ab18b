//! Decides for the SSH front: whose key is this, and may he read or write that repository?

use crate::clock::Clock;
use crate::git::PublicKey;
use crate::world::World;

use super::state::{Access, Permissions, State};
use crate::forge::gate::{Opened, Wanted, denied};

/// Whom a key belongs to.
#[derive(Clone, Debug)]
pub enum Caller {
    DeployKey {
        repository: u64,
        key: u64,
    },
    Person {
        login: String,
        permissions: Permissions,
    },
}

/// GitHub's answer for absent and for foreign repositories alike.
const NOT_FOUND: &str = "ERROR: Repository not found.";

/// The owner of a public key; keys that a policy has switched off have none.
pub fn identify(world: &World, key: &PublicKey) -> Option<Caller> {
    let state = world.github.lock();
    let person = state.person_keys.iter().find(|k| k.key == *key);
    if let Some(person) = person {
        return Some(Caller::Person {
            login: person.login.clone(),
            permissions: person.permissions.clone(),
        });
    }
    let repositories = state
        .repositories
        .values()
        .filter(|r| r.deploy_keys_enabled);
    let mut keys = repositories.flat_map(|r| r.keys.iter().map(move |k| (r.id, k)));
    let (repository, key) = keys.find(|(_, k)| k.key == *key)?;
    Some(Caller::DeployKey {
        repository,
        key: key.id,
    })
}

/// Opens `owner/name`, under its present or a former name.
///
/// # Errors
/// The line that the client prints when it may not.
pub fn open(world: &World, key: &PublicKey, path: &str, wanted: Wanted) -> Result<Opened, String> {
    let caller = identify(world, key).ok_or_else(denied)?;
    let mut state = world.github.lock();
    let (repository, _) = state.named_ever(path).ok_or(NOT_FOUND)?;
    let (id, archived, store_key) = (repository.id, repository.archived, repository.store_key());
    let pusher = match caller {
        Caller::DeployKey { repository, key } if repository == id => {
            use_deploy_key(&mut state, &world.clock, id, key, wanted)?
        }
        Caller::DeployKey { .. } => return Err(NOT_FOUND.to_owned()),
        Caller::Person { login, permissions } => {
            let access = repository.access(&permissions, &login);
            check_person(access, &login, path, wanted)?;
            login
        }
    };
    if archived && wanted == Wanted::Write {
        return Err("ERROR: This repository was archived so it is read-only.".to_owned());
    }
    Ok(Opened { store_key, pusher })
}

/// What the front says to somebody who wants a shell; `None` to strangers.
pub fn greeting(world: &World, key: &PublicKey) -> Option<String> {
    let name = match identify(world, key)? {
        Caller::Person { login, .. } => login,
        Caller::DeployKey { repository, .. } => {
            let state = world.github.lock();
            state
                .repositories
                .get(&repository)
                .map_or_else(String::new, |r| r.full_name())
        }
    };
    Some(format!(
        "Hi {name}! You've successfully authenticated, but GitHub does not provide shell access."
    ))
}

fn use_deploy_key(
    state: &mut State,
    clock: &Clock,
    repository: u64,
    key: u64,
    wanted: Wanted,
) -> Result<String, String> {
    let repository = state.repositories.get_mut(&repository).ok_or(NOT_FOUND)?;
    let key = repository
        .keys
        .iter_mut()
        .find(|k| k.id == key)
        .ok_or(NOT_FOUND)?;
    if key.read_only && wanted == Wanted::Write {
        return Err(
            "ERROR: The key you are authenticating with has been marked as read only.".to_owned(),
        );
    }
    key.last_used = Some(clock.now());
    Ok(key.added_by.clone())
}

fn check_person(access: Access, login: &str, path: &str, wanted: Wanted) -> Result<(), String> {
    match (access, wanted) {
        (Access::None, _) => Err(NOT_FOUND.to_owned()),
        (Access::Read, Wanted::Write) => Err(format!(
            "ERROR: Permission to {path}.git denied to {login}."
        )),
        _ => Ok(()),
    }
}
