//! Rows in Postgres; one file per table, free functions over a connection.
pub mod embedded;
