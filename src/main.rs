//! The `synthohive` command line.

fn main() -> std::process::ExitCode {
    synthohive::repl::main()
}
