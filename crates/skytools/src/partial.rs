//! Partial SQL, the payload of `sqltriga` and `logtriga`.
