//! `lastmile man`: manual pages.

use std::io::Write;
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, say};
use crate::error::{Error, Exit};

/// Print the manual page, or write the pages of all verbs into a folder
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lastmile man | man -l -
  lastmile man --dir ~/.local/share/man/man1")]
pub struct Args {
    /// Write lastmile.1 and a page for every verb there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Some(dir) = &args.dir else {
        std::io::stdout().lock().write_all(&page(Cli::command())?)?;
        return Ok(Exit::Done);
    };
    let failed = |e: std::io::Error| Error::output(dir, format!("pages cannot be written there: {e}"), "another folder after --dir");
    std::fs::create_dir_all(dir).map_err(failed)?;
    let pages = pages()?;
    for (name, text) in &pages {
        std::fs::write(dir.join(name), text).map_err(failed)?;
    }
    say(format_args!("{} pages in {}", pages.len(), dir.display()));
    Ok(Exit::Done)
}

/// File names and contents: the program, every verb, every verb below a verb.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    root.build();
    let mut pages = vec![("lastmile.1".to_owned(), page(Cli::command())?)];
    let mut open: Vec<(String, Command)> = root.get_subcommands().map(|c| (format!("lastmile-{}", c.get_name()), c.clone())).collect();
    while let Some((name, command)) = open.pop() {
        open.extend(command.get_subcommands().map(|c| (format!("{name}-{}", c.get_name()), c.clone())));
        // A page is headed by the command's own name.
        let titled = command.display_name(name.clone());
        pages.push((format!("{name}.1"), page(titled)?));
    }
    Ok(pages)
}

fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page() {
        let pages = pages().unwrap();
        let text =
            |name: &str| String::from_utf8(pages.iter().find(|p| p.0 == name).unwrap_or_else(|| panic!("{name}")).1.clone()).unwrap();
        assert!(text("lastmile.1").contains("upscale"));
        assert!(text("lastmile-upscale.1").contains("long\\-edge"));
        assert!(text("lastmile-plan-run.1").contains("RECIPE"));
        for verb in Cli::command().get_subcommands() {
            text(&format!("lastmile-{}.1", verb.get_name()));
        }
    }
}
