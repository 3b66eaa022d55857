//! The `lastmile` program: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    lastmile::cli::main()
}
