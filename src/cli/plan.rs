//! `lastmile plan`: what a job would do, with nothing written.

use super::{Globals, brand, grade, run, upscale};
use crate::error::Exit;

/// Say what a job would do; nothing is written
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lastmile plan upscale renders/ -o final/ --long-edge 3840
  lastmile plan run poster art/ -o print/")]
pub struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(clap::Subcommand, Debug)]
enum Job {
    Upscale(Box<upscale::Args>),
    Grade(Box<grade::Args>),
    Brand(Box<brand::Apply>),
    Run(Box<run::Args>),
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    match args.job {
        Job::Upscale(mut args) => {
            args.once.dry_run = true;
            upscale::run(*args, globals)
        }
        Job::Grade(mut args) => {
            args.once.dry_run = true;
            grade::run(*args, globals)
        }
        Job::Brand(mut args) => {
            args.once.dry_run = true;
            args.run(globals)
        }
        Job::Run(mut args) => {
            args.once.dry_run = true;
            run::run(*args, globals)
        }
    }
}
