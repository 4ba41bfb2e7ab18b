//! The service as its users see it: each test runs the real server against a sandbox of its own and a
//! database of its own, and talks to it over HTTP. `./dev test` brings the Postgres that this needs.

mod audit;
mod keys;
mod linking;
mod world;
