//! `lastmile looks`: which looks there are, what they may hold, what is wrong with one, and looks for other programs.

use std::path::PathBuf;

use serde_json::json;

use super::models::{json_only, record};
use super::{Globals, out, say};
use crate::error::{Error, Exit, nearest};
#[cfg(feature = "gpu")]
use crate::grade::Grading;
use crate::grade::builtin::LOOKS;
use crate::grade::lut::Lut;
use crate::grade::op::Op;
use crate::grade::param::Param;
use crate::grade::{Look, Program, cdl};
use crate::lane::Lut3d;
use crate::recipe::text;

/// List, check and export looks
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  lastmile looks show warm-film > house.toml
  lastmile looks check house.toml
  lastmile looks export house.toml --cube 65 -o house.cube")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// The built-in looks
    List,
    /// What a look file may hold: every operation, or all about some of them
    Ops {
        #[arg(value_name = "OPERATION")]
        names: Vec<String>,
    },
    /// Print a look as a file to start from, with everything that its base says
    Show {
        #[arg(value_name = "NAME|FILE")]
        look: String,
    },
    /// Say what is wrong with looks, and what they do to greys and to the corners of the colour cube
    Check {
        #[arg(value_name = "NAME|FILE", required = true)]
        looks: Vec<String>,
    },
    /// Write a look for other programs
    Export {
        #[arg(value_name = "NAME|FILE")]
        look: String,
        /// As a .cube file with this many points per edge
        #[arg(long, value_name = "33|65", value_parser = points, group = "kind", required_unless_present = "cdl")]
        cube: Option<usize>,
        /// As an ASC CDL (.cc); refused if a CDL cannot say it
        #[arg(long, group = "kind")]
        cdl: bool,
        /// How much of the look: 0 nothing, 1 all
        #[arg(long, value_name = "0..1", value_parser = text::share, default_value = "1")]
        strength: f32,
        /// The file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file
        #[arg(long)]
        overwrite: bool,
    },
}

fn points(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(n) if (2..=129).contains(&n) => Ok(n),
        _ => Err("points per edge, 2 to 129, mostly 33 or 65".into()),
    }
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    match args.what {
        What::List => list(globals),
        What::Ops { names } => ops(&names, globals),
        What::Show { look } => {
            let look = Look::find(&look)?;
            record(globals, vec![json!({"event": "look", "name": look.name, "title": look.title, "text": look.to_string()})])?;
            if !json_only(globals) {
                out(look.to_string().trim_end())?;
            }
            Ok(Exit::Done)
        }
        What::Check { looks } => check(&looks, globals),
        What::Export { look, cube, cdl: _, strength, output, overwrite } => export(&look, cube, strength, output, overwrite),
    }
}

fn list(globals: &Globals) -> anyhow::Result<Exit> {
    let mut lines = Vec::new();
    for (name, _) in LOOKS {
        let look = Look::find(name)?;
        if !json_only(globals) {
            out(format_args!("{name:<13} {}", look.description))?;
        }
        lines.push(json!({"event": "look", "name": name, "title": look.title, "description": look.description}));
    }
    record(globals, lines)?;
    Ok(Exit::Done)
}

fn ops(names: &[String], globals: &Globals) -> anyhow::Result<Exit> {
    let chosen: Vec<Op> = match names {
        [] => Op::NAMES.iter().filter_map(|n| Op::named(n)).collect(),
        some => some.iter().map(|n| Op::named(n).ok_or_else(|| unknown(n))).collect::<Result<_, _>>()?,
    };
    let described = |p: &Param| json!({"name": p.name, "about": p.doc, "unit": p.unit, "allowed": p.allowed, "default": p.default});
    let line = |o: &Op| {
        let params: Vec<_> = o.params().iter().map(described).collect();
        json!({"event": "op", "name": o.name(), "about": o.about(), "params": params})
    };
    record(globals, chosen.iter().map(line).collect())?;
    if json_only(globals) {
        return Ok(Exit::Done);
    }
    for (i, op) in chosen.iter().enumerate() {
        if i > 0 {
            out("")?;
        }
        out(format_args!("{}: {}", op.name(), op.about()))?;
        for p in op.params() {
            told(&p)?;
        }
    }
    if names.is_empty() {
        out("\nEvery operation takes these as well:")?;
        for p in crate::grade::look::Place::params() {
            told(&p)?;
        }
    }
    Ok(Exit::Done)
}

fn unknown(name: &str) -> Error {
    let hint = nearest(name, Op::NAMES.iter().copied()).map_or_else(|| Op::NAMES.join(", "), str::to_owned);
    Error::usage("looks ops", format!("there is no operation \"{name}\""), hint)
}

