//! The command line: the only place that reads arguments and the environment, prints, and picks an exit code.
//!
//! One file per subcommand, each with `Args` (what clap parses) and `run(args, &Globals) -> anyhow::Result<Exit>`. To add one:
//! a `mod` line, a variant of `Verb` and its arm in `Verb::run`. Data goes to standard output ([`out`]), everything a person
//! reads while it runs to standard error ([`say`]).

pub mod apply;
#[cfg(feature = "onnx")]
pub mod bench;
pub mod brand;
pub mod compare;
pub mod completions;
pub mod demo;
#[cfg(feature = "onnx")]
pub mod doctor;
mod estimate;
mod flags;
mod forecast;
pub mod grade;
mod grade_device;
mod groups;
pub mod import;
pub mod inspect;
mod inspecting;
mod job;
pub mod looks;
pub mod man;
pub mod meta;
pub mod models;
pub mod plan;
mod progress;
pub mod pull;
pub mod recipe;
mod rehearsal;
pub mod review;
pub mod run;
#[cfg(feature = "onnx")]
pub mod runtime;
pub mod upscale;
pub mod watch;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use etcetera::BaseStrategy;

use crate::error::{Error, Exit};

#[derive(Parser)]
#[command(
    name = "lastmile",
    version,
    about = "Your renders are done. lastmile makes them ready to deliver.",
    help_template = "{about}\n\n{usage-heading} {usage}\n\n{subcommands}{after-help}",
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    disable_help_subcommand = true,
    after_help = EXAMPLES
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
A folder goes in, a folder comes out. Sources are never touched. Cut a run short, and the same
command goes on where it stopped.

  lastmile upscale renders/ -o final/                    four times larger, tonight
  lastmile upscale renders/ -o final/ --long-edge 3840   all of it in 4K
  lastmile upscale hero.png -o hero.tiff --print 24x36in@300
  lastmile inspect final/ --source renders/              what did the upscaler invent?

`lastmile VERB --help` explains every flag. If something is odd: `lastmile doctor`.";

#[derive(Subcommand)]
enum Verb {
    Upscale(Box<upscale::Args>),
    Grade(Box<grade::Args>),
    Brand(Box<brand::Args>),
    Run(Box<run::Args>),
    Plan(plan::Args),
    Inspect(inspect::Args),
    Watch(Box<watch::Args>),
    Recipe(recipe::Args),
    Review(review::Args),
    Apply(apply::Args),
    Compare(compare::Args),
    Demo(demo::Args),
    Looks(looks::Args),
    Meta(meta::Args),
    Models(models::Args),
    #[cfg(feature = "onnx")]
    Runtime(runtime::Args),
    #[cfg(feature = "onnx")]
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Verb {
    fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        match self {
            Self::Upscale(args) => upscale::run(*args, globals),
            Self::Grade(args) => grade::run(*args, globals),
            Self::Brand(args) => brand::run(*args, globals),
            Self::Run(args) => run::run(*args, globals),
            Self::Plan(args) => plan::run(args, globals),
            Self::Inspect(args) => inspect::run(&args, globals),
            Self::Watch(args) => watch::run(*args, globals),
            Self::Recipe(args) => recipe::run(args, globals),
            Self::Review(args) => review::run(args, globals),
            Self::Apply(args) => apply::run(args, globals),
            Self::Compare(args) => compare::run(args, globals),
            Self::Demo(args) => demo::run(&args, globals),
            Self::Looks(args) => looks::run(args, globals),
            Self::Meta(args) => meta::run(args, globals),
            Self::Models(args) => models::run(args, globals),
            #[cfg(feature = "onnx")]
            Self::Runtime(args) => runtime::run(args, globals),
            #[cfg(feature = "onnx")]
            Self::Doctor(args) => doctor::run(args, globals),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
        }
    }
}

/// Flags that every verb takes.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Everywhere")]
pub struct GlobalArgs {
    /// Write one JSON object a line to FILE, or to standard output with `-`
    #[arg(long, global = true, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Only errors and the summary
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Colours in messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Never download anything (the same as LASTMILE_OFFLINE=1 for the runtime)
    #[arg(long, global = true)]
    no_install: bool,
    /// The ONNX Runtime library to use, instead of searching for one
    #[arg(long, global = true, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    Auto,
    Always,
    Never,
}

