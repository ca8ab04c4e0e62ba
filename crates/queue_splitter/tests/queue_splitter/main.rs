//! The program on real databases.

mod crash;
mod policy;
mod splitting;
