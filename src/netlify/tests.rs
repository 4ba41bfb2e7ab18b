//! How Netlify's refusals are read.