/// What every verb needs to know about where and how it runs; made once, from flags and the environment.
#[derive(Debug, Clone)]
pub struct Globals {
    /// Models, runtime and caches: `LASTMILE_HOME`, else the platform's data folder. May not exist yet.
    pub home: PathBuf,
    /// `LASTMILE_OFFLINE=1`: nothing may use the network.
    pub offline: bool,
    /// `--no-install` or offline: nothing may be downloaded or installed unasked.
    pub no_install: bool,
    /// `--onnxruntime`, the library to load.
    pub onnxruntime: Option<PathBuf>,
    /// `ORT_DYLIB_PATH`, the next place to look.
    pub ort_dylib_path: Option<PathBuf>,
    /// Where JSON lines go, if wanted.
    pub json: Option<JsonTarget>,
    /// `SOURCE_DATE_EPOCH`: the time that stands in what is written, seconds since 1970 UTC.
    pub epoch: Option<i64>,
    /// Whether messages on standard error may be coloured.
    pub color: bool,
    /// -1 quiet, 0 normal, 1 and up verbose.
    pub verbosity: i8,
}

/// Where `--json` writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonTarget {
    Stdout,
    File(PathBuf),
}

impl JsonTarget {
    /// Opens the target; a file is replaced.
    pub fn open(&self) -> crate::Result<Box<dyn Write + Send>> {
        match self {
            Self::Stdout => Ok(Box::new(io::stdout())),
            Self::File(path) => match std::fs::File::create(path) {
                Ok(f) => Ok(Box::new(io::BufWriter::new(f))),
                Err(e) => Err(Error::usage(
                    "--json",
                    format!("{} cannot be written: {e}", path.display()),
                    "a file in a folder that exists, or `-`",
                )),
            },
        }
    }
}

impl Globals {
    fn new(args: GlobalArgs) -> crate::Result<Self> {
        Self::from_env(args, &|name| std::env::var_os(name).filter(|v| !v.is_empty()), io::stderr().is_terminal())
    }

    fn from_env(args: GlobalArgs, env: &dyn Fn(&str) -> Option<OsString>, terminal: bool) -> crate::Result<Self> {
        let home = match env("LASTMILE_HOME") {
            Some(dir) => std::path::absolute(&dir).map_err(|e| Error::io(&dir, e))?,
            None => etcetera::choose_base_strategy().map(|s| s.data_dir().join("lastmile")).map_err(|e| {
                Error::usage("LASTMILE_HOME", format!("not set, and there is no home folder: {e}"), "LASTMILE_HOME=/some/folder")
            })?,
        };
        let offline = env("LASTMILE_OFFLINE").is_some_and(|v| v != "0");
        let color = match args.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && env("NO_COLOR").is_none(),
        };
        let epoch = env("SOURCE_DATE_EPOCH").map(|v| {
            // Years have four digits in metadata: to the end of 9999.
            let seconds = v.to_str().and_then(|v| v.trim().parse::<i64>().ok()).filter(|s| (0..=253_402_300_799).contains(s));
            let what = || format!("`{}` is no number of seconds since 1970 that ends before the year 10000", v.display());
            let wrong = || Error::usage("SOURCE_DATE_EPOCH", what(), "unset it");
            seconds.ok_or_else(wrong)
        });
        let epoch = epoch.transpose()?;
        Ok(Self {
            home,
            offline,
            no_install: args.no_install || offline,
            onnxruntime: args.onnxruntime,
            ort_dylib_path: env("ORT_DYLIB_PATH").map(PathBuf::from),
            epoch,
            json: args.json.map(|p| if p == Path::new("-") { JsonTarget::Stdout } else { JsonTarget::File(p) }),
            color,
            verbosity: if args.quiet { -1 } else { args.verbose.min(9) as i8 },
        })
    }
}

/// Writes one line of data to standard output. A reader that went away is [`io::ErrorKind::BrokenPipe`], which ends the program quietly.
pub fn out(line: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", harmless(&line.to_string()))
}

/// Writes one line for a person to standard error. A closed standard error is no reason to stop working.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{}", harmless(&line.to_string()));
}

/// A text with its control characters spelled out, but for the ends of lines and tabs: names of files and what stands in them are
/// anybody's, and a terminal would obey.
pub fn harmless(text: &str) -> String {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return text.to_owned();
    }
    text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Whether there is such a verb in this build, for messages that name one.
pub fn has_verb(name: &str) -> bool {
    <Cli as clap::CommandFactory>::command().find_subcommand(name).is_some()
}

