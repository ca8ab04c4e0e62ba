//! COPY text format: fields, rows, and copying a table from one server to another.
