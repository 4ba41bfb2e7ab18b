//! What people and tokens may do with repositories.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What somebody may do with a repository, from nothing to everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    #[default]
    None,
    Read,
    Push,
    Admin,
}

/// Access by repository; names are paths such as `owner/name`, in any case.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// For every repository that is not named.
    pub everywhere: Option<Access>,
    pub repositories: BTreeMap<String, Access>,
}

impl Permissions {
    /// Access of `login` to the repository at `path` by what is written down, else as its owner; `None` for strangers.
    pub fn on(&self, path: &str, login: &str) -> Option<Access> {
        let named = self
            .repositories
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(path));
        let owner = path.split('/').next().unwrap_or_default();
        let owner = owner.eq_ignore_ascii_case(login).then_some(Access::Admin);
        named
            .map(|(_, access)| *access)
            .or(self.everywhere)
            .or(owner)
    }
}
