//! Table names on the command line: literal names, and patterns of `?` and `*`.
