//! The sandbox's GitLab as a client meets it: through HTTP, plain git, the SSH front, and a linked Netlify site.

mod keys;
mod linking;
mod projects;
mod stage;
mod webhooks;
