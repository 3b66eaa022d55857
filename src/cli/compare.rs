//! `lastmile compare`: two pictures, or two folders, in the viewer of the review.

use std::path::PathBuf;

use super::Globals;
use super::review::{Serve, serve};
use crate::error::Exit;
use crate::review::Review;

/// Show two pictures or folders side by side, pixel on pixel
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile compare render.png final/render.png
  lastmile compare final-a/ final-b/           matched by path and stem
  lastmile compare render.png final/           its namesake there

A is enlarged or reduced to B's size. Nothing is written.")]
pub struct Args {
    /// A picture or a folder
    #[arg(value_name = "A")]
    one: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    two: PathBuf,
    #[command(flatten)]
    serve: Serve,
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    serve(Review::compare(&args.one, &args.two)?, &args.serve, globals, None)
}
