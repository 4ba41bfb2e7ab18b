//! The sandbox's GitHub as a client meets it: through HTTP, plain git and the SSH front.

mod apps;
mod deliveries;
mod deploy_keys;
mod git;
mod hooks;
mod limits;
mod repositories;
mod stage;
