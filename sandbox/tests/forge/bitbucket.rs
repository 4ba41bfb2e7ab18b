//! Bitbucket Cloud.
