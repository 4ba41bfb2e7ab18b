//! linkbroker links git repositories to Netlify sites for other programs.