/// The command as it was typed, quoted for a shell.
pub fn command_line() -> String {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program).file_stem().unwrap_or(OsStr::new("lastmile")).to_os_string();
    std::iter::once(program).chain(words).map(|w| quoted(&w)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
pub fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Parses the arguments, runs the verb and turns whatever happened into an exit code.
pub fn main() -> ExitCode {
    grade_device::calm_drivers();
    let cli = Cli::try_parse().unwrap_or_else(|e| meant(e).exit());
    quiet_jobs();
    let run = || Globals::new(cli.global).map_err(anyhow::Error::from).and_then(|globals| cli.verb.run(&globals));
    let exit = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(e)) => report(&e),
        Err(_) => Exit::Internal,
    };
    ExitCode::from(exit as u8)
}

/// What people type who come from other tools, and what to type here.
const ELSEWHERE: [(&str, &str); 16] = [
    ("--width", "--size 3840x fixes the width"),
    ("--height", "--size x2160 fixes the height"),
    ("--recursive", "folders are walked into anyway"),
    ("-r", "folders are walked into anyway"),
    ("-i", "pictures and folders come without a flag: lastmile upscale IN -o OUT"),
    ("--input", "pictures and folders come without a flag: lastmile upscale IN -o OUT"),
    ("--output-dir", "-o OUT"),
    ("-s", "--scale 4"),
    ("--outscale", "--scale 4"),
    ("-n", "--model ID, see `lastmile models list`"),
    ("--model-name", "--model ID, see `lastmile models list`"),
    ("-m", "--model ID, see `lastmile models list`"),
    ("-t", "--tile 256"),
    ("-f", "--format jpeg"),
    ("-g", "--device cuda:0"),
    ("--gpu-id", "--device cuda:0"),
];

/// Where a flag of another tool was typed, says what it is called here.
fn meant(mut e: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let typed = e.get(ContextKind::InvalidArg).map(ToString::to_string).filter(|_| e.kind() == ErrorKind::UnknownArgument);
    let here = typed.and_then(|typed| ELSEWHERE.iter().find(|(flag, _)| *flag == typed));
    if let Some((_, here)) = here {
        e.remove(ContextKind::SuggestedArg);
        e.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*here).into()]));
    }
    e
}

/// A job's panic becomes that job's error; told twice it would only tear the progress line.
fn quiet_jobs() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !std::thread::current().name().is_some_and(|n| n.starts_with("job-")) {
            usual(info);
        }
    }));
}

/// Prints an error and picks its exit code.
fn report(e: &anyhow::Error) -> Exit {
    if e.chain().any(|c| c.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)) {
        return Exit::Done;
    }
    // This crate's errors tell their cause themselves; above them there may be context.
    let mut said = Vec::new();
    for cause in e.chain() {
        said.push(cause.to_string());
        if cause.downcast_ref::<Error>().is_some() {
            break;
        }
    }
    say(format_args!("error: {}", said.join(": ")));
    e.chain().find_map(|c| c.downcast_ref::<Error>()).map_or(Exit::Internal, Error::exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn globals(args: &[&str], env: &'static [(&'static str, &'static str)]) -> Globals {
        #[derive(Parser)]
        struct Only {
            #[command(flatten)]
            global: GlobalArgs,
        }
        let args = Only::parse_from([&["lastmile"], args].concat()).global;
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        Globals::from_env(args, &env, true).unwrap()
    }

    #[test]
    fn clap_finds_nothing_wrong() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_and_environment_meet_in_globals() {
        let g = globals(&["--json", "-", "-q"], &[("LASTMILE_HOME", "/h"), ("LASTMILE_OFFLINE", "1"), ("NO_COLOR", "1")]);
        assert_eq!(g.home, std::path::absolute("/h").unwrap());
        assert!(g.offline && g.no_install && !g.color);
        assert_eq!((g.json, g.verbosity, g.epoch), (Some(JsonTarget::Stdout), -1, None));
        let g = globals(
            &["-vv", "--json", "a.jsonl", "--color", "always"],
            &[("LASTMILE_HOME", "/h"), ("LASTMILE_OFFLINE", "0"), ("NO_COLOR", "1"), ("SOURCE_DATE_EPOCH", "86400")],
        );
        assert_eq!(g.epoch, Some(86_400));
        assert!(!g.offline && !g.no_install && g.color);
        assert_eq!((g.json, g.verbosity), (Some(JsonTarget::File("a.jsonl".into())), 2));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let e = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(report(&e), Exit::Done);
        assert_eq!(report(&anyhow::anyhow!("odd")), Exit::Internal);
        assert_eq!(report(&anyhow::Error::from(Error::runtime("missing", "")).context("starting")), Exit::Unavailable);
    }
}
