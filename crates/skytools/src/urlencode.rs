//! URL-encoded records, the payload of `logutriga`.
