//! londiste
