//! The sandbox's git providers but GitHub as a client meets them: through HTTP, plain git, the SSH front, and a linked site.

mod admin;
mod azure;
mod bitbucket;
mod gitea;
mod gitlab;
mod stage;