fn told(p: &Param) -> std::io::Result<()> {
    let unit = if p.unit.is_empty() { String::new() } else { format!(", {}", p.unit) };
    out(format_args!("  {} = {}  ({}{unit})\n      {}", p.name, p.default, p.allowed, p.doc))
}

fn check(looks: &[String], globals: &Globals) -> anyhow::Result<Exit> {
    let mut lines = Vec::new();
    let mut worst = Exit::Done;
    for name in looks {
        let checked = Look::find(name).and_then(|look| {
            filters(&look)?;
            Ok((Program::new(std::slice::from_ref(&look), 1.0)?, look))
        });
        let (program, look) = match checked {
            Ok(done) => done,
            Err(e) => {
                say(format_args!("error: {e}"));
                lines.push(json!({"event": "look", "name": name, "error": {"kind": e.kind(), "message": e.to_string()}}));
                worst = Exit::Usage;
                continue;
            }
        };
        let found = Judged::of(&program);
        lines.push(json!({"event": "look", "name": name, "operations": look.steps.len(), "monotone": found.monotone,
            "black": found.black, "white": found.white, "clipped": found.clipped, "hues_turned_back": found.folded}));
        if !json_only(globals) {
            let ramp = if found.monotone { "greys keep their order" } else { "greys do NOT keep their order" };
            let (steps, share) = (look.steps.len(), found.clipped * 100.0);
            let code = |c: [f32; 3]| c.map(|v| (v * 255.0).round() as i32);
            let without = match look.spatial().as_slice() {
                [] => String::new(),
                left_out => format!(" (without {})", left_out.join(", ")),
            };
            out(format_args!(
                "{name}: {steps} operations; {ramp}; black becomes {:?}, white {:?}; {share:.1} % of all colours leave 0 to 1{without}",
                code(found.black),
                code(found.white)
            ))?;
            if let Some(hue) = found.folded {
                out(format_args!(
                    "{name}: hues around {hue:.0} degrees come out in reverse order, which tears soft colours apart; turn a band of `hsl` less, or its neighbour along"
                ))?;
            }
        }
    }
    record(globals, lines)?;
    Ok(worst)
}

/// Whether the look's filters are sound WGSL.
#[cfg(feature = "gpu")]
fn filters(look: &Look) -> crate::Result<()> {
    let Some(grading) = Grading::new(std::slice::from_ref(look), 1.0)? else { return Ok(()) };
    grading.formulas().iter().filter_map(|(_, formula)| formula.as_ref()).try_for_each(crate::gpu::check)
}

/// This build cannot run filters at all, and says so when one is used.
#[cfg(not(feature = "gpu"))]
fn filters(_: &Look) -> crate::Result<()> {
    Ok(())
}

/// What a look does, in numbers.
struct Judged {
    /// Luma of a grey ramp never falls.
    monotone: bool,
    black: [f32; 3],
    white: [f32; 3],
    /// Share of a grid over the colour cube that leaves 0..1 by more than half an 8-bit code.
    clipped: f64,
    /// A hue in OKLab, degrees, at which rising hues become falling ones: the first, if there is any.
    folded: Option<f32>,
}

impl Judged {
    fn of(program: &Program) -> Self {
        let ramp: Vec<f32> = (0..=1023).map(|i| crate::grade::space::luma(program.colour([i as f32 / 1023.0; 3]))).collect();
        let n = 17;
        let step = |i: usize| i as f32 / (n - 1) as f32;
        let out = |c: [f32; 3]| c.iter().any(|v| !(-0.5 / 255.0..=1.0 + 0.5 / 255.0).contains(v));
        let clipped = (0..n * n * n).filter(|i| out(program.colour([step(i % n), step(i / n % n), step(i / n / n)]))).count();
        Self {
            monotone: ramp.windows(2).all(|w| w[1] >= w[0] - 1e-6),
            black: program.colour([0.0; 3]),
            white: program.colour([1.0; 3]),
            clipped: clipped as f64 / (n * n * n) as f64,
            folded: folded(program),
        }
    }
}

