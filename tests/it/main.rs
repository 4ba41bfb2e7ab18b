//! The service as its users see it: each test runs the real server against a sandbox of its own and a
//! database of its own, and talks to it over HTTP. `./dev test` brings the Postgres that this needs.

mod cancel_rebuild_verify;
mod checking_connections;
mod linking;
mod listing;
mod parts_of_a_link;
mod planning;
mod putting_by_ref;
mod repeated_requests;
mod world;
