//! The program on real databases.

mod crash;
mod moving;
mod page;
mod site;
mod usage;
