//! `lastmile recipe`: what recipes there are, what is wrong with one, and what to start from.

use std::path::{Path, PathBuf};

use super::models::{json_only, rates, record};
use super::{Globals, out, say};
use crate::error::{Error, Exit, nearest};
use crate::recipe::{BUILT_IN, EXTENSION, Recipe, blank, schema};
use crate::upscale::bench::Rates;
use crate::upscale::home::Home;
use crate::upscale::model::Model;

/// List, write and check recipes
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// The built-in recipes and how fast they are here
    List,
    /// Write a recipe to start from: every key as a comment, or a copy of a built-in one
    New {
        /// The file to write; it must not exist
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A built-in recipe to copy
        #[arg(long, value_name = "RECIPE")]
        from: Option<String>,
    },
    /// Say everything that is wrong with a recipe
    Check {
        /// A built-in recipe, or a .recipe.toml file
        #[arg(value_name = "RECIPE", required = true)]
        recipes: Vec<String>,
    },
    /// Print the JSON Schema of recipes, for editors
    Schema,
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    match args.what {
        What::List => list(globals),
        What::New { file, from } => new(&file, from.as_deref()),
        What::Check { recipes } => check(&recipes, globals),
        What::Schema => {
            out(serde_json::to_string_pretty(&schema())?)?;
            Ok(Exit::Done)
        }
    }
}

fn list(globals: &Globals) -> anyhow::Result<Exit> {
    let home = Home::new(&globals.home);
    let rates = rates(&home);
    let mut lines = Vec::new();
    let mut unmeasured = false;
    for (name, _) in BUILT_IN {
        let recipe = Recipe::open(name)?;
        let speed = ms_per_mpix(&recipe, &rates)?;
        let shown = match speed {
            Some(ms) => format!("{ms:>8.0} ms/MPix"),
            None if recipe.upscale.model.as_deref() == Some("none") => format!("{:>15}", "no network"),
            None => format!("{:>15}", "not measured"),
        };
        unmeasured |= shown.ends_with("not measured");
        if !json_only(globals) {
            out(format_args!("{name:<9} {shown}  {}", recipe.about))?;
        }
        lines.push(serde_json::json!({"event": "recipe", "name": name, "about": recipe.about, "ms_per_mpix": speed}));
    }
    record(globals, lines)?;
    if unmeasured && globals.verbosity >= 0 {
        say("`lastmile models bench` measures how fast networks run here.");
    }
    Ok(Exit::Done)
}

/// Milliseconds per million source pixels of the recipe's network on the fastest device measured; `None` where there is no
/// network or no measurement.
fn ms_per_mpix(recipe: &Recipe, rates: &Rates) -> crate::Result<Option<f64>> {
    let sha256 = match recipe.upscale.model.as_deref() {
        Some("none") => return Ok(None),
        Some(id) => match Model::embedded(id) {
            Some(model) => model?.sha256,
            None => return Ok(None),
        },
        None => Model::embedded_default()?.sha256,
    };
    Ok(rates.fastest(&sha256).map(|r| 1000.0 / r.mpix_per_s.max(1e-9)))
}

fn new(file: &Path, from: Option<&str>) -> anyhow::Result<Exit> {
    let text = match from {
        None => blank(),
        Some(name) => match BUILT_IN.iter().find(|(n, _)| *n == name) {
            Some((_, text)) => (*text).to_owned(),
            None => {
                let near = nearest(name, BUILT_IN.iter().map(|b| b.0)).map(|n| format!("`{n}`; ")).unwrap_or_default();
                return Err(Error::usage(
                    format!("--from {name}"),
                    "no built-in recipe of that name",
                    near + "one of draft, standard, hero, poster",
                )
                .into());
            }
        },
    };
    let written = std::fs::File::create_new(file).and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()));
    written.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::usage(file.display(), "it exists already", "another name"),
        _ => Error::usage(file.display(), format!("it cannot be written: {e}"), "a folder that can be written"),
    })?;
    say(format_args!("{} written. Next: lastmile recipe check {}", file.display(), super::quoted(file.as_os_str())));
    if !file.to_string_lossy().ends_with(EXTENSION) {
        say(format_args!("note: editors know recipes by names that end in {EXTENSION}"));
    }
    Ok(Exit::Done)
}

fn check(recipes: &[String], globals: &Globals) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    let mut lines = Vec::new();
    for spec in recipes {
        let (about, wrong) = match Recipe::open(spec) {
            Ok(recipe) => {
                let wrong = super::job::check(&recipe, globals);
                (recipe.about, wrong)
            }
            Err(e) => (String::new(), vec![e]),
        };
        if wrong.is_empty() && !json_only(globals) {
            let about = if about.is_empty() { String::new() } else { format!("  {about}") };
            out(format_args!("{spec}: nothing is wrong with it{about}"))?;
        }
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        for e in &wrong {
            say(format_args!("error: {e}"));
            exit = Exit::Usage;
        }
        lines.push(
            serde_json::json!({"event": "recipe", "name": spec, "ok": wrong.is_empty(), "message": wrong.first(), "messages": wrong}),
        );
    }
    record(globals, lines)?;
    Ok(exit)
}
