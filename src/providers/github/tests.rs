//! How GitHub is spoken to and understood.
