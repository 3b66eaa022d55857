//! `lastmile completions`: what a shell needs to complete verbs and flags.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::Cli;
use crate::error::Exit;

/// Print completions for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lastmile completions bash > ~/.local/share/bash-completion/completions/lastmile
  lastmile completions zsh > ~/.zfunc/_lastmile
  lastmile completions fish > ~/.config/fish/completions/lastmile.fish")]
pub struct Args {
    shell: Shell,
}

/// Runs the verb.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    generate(args.shell, &mut Cli::command(), "lastmile", &mut text);
    std::io::stdout().lock().write_all(&text)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_is_told_of_every_verb() {
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            generate(*shell, &mut Cli::command(), "lastmile", &mut text);
            let text = String::from_utf8(text).unwrap();
            for verb in Cli::command().get_subcommands() {
                assert!(text.contains(verb.get_name()), "{shell} lacks {}", verb.get_name());
            }
            assert!(text.contains("retry-failed"), "{shell}");
        }
    }
}
