//! Tells the linker where libtorch will be found at run time, so that the binaries, tests and examples of this
//! package start without environment variables.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_LIB");
    // The same order as torch-sys, which links against this folder.
    let root = std::env::var_os("LIBTORCH_LIB").or_else(|| std::env::var_os("LIBTORCH"));
    let unix = std::env::var_os("CARGO_CFG_UNIX").is_some();
    if let (Some(root), true) = (root, unix) {
        let lib = std::path::Path::new(&root).join("lib");
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
