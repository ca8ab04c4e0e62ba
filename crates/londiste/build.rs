//! Makes Cargo notice new files of the embedded SQL.

fn main() {
    println!("cargo::rerun-if-changed=../../sql/londiste");
}
