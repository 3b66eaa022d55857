//! `lastmile brand`: one look, the logo, and the files a brand wants; and how near pictures are to it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::flags::{Files, Once, Paths, Work};
use super::groups::{group, look_at};
use super::models::{json_only, record};
use super::{Globals, job, out, progress, say};
use crate::batch::plan::{Request, plan};
use crate::batch::{HOLD, PROOF};
use crate::brand::apply::Brand;
use crate::brand::card::{card, inline};
use crate::brand::kit::{EXTENSION, GroupBy, Kit, blank};
use crate::brand::palette::Swatch;
use crate::brand::proof::small;
use crate::brand::report::{Report, Row};
use crate::brand::score;
use crate::codec::Limits;
use crate::error::{Error, Exit};
use crate::grade::device::GradeDevice;
use crate::image::Image;
use crate::recipe::{Recipe, Template};
use crate::upscale::size::Size;

/// Give pictures a brand's look, its logo and its file sizes; score them
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  lastmile brand new Acme --north-star refs/*.jpg --palette 'red=#d0103a' --logo logo.png
  lastmile brand score renders/ --kit acme.brand.toml
  lastmile brand renders/ -o final/ --kit acme.brand.toml --proof 8
  lastmile brand renders/ -o final/ --kit acme.brand.toml"
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    apply: Option<Apply>,
}

/// Give pictures a brand's look, its logo and its file sizes
#[derive(clap::Args, Debug, Clone)]
// clap counts a group as given by its own arguments, and leaves them out where others are flattened in.
#[group(args = ["kit"])]
pub struct Apply {
    #[command(flatten)]
    paths: Paths,
    /// The brand: a .brand.toml file
    #[arg(long, value_name = "FILE", required = true)]
    kit: Option<PathBuf>,
    /// What grades: gpu, gpu:N, or the processor, which auto takes as well [default: auto]
    #[arg(long, value_name = "DEVICE", help_heading = "Run")]
    grade_device: Option<GradeDevice>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    pub(super) once: Once,
}

impl Apply {
    /// Runs it: a recipe of nothing but the kit.
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<Exit> {
        let mut recipe = Recipe::default();
        // No network: nothing of it is searched for, let alone loaded.
        recipe.upscale.model = Some("none".into());
        recipe.upscale.size = Size::Scale(1.0);
        recipe.upscale.colour_lock = false;
        recipe.kit = self.kit;
        recipe.flag("kit.file", "--kit");
        if let Some(device) = self.grade_device {
            recipe.look.device = device;
            recipe.flag("look.device", "--grade-device");
        }
        self.files.apply(&mut recipe)?;
        job::run(&recipe, &self.paths, &self.work, &self.once, globals)
    }
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Write a kit to start from and a page that shows it, into this folder
    New {
        /// The brand's name; the kit is named after it
        #[arg(value_name = "NAME")]
        name: String,
        /// Pictures that show how everything shall look
        #[arg(long, value_name = "REF", num_args = 1..)]
        north_star: Vec<PathBuf>,
        /// The brand's colours: '#d0103a' or 'red=#d0103a'
        #[arg(long, value_name = "COLOUR", num_args = 1..)]
        palette: Vec<String>,
        /// An SVG, or a PNG with alpha
        #[arg(long, value_name = "FILE")]
        logo: Option<PathBuf>,
    },
    /// Say what is wrong with a kit
    Check {
        #[arg(value_name = "KIT", required = true)]
        kits: Vec<PathBuf>,
    },
    /// Score pictures as they are: how near to the references and the palette, and how alike
    Score {
        /// Pictures and folders of pictures
        #[arg(value_name = "INPUT", required = true)]
        inputs: Vec<PathBuf>,
        /// The brand: a .brand.toml file
        #[arg(long, value_name = "FILE")]
        kit: PathBuf,
        /// Write a page with plots
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Write a table
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
        /// Replace the page and the table if they are there
        #[arg(long)]
        overwrite: bool,
    },
}

/// Runs the verb.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    match (args.what, args.apply) {
        (Some(What::New { name, north_star, palette, logo }), _) => new(&name, &north_star, &palette, logo.as_deref(), globals),
        (Some(What::Check { kits }), _) => check(&kits, globals),
        (Some(What::Score { inputs, kit, html, csv, overwrite }), _) => {
            let there = [&html, &csv].into_iter().flatten().find(|path| path.symlink_metadata().is_ok());
            if let Some(path) = there.filter(|_| !overwrite) {
                return Err(Error::usage(path.display(), "is there already", "another name, or --overwrite").into());
            }
            score_all(&inputs, &kit, html.as_deref(), csv.as_deref(), globals)
        }
        (None, Some(apply)) => apply.run(globals),
        (None, None) => {
            Err(Error::usage("brand", "there is nothing to work on", "lastmile brand renders/ -o final/ --kit acme.brand.toml").into())
        }
    }
}

fn new(name: &str, references: &[PathBuf], palette: &[String], logo: Option<&Path>, globals: &Globals) -> anyhow::Result<Exit> {
    let slug: String = name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() {
        return Err(Error::usage("NAME", format!("`{name}` has no letter or digit"), "lastmile brand new Acme").into());
    }
    let (file, page) = (PathBuf::from(format!("{slug}{EXTENSION}")), PathBuf::from(format!("{slug}.brand.html")));
    for path in [&file, &page] {
        if path.symlink_metadata().is_ok() {
            return Err(Error::usage(path.display(), "it is there already", "another name, or move it away").into());
        }
    }
    let palette = palette.iter().map(|c| Swatch::parse(c)).collect::<crate::Result<Vec<_>>>()?;
    let text = |p: &Path| {
        let told = || Error::usage(p.display(), "a kit cannot hold this path: it is not UTF-8", "rename the file");
        p.to_str().map(str::to_owned).ok_or_else(told)
    };
    let references = references.iter().map(|r| text(r)).collect::<crate::Result<Vec<_>>>()?;
    let logo = logo.map(text).transpose()?;
    let written = blank(name, &references, &palette, logo.as_deref());
    // A kit that this program cannot use is not written.
    let shown = card(&Brand::open(Kit::parse(&file, &written)?)?)?;
    std::fs::write(&file, written).map_err(|e| Error::io(&file, e))?;
    std::fs::write(&page, shown).map_err(|e| Error::io(&page, e))?;
    record(globals, vec![serde_json::json!({"event": "kit", "name": name, "kit": file, "card": page})])?;
    say(format_args!("{} and {} written.", file.display(), page.display()));
    say(format_args!("lastmile brand score PICTURES --kit {}", file.display()));
    Ok(Exit::Done)
}

fn check(kits: &[PathBuf], globals: &Globals) -> anyhow::Result<Exit> {
    let mut lines = Vec::new();
    for path in kits {
        let kit = Kit::read(path)?;
        let told = format!(
            "{}: {} references, {} colours, {}, {}",
            path.display(),
            kit.references.len(),
            kit.palette.len(),
            if kit.logo.is_some() { "a logo" } else { "no logo" },
            progress::files(kit.exports.len()) + " per picture"
        );
        lines.push(serde_json::json!({"event": "kit", "name": kit.name, "kit": path, "references": kit.references.len(), "palette": kit.palette.len()}));
        for export in &kit.exports {
            if let Some(Err(e)) = export.naming.as_ref().map(|n| n.parse::<Template>()) {
                return Err(Error::usage(path.display(), format!("export {}: `naming`: {e}", export.name), "\"{stem}_{w}x{h}\"").into());
            }
        }
        Brand::open(kit)?;
        if !json_only(globals) {
            out(told)?;
        }
    }
    record(globals, lines)?;
    Ok(Exit::Done)
}

fn score_all(inputs: &[PathBuf], kit: &Path, html: Option<&Path>, csv: Option<&Path>, globals: &Globals) -> anyhow::Result<Exit> {
    let brand = Brand::open(Kit::read(kit)?)?;
    // Only the finding of sources is wanted: nothing is written there.
    let nowhere = PathBuf::from("lastmile-brand-score");
    let planned = plan(&Request { inputs: inputs.to_vec(), output: nowhere, ..Request::default() }, &|_| Ok((0, 0)))?;
    // What missed a gate is not delivered, and a proof holds the pictures as they were.
    let aside = |source: &Path| {
        inputs.iter().filter_map(|input| source.strip_prefix(input).ok()).any(|below| {
            let first = below.components().next().map(|c| c.as_os_str());
            [HOLD, PROOF].iter().any(|name| first == Some(OsStr::new(name)))
        })
    };
    let sources: Vec<PathBuf> = planned.items.iter().map(|i| i.source.clone()).filter(|source| !aside(source)).collect();
    if brand.kit().references.is_empty() && brand.kit().palette.is_empty() {
        return Err(Error::usage(
            kit.display(),
            "it has neither references nor a palette to score by",
            "references = [\"north-star.jpg\"]",
        )
        .into());
    }
    let by = match brand.kit().group_by {
        GroupBy::Picture => GroupBy::Folder,
        by => by,
    };
    let mut rows = Vec::new();
    let mut failed = 0;
    // Longer side of the copies on the page, pixels.
    const COPY: usize = 160;
    let see = |path: &Path, image: &Image| {
        let copy = html.map(|_| small(image, COPY).and_then(|copy| inline(&copy))).transpose()?;
        Ok((group(path, image, by), score::statistics(image)?, copy))
    };
    look_at(&sources, &Limits::default(), &see, &mut |path, seen| match seen {
        Ok((group, statistics, copy)) => {
            rows.push(Row { picture: path.to_path_buf(), group, score: brand.score(&statistics), statistics, copy });
        }
        Err(e) => {
            failed += 1;
            say(format_args!("error: {e}"));
        }
    });
    if rows.is_empty() && failed == 0 {
        return Err(Error::usage(inputs[0].display(), "no pictures in there", "a folder with PNG, JPEG, WebP or TIFF files").into());
    }
    let report = Report::new(rows);
    let mut lines: Vec<serde_json::Value> = Vec::new();
    for r in &report.rows {
        lines.push(serde_json::json!({
            "event": "score", "input": r.picture.display().to_string(), "group": r.group, "score": r.score.score,
            "colour_distance": r.score.colour, "tone_distance": r.score.tone, "p90_de2000": r.score.p90,
            "palette": {"share": r.score.palette.any, "de2000": r.score.palette.distance, "swatches": r.score.palette.swatches},
        }));
    }
    for g in &report.groups {
        lines.push(
            serde_json::json!({"event": "group", "group": g.name, "pictures": g.pictures, "score": g.score, "consistency": g.consistency}),
        );
        if !json_only(globals) {
            out(format_args!("{:>5.1} score {:>5.1} consistency {:>6} pictures  {}", g.score, g.consistency, g.pictures, g.name))?;
        }
    }
    if !json_only(globals) {
        out(format_args!("{:>5.1} score {:>5.1} consistency {:>6} pictures  all", report.score, report.consistency, report.rows.len()))?;
    }
    lines.push(serde_json::json!({"event": "set", "pictures": report.rows.len(), "failed": failed, "score": report.score, "consistency": report.consistency}));
    record(globals, lines)?;
    for (path, text) in [(html, report.html(brand.kit(), brand.profile())), (csv, report.csv())] {
        if let Some(path) = path {
            std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
        }
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}
