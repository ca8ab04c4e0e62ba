//! Pidfiles: one process per job, held by a lock, alive or stale.
