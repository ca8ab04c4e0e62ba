//! Cargo does not see what `include_dir!` reads.

fn main() {
    println!("cargo::rerun-if-changed=../../sql");
}
