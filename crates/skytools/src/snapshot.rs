//! Transaction snapshots in text form.
