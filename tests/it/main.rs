//! The service as its users see it: each test runs the real server against a sandbox of its own and a
//! database of its own, and talks to it over HTTP. `./dev test` brings the Postgres that this needs.

mod api_keys;
mod audit;
mod browsers;
mod fairness;
mod keys;
mod linking;
mod quotas;
mod status_tokens;
mod world;
