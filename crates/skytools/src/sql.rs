//! SQL tokens and statements.
