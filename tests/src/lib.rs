//! Scenarios that need several programs at once; see `tests/`.
