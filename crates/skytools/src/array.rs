//! One-dimensional PostgreSQL arrays in text form.
