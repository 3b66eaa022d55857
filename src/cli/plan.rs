//! `lastmile plan`: what a job would do, with nothing written.

use super::{Globals, upscale};
use crate::error::Exit;

/// Say what a job would do; nothing is written
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lastmile plan upscale renders/ -o final/ --long-edge 3840")]
pub struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(clap::Subcommand, Debug)]
enum Job {
    Upscale(Box<upscale::Args>),
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    match args.job {
        Job::Upscale(mut args) => {
            args.dry_run = true;
            upscale::run(*args, globals)
        }
    }
}
