//! The work loops of consumers: plain, remote, serial.