/// The first hue of a circle of middling colours at which a look turns the order of hues around.
fn folded(program: &Program) -> Option<f32> {
    use crate::grade::space::{Space, convert};
    /// Steps of one degree may come out this much backwards: rounding, and colours that are nearly grey.
    const SLACK_DEGREES: f32 = 0.25;
    let hue = |degrees: f32| {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let [_, a, b] =
            convert(program.colour(convert([0.7, 0.08 * cos, 0.08 * sin], Space::Oklab, Space::Encoded)), Space::Encoded, Space::Oklab);
        (a.hypot(b) > 0.02).then(|| b.atan2(a).to_degrees())
    };
    (0..360).map(|d| d as f32).find(|d| match (hue(*d), hue(d + 1.0)) {
        (Some(from), Some(to)) => (to - from + 540.0).rem_euclid(360.0) - 180.0 < -SLACK_DEGREES,
        _ => false,
    })
}

fn export(name: &str, cube: Option<usize>, strength: f32, output: PathBuf, overwrite: bool) -> anyhow::Result<Exit> {
    if output.exists() && !overwrite {
        return Err(Error::usage(output.display(), "exists already", "another name, or --overwrite").into());
    }
    let look = Look::find(name)?;
    let program = Program::new(std::slice::from_ref(&look), strength)?;
    let left_out = look.spatial();
    if !left_out.is_empty() {
        say(format_args!("note: left out, because it is no function of colour alone: {}", left_out.join(", ")));
    }
    if !left_out.is_empty() && look.steps.iter().filter(|s| !s.is_noop()).count() == left_out.len() {
        let what = format!("nothing of it is a function of colour alone: {}", left_out.join(", "));
        return Err(Error::usage(name, what, "`lastmile grade --look`, which applies all of it").into());
    }
    let (text, told) = match cube {
        Some(points) => {
            let cube = Lut3d::from_planes(points, |r, g, b| program.run(r, g, b))?;
            let (most, usual) = difference(&program, &cube);
            let text = Lut::from_cube(&look.title, cube).to_cube()?;
            let at = format!("for sRGB-encoded values, tetrahedral; off by {usual:.2}/255 at the 99.9th percentile, at most {most:.2}/255");
            (text, at)
        }
        None => {
            let (correction, median, most) = cdl::nearest(|c| program.colour(c));
            if most > 1.0 {
                let what = format!("a CDL cannot say it: the nearest one is off by dE2000 {median:.1} in the middle and {most:.1} at most");
                return Err(Error::usage(name, what, "--cube 65, which can").into());
            }
            (correction.to_cc(), format!("for sRGB-encoded values; off by dE2000 {most:.2} at most"))
        }
    };
    std::fs::write(&output, text).map_err(|e| Error::io(&output, e))?;
    say(format_args!("{} written: {told}", output.display()));
    Ok(Exit::Done)
}

/// The largest difference between a look and its cube, and the 99.9th percentile, in 8-bit codes: over a hundred thousand colours
/// that no grid holds, and the ramps of greys and of the cube's edges, where kinks of a look often lie.
fn difference(program: &Program, cube: &Lut3d) -> (f32, f32) {
    const SPREAD: usize = 100_000;
    // Multiples of powers of the root of x^4 = x + 1, which fill a cube evenly (Roberts 2018).
    const STEPS: [f64; 3] = [0.819_172_513_396_164_4, 0.671_043_606_703_789_2, 0.549_700_477_901_970_2];
    let spread = (1..=SPREAD).map(|i| STEPS.map(|s| (i as f64 * s).fract() as f32));
    let ramps = (0..1024 * 13).map(|i| match (i / 13, i % 13) {
        (step, 12) => [step as f32 / 1023.0; 3],
        // Twelve edges: along each axis, with the other two at their ends.
        (step, edge) => {
            let mut c = [step as f32 / 1023.0; 3];
            (c[(edge + 1) % 3], c[(edge + 2) % 3]) = (((edge / 3) & 1) as f32, ((edge / 3) >> 1) as f32);
            c
        }
    });
    let colours: Vec<[f32; 3]> = spread.chain(ramps).collect();
    let [mut r, mut g, mut b] = [0, 1, 2].map(|k| colours.iter().map(|c| c[k]).collect::<Vec<_>>());
    program.run(&mut r, &mut g, &mut b);
    let mut all: Vec<f32> = (colours.iter().zip(r.iter().zip(&g).zip(&b)))
        .map(|(c, ((r, g), b))| {
            let (a, b) = ([*r, *g, *b], cube.eval(*c));
            (0..3).map(|k| (a[k].clamp(0.0, 1.0) - b[k].clamp(0.0, 1.0)).abs() * 255.0).fold(0.0, f32::max)
        })
        .collect();
    let most = all.iter().fold(0.0, |m, v| v.max(m));
    let spread = &mut all[..SPREAD];
    spread.sort_by(f32::total_cmp);
    (most, spread[SPREAD * 999 / 1000])
}
