//! The service as its users see it: each test runs the real server against a sandbox of its own and a
//! database of its own, and talks to it over HTTP. `./dev test` brings the Postgres that this needs.

mod bad_input;
mod callers;
mod crashes;
mod description;
mod failed_builds;
mod linking;
mod lost_answers;
mod polling;
mod rate_limits;
mod refusals;
mod schema;
mod secrets;
mod sharing;
mod unlinking;
mod world;
