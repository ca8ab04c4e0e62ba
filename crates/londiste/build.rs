//! Makes Cargo notice new files of the embedded SQL.

#[expect(
    clippy::print_stdout,
    reason = "this is how a build script talks to Cargo"
)]
fn main() {
    println!("cargo::rerun-if-changed=../../sql/londiste");
}
