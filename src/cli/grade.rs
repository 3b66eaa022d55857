//! `lastmile grade`: pictures in, the same pictures with other colours out.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use super::flags::{Files, Once, Paths, Work};
use super::{Globals, job};
use crate::error::{Error, Exit};
use crate::grade::device::GradeDevice;
use crate::grade::grading::Source;
use crate::recipe::{Recipe, text};
use crate::upscale::size::Size;

/// Give pictures one look; sizes stay, metadata comes along
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile grade renders/ -o graded/ --look clean
  lastmile grade renders/ -o graded/ --lut film.cube --strength 0.6
  lastmile grade hero.png -o hero.tiff --cdl shot.cc --look house.toml --depth 16

`lastmile looks list` shows the built-in looks, `lastmile looks ops` what a look file may hold.")]
#[command(mut_arg("grade_device", |a| a.visible_alias("device")))]
pub struct Args {
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    grading: Grading,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    pub(super) once: Once,
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let mut recipe = Recipe::default();
    // No network: nothing of it is searched for, let alone loaded.
    recipe.upscale.model = Some("none".into());
    recipe.upscale.size = Size::Scale(1.0);
    recipe.upscale.colour_lock = false;
    args.grading.apply(&mut recipe);
    if recipe.look.sources.is_empty() {
        return Err(Error::usage("grade", "nothing says how", "--look NAME (see `lastmile looks list`), --lut FILE or --cdl FILE").into());
    }
    args.files.apply(&mut recipe)?;
    job::run(&recipe, &args.paths, &args.work, &args.once, globals)
}

/// `--look`, `--lut` and `--cdl`, each any number of times, in the order in which they were typed; and `--strength`.
#[derive(Debug, Clone, Default)]
pub struct Grading {
    sources: Vec<Source>,
    strength: Option<f32>,
    device: Option<GradeDevice>,
}

/// A flag's name, its value's name, the source it makes, and what it is for.
type Kind = (&'static str, &'static str, fn(String) -> Source, &'static str);

impl Grading {
    const KINDS: [Kind; 3] = [
        ("look", "NAME|FILE", Source::Look, "Grade with a look: a name from `lastmile looks list`, or a look file"),
        ("lut", "FILE", Source::Lut, "Grade with a .cube file made for sRGB-encoded values"),
        ("cdl", "FILE[#ID]", Source::Cdl, "Grade with an ASC CDL file: .cc, or one correction of a .ccc or .cdl"),
    ];

    /// Puts what was given into the recipe; any of the three takes the place of all that it holds.
    pub fn apply(&self, recipe: &mut Recipe) {
        if !self.sources.is_empty() {
            recipe.look.sources.clone_from(&self.sources);
        }
        for (name, _, make, _) in Self::KINDS {
            let kind = std::mem::discriminant(&make(String::new()));
            if self.sources.iter().any(|s| std::mem::discriminant(s) == kind) {
                recipe.flag(&format!("look.{name}"), &format!("--{name}"));
            }
        }
        if let Some(strength) = self.strength {
            recipe.look.strength = strength;
            recipe.flag("look.strength", "--strength");
        }
        if let Some(device) = self.device {
            recipe.look.device = device;
            recipe.flag("look.device", "--grade-device");
        }
    }
}

impl FromArgMatches for Grading {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found: Vec<(usize, Source)> = Vec::new();
        for (name, _, make, _) in Self::KINDS {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            found.extend(matches.indices_of(name).into_iter().flatten().zip(values.map(|v| make(v.clone()))));
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(Self {
            sources: found.into_iter().map(|(_, s)| s).collect(),
            strength: matches.get_one("strength").copied(),
            device: matches.get_one("grade_device").copied(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Grading {
    fn augment_args(command: Command) -> Command {
        let mut command = command;
        for (name, value, _, help) in Self::KINDS {
            let arg = Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help_heading("Colour");
            command = command.arg(arg.help(format!("{help}; may be given several times, in the order of use")));
        }
        let strength = Arg::new("strength").long("strength").value_name("0..1").value_parser(ValueParser::new(text::share));
        let command = command.arg(strength.help_heading("Colour").help("How much of all that: 0 nothing, 1 all [default: 1]"));
        let device = Arg::new("grade_device").long("grade-device").value_name("DEVICE");
        let device = device.value_parser(ValueParser::new(|text: &str| text.parse::<GradeDevice>()));
        command.arg(device.help_heading("Run").help("What grades: auto (whatever is faster here), cpu, gpu or gpu:N [default: auto]"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        grading: Grading,
    }

    #[test]
    fn sources_keep_the_order_in_which_they_were_typed() {
        let line = "x --lut a.cube --look clean --cdl b.cc --look c.toml --strength 0.25";
        let mut recipe = Recipe::default();
        Only::parse_from(line.split_whitespace()).grading.apply(&mut recipe);
        let look = |s: &str| Source::Look(s.into());
        assert_eq!(recipe.look.sources, [Source::Lut("a.cube".into()), look("clean"), Source::Cdl("b.cc".into()), look("c.toml")]);
        assert_eq!((recipe.look.strength, recipe.subject("look.cdl")), (0.25, "--cdl".to_string()));
        Only::parse_from(["x"]).grading.apply(&mut recipe);
        assert_eq!(recipe.look.sources.len(), 4);
    }
}
