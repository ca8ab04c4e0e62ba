//! Putting events in.
