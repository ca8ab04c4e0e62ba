//! TLS over rustls, with the meaning libpq gives to each `sslmode`.
