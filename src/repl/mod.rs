//! The interactive and batch command line `synthohive`.

/// Entry point of the binary: parses the command line, runs it, returns the exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
