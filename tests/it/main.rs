//! The service as its users see it: each test runs the real server against a sandbox of its own and a
//! database of its own, and talks to it over HTTP. `./dev test` brings the Postgres that this needs.

mod api_keys;
mod audit;
mod bad_input;
mod browsers;
mod callers;
mod cancel_rebuild_verify;
mod checking_connections;
mod confused_deputy;
mod crashes;
mod description;
mod failed_builds;
mod fairness;
mod foreign_objects;
mod github_app;
mod installations;
mod keys;
mod linking;
mod listing;
mod lost_answers;
mod parts_of_a_link;
mod planning;
mod polling;
mod putting_by_ref;
mod quotas;
mod rate_limits;
mod refusals;
mod repeated_requests;
mod schema;
mod secrets;
mod sharing;
mod status_tokens;
mod unlinking;
mod world;
