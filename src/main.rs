//! The `polymix` command.

fn main() -> std::process::ExitCode {
    polymix::cli::main()
}
