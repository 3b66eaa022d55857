//! `lastmile run`: pictures through a recipe.

use super::Globals;
use super::flags::{Flags, Once, Paths, Work};
use super::job;
use crate::error::Exit;
use crate::recipe::Recipe;

/// Put pictures through a recipe; flags override what it says
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile run standard renders/ -o final/
  lastmile run poster art/ -o print/ --fit cover
  lastmile run shop.recipe.toml renders/ -o shop/ --quality 85

What a flag's default says holds where the recipe says nothing.
`lastmile recipe list` shows the built-in ones, `lastmile recipe new` writes one.")]
pub struct Args {
    /// A built-in recipe, or a .recipe.toml file
    #[arg(value_name = "RECIPE")]
    recipe: String,
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    pub(super) once: Once,
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let mut recipe = Recipe::open(&args.recipe)?;
    args.flags.apply(&mut recipe)?;
    job::run(&recipe, &args.paths, &args.work, &args.once, globals)
}
