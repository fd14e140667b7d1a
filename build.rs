//! Tells the linker where libtorch will be found at run time, so that the binaries, tests and examples of this
//! package start without environment variables: in the folder that they were linked against, or where a shipped
//! binary keeps it beside itself.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_LIB");
    // The same order as torch-sys, which links against this folder.
    let root = std::env::var_os("LIBTORCH_LIB").or_else(|| std::env::var_os("LIBTORCH"));
    let beside = match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => "@loader_path",
        _ => "$ORIGIN",
    };
    if std::env::var_os("CARGO_CFG_UNIX").is_none() {
        return; // other loaders know no search path in the binary
    }
    let linked = root.map(|root| std::path::Path::new(&root).join("lib").display().to_string());
    let shipped = ["../lib/synthohive", "libtorch/lib"].map(|folder| format!("{beside}/{folder}"));
    for folder in linked.into_iter().chain(shipped) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
