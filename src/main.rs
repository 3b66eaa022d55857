//! The `lastmile` program: arguments in, exit code out.

fn main() {}
