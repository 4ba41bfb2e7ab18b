//! All of Netlify's records, and how they are found. No HTTP here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::Semaphore;

use super::environment::Variables;
use super::records::{
    Account, Deploy, DeployKey, NewToken, Notification, Site, Token, User, default_accounts,
    object_id,
};
use crate::NETLIFY_TOKEN;
use crate::clock::Clock;

/// Everything Netlify knows.
#[derive(Default)]
pub struct State {
    pub accounts: Vec<Account>,
    pub users: Vec<User>,
    pub tokens: HashMap<String, Token>,
    pub keys: BTreeMap<String, DeployKey>,
    pub sites: BTreeMap<String, Site>,
    pub deploys: BTreeMap<String, Deploy>,
    pub notifications: BTreeMap<String, Notification>,
    pub variables: Variables,
    /// Created since the start (or the last reset), by kind.
    pub created: BTreeMap<&'static str, u64>,
    /// One queue per account id; builds wait in the order in which they came.
    pub queues: HashMap<String, Arc<Semaphore>>,
}

impl State {
    /// A fresh Netlify with the default token and account.
    pub fn new(clock: &Clock) -> Self {
        let mut state = Self::default();
        state.add_token(
            NewToken {
                token: NETLIFY_TOKEN.to_owned(),
                accounts: default_accounts(),
                user: None,
            },
            clock.now(),
        );
        state
    }

    /// Forgets everything but the default token; running builds are stopped.
    pub fn reset(&mut self, clock: &Clock) {
        for deploy in self.deploys.values() {
            deploy.cancel.cancel();
        }
        *self = Self::new(clock);
    }

    /// Adds a token with a user of its own, or one more token for `user`.
    pub fn add_token(&mut self, new: NewToken, now: OffsetDateTime) {
        let account_ids: Vec<String> = new
            .accounts
            .iter()
            .map(|slug| self.account_named(slug))
            .collect();
        let name = new.user.unwrap_or_else(|| new.token.clone());
        let user_id = match self.users.iter_mut().find(|u| u.full_name == name) {
            Some(user) => {
                user.account_ids.extend(account_ids);
                user.id.clone()
            }
            None => self.add_user(name, account_ids, now),
        };
        let token = Token {
            user_id,
            window_start: 0,
            used: 0,
        };
        self.tokens.insert(new.token, token);
    }

    fn add_user(
        &mut self,
        full_name: String,
        account_ids: Vec<String>,
        now: OffsetDateTime,
    ) -> String {
        let id = object_id(now);
        self.users.push(User {
            id: id.clone(),
            email: format!("{}@example.com", id),
            full_name,
            account_ids,
            created_at: now,
        });
        id
    }

    fn account_named(&mut self, slug: &str) -> String {
        if let Some(account) = self.accounts.iter().find(|a| a.slug == slug) {
            return account.id.clone();
        }
        let id = object_id(OffsetDateTime::now_utc());
        self.accounts.push(Account {
            id: id.clone(),
            slug: slug.to_owned(),
            name: slug.to_owned(),
        });
        id
    }

    /// The user's account with this slug or id.
    pub fn account_of(&self, user_id: &str, slug_or_id: &str) -> Option<&Account> {
        self.accounts_of(user_id)
            .find(|a| a.slug == slug_or_id || a.id == slug_or_id)
    }

    /// All accounts of a user, in the order in which they were made.
    pub fn accounts_of<'a>(&'a self, user_id: &str) -> impl Iterator<Item = &'a Account> + use<'a> {
        let user = self.users.iter().find(|u| u.id == user_id);
        self.accounts
            .iter()
            .filter(move |a| user.is_some_and(|u| u.account_ids.contains(&a.id)))
    }

    /// The site with this id, name or default domain, if the user is in its account.
    pub fn site_of(&self, user_id: &str, id_or_domain: &str) -> Option<&Site> {
        let site = match self.sites.get(id_or_domain) {
            Some(site) => site,
            None => {
                let name = id_or_domain.strip_suffix(".netlify.app")?;
                self.site_named(name)?
            }
        };
        self.account_of(user_id, &site.account_id).map(|_| site)
    }

    pub fn site_named(&self, name: &str) -> Option<&Site> {
        self.sites.values().find(|s| s.name == name)
    }

    /// Deploys of a site, newest first.
    pub fn deploys_of(&self, site_id: &str) -> Vec<&Deploy> {
        let mut deploys: Vec<&Deploy> = self
            .deploys
            .values()
            .filter(|d| d.site_id == site_id)
            .collect();
        deploys.sort_by(|a, b| b.id.cmp(&a.id));
        deploys
    }

    pub fn by_build(&self, build_id: &str) -> Option<&Deploy> {
        self.deploys.values().find(|d| d.build_id == build_id)
    }

    pub fn count_created(&mut self, kind: &'static str) {
        *self.created.entry(kind).or_default() += 1;
    }
}
