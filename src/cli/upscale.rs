//! `lastmile upscale`: pictures in, larger pictures out.

use super::Globals;
use super::flags::{Flags, Once, Paths, Work};
use super::job;
use crate::error::Exit;
use crate::recipe::Recipe;

/// Make pictures larger; folders are mirrored, metadata comes along
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile upscale renders/ -o final/
  lastmile upscale renders/ -o final/ --long-edge 3840 --format jpeg --quality 92
  lastmile upscale hero.png -o hero.tiff --print 24x36in@300 --depth 16")]
pub struct Args {
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
    let mut recipe = Recipe::default();
    args.flags.apply(&mut recipe)?;
    job::run(&recipe, &args.paths, &args.work, &args.once, globals)
}
