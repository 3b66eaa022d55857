//! `lastmile grade`: pictures in, the same pictures with other colours out.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

use super::flags::{Files, Once, Paths, Work};
use super::{Globals, job};
use crate::brand::kit::GroupBy;
use crate::error::{Error, Exit};
use crate::grade::device::GradeDevice;
use crate::grade::grading::Source;
use crate::recipe::keys::{self, GROUPS};
use crate::recipe::{Recipe, text};
use crate::upscale::size::Size;

/// Give pictures one look; sizes stay, metadata comes along
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile grade renders/ -o graded/ --look clean
  lastmile grade renders/ -o graded/ --lut film.cube --strength 0.6
  lastmile grade hero.png -o hero.tiff --cdl shot.cc --look house.toml --depth 16
  lastmile grade renders/ -o matched/ --match north-star.jpg --group-by generator
  lastmile grade frames/ -o matched/ --match north-star.jpg --sequence

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
    if recipe.look.sources.is_empty() && recipe.look.references.is_empty() {
        let hint = "--look NAME (see `lastmile looks list`), --lut FILE, --cdl FILE or --match REF";
        return Err(Error::usage("grade", "nothing says how", hint).into());
    }
    args.files.apply(&mut recipe)?;
    job::run(&recipe, &args.paths, &args.work, &args.once, globals)
}

/// `--match`; `--look`, `--lut` and `--cdl`, each any number of times, in the order in which they were typed; and `--strength`.
#[derive(Debug, Clone, Default)]
pub struct Grading {
    references: Vec<PathBuf>,
    group_by: Option<(GroupBy, &'static str)>,
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
        if !self.references.is_empty() {
            recipe.look.references.clone_from(&self.references);
            recipe.flag("look.match", "--match");
        }
        if let Some((group_by, flag)) = self.group_by {
            recipe.look.group_by = group_by;
            recipe.flag("look.group_by", flag);
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
        let word = matches.get_one::<String>("group-by").and_then(|w| keys::of(&GROUPS, w)).map(|by| (by, "--group-by"));
        let sequence = matches.get_flag("sequence").then_some((GroupBy::Sequence, "--sequence"));
        Ok(Self {
            references: matches.get_many("match").into_iter().flatten().cloned().collect(),
            group_by: sequence.or(word),
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
        let colour = |arg: Arg| arg.help_heading("Colour");
        let mut command = command
            .arg(
                colour(Arg::new("match").long("match").value_name("REF").num_args(1..).action(ArgAction::Append))
                    .value_parser(ValueParser::path_buf())
                    .help("Give pictures the colours and tones of these pictures, before any look"),
            )
            .arg(
                colour(Arg::new("group-by").long("group-by").value_name("WHAT").requires("match"))
                    .value_parser(PossibleValuesParser::new(keys::words(&GROUPS)))
                    .help("One match for each picture, for all of a folder or generator, or for all [default: picture]"),
            )
            .arg(
                colour(Arg::new("sequence").long("sequence").action(ArgAction::SetTrue).requires("match").conflicts_with("group-by"))
                    .help("The inputs are frames of one sequence: one match for all, the same as --group-by sequence"),
            );
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
        let line = "x --match a.png b.png --match c.png --group-by folder";
        Only::parse_from(line.split_whitespace()).grading.apply(&mut recipe);
        assert_eq!((recipe.look.references.len(), recipe.look.group_by), (3, GroupBy::Folder));
        Only::parse_from("x --match a.png --sequence".split_whitespace()).grading.apply(&mut recipe);
        assert_eq!((recipe.look.group_by, recipe.subject("look.group_by")), (GroupBy::Sequence, "--sequence".to_string()));
        assert!(Only::try_parse_from("x --sequence".split_whitespace()).is_err(), "nothing is matched");
    }
}
