//! pgqadm
