//! `lastmile demo`: small pictures of its own, put through everything, and every promise beside what was measured.

mod plant;
mod scene;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Globals, JsonTarget, out, quoted, review, say};
use crate::Band;
use crate::batch::journal::STATE;
use crate::codec::{self, Encoding, Format, Limits, Metadata, Text};
use crate::error::{Error, Exit};
use crate::image::Channels;
use crate::inspect::Rect;
use crate::review::{HEAT, Options, Review};

/// See it work on pictures of its own: every promise beside what was measured
#[derive(clap::Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  lastmile demo
  lastmile demo --no-open --pictures 100      the trial that detection is judged by

Everything it makes is in one folder that may be deleted afterwards. It needs no network once ONNX Runtime is there.")]
pub struct Args {
    /// Folder for the pictures; new, or that of an earlier demo
    #[arg(short, long, value_name = "DIR", default_value = "lastmile-demo")]
    output: PathBuf,
    /// How many pictures
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(8..=1000))]
    pictures: u32,
    /// How many of them get a defect
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=200))]
    defects: u32,
    /// The look that is shown
    #[arg(long, value_name = "NAME|FILE", default_value = "warm-film")]
    look: String,
    /// Print the table only
    #[arg(long)]
    no_open: bool,
}

/// One line of the table.
struct Promise {
    promise: &'static str,
    measured: String,
    ok: bool,
}

/// The file that says whose folder this is.
const MARK: &str = "demo.json";
/// What was planted where.
const PLANTED: &str = "planted.json";
/// The brand that the demo makes up, and the recipe that does everything at once.
const KIT: &str = "northlight.brand.toml";
const RECIPE: &str = "campaign.recipe.toml";
/// What a shop takes at most, thousands of bytes.
const SHOP_KB: u64 = 40;

/// Runs the verb.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let clock = Instant::now();
    let defects = args.defects.min(args.pictures / 2);
    prepare(&args.output, &format!("{} pictures, {defects} defects", args.pictures))?;
    let demo = Demo { root: &args.output, globals, pictures: args.pictures, defects };
    let step = |what: &str| {
        if globals.verbosity >= 0 {
            say(format_args!("{:5.1} s  {what}", clock.elapsed().as_secs_f64()));
        }
    };
    step(&format!("rendering {} pictures in {} styles", args.pictures, scene::STYLES.len()));
    let names = demo.render()?;
    step("enlarging them 4x, by the built-in networks and without one");
    let made = demo.lastmile(&["upscale", "renders", "-o", "upscaled", "--scale", "4"])?;
    demo.lastmile(&["upscale", "renders", "-o", "resampled", "--scale", "4", "--model", "none"])?;
    let mut table = vec![demo.again(&made)?, demo.tiles(&names)?, demo.prompts(&names)?];
    step(&format!("planting {defects} defects, then looking for them"));
    let planted = demo.plant(&names)?;
    let heat = Path::new("delivered").join(STATE).join(HEAT).display().to_string();
    let reports = demo.lastmile(&["inspect", "delivered", "--source", "renders", "--heat", &heat])?;
    table.extend(demo.found(&planted, &reports)?);
    step(&format!("the look {}, then a brand's kit", args.look));
    // The demo's commands run in its folder.
    let look = match Path::new(&args.look).is_file() {
        true => std::path::absolute(&args.look)?.display().to_string(),
        false => args.look.clone(),
    };
    table.push(demo.look(&look)?);
    table.extend(demo.kit(&names)?);
    step("all of it in one recipe");
    table.push(demo.recipe(&look, &names)?);
    let seconds = clock.elapsed().as_secs_f64();
    if args.pictures <= 40 {
        table.push(Promise { promise: "all of this in less than 3 minutes", measured: format!("{seconds:.0} s"), ok: seconds < 180.0 });
    }
    show(&table, globals)?;
    let dir = args.output.join("delivered");
    if globals.verbosity >= 0 {
        let at = |name: &str| quoted(args.output.join(name).as_os_str());
        say(format_args!(
            "The look: {}. The kit: {}, {}. The recipe: {}, {}.",
            at("graded"),
            at(KIT),
            at("branded"),
            at(RECIPE),
            at("finished")
        ));
    }
    if !args.no_open {
        review::run(review::Args::of(&dir), globals)?;
    } else if globals.verbosity >= 0 {
        say(format_args!("To look through the pictures: lastmile review {}", quoted(dir.as_os_str())));
    }
    Ok(if table.iter().all(|p| p.ok) { Exit::Done } else { Exit::Gate })
}

/// Makes the folder, or takes it over from an earlier demo of the same size.
fn prepare(root: &Path, what: &str) -> crate::Result<()> {
    let mark = root.join(MARK);
    let used = std::fs::read_dir(root).is_ok_and(|mut there| there.next().is_some());
    match std::fs::read_to_string(&mark) {
        Ok(text) if text == what => return Ok(()),
        Ok(_) => return Err(Error::usage(root.display(), "holds a demo of another size", "-o with another folder, or remove this one")),
        Err(_) if used => return Err(Error::usage(root.display(), "is not empty and no demo of an earlier run", "-o with a new folder")),
        Err(_) => {}
    }
    std::fs::create_dir_all(root).map_err(|e| Error::io(root, e))?;
    std::fs::write(&mark, what).map_err(|e| Error::io(&mark, e))
}

/// Prints the table, or writes it as JSON lines.
fn show(table: &[Promise], globals: &Globals) -> anyhow::Result<()> {
    if let Some(target) = &globals.json {
        let mut to = target.open()?;
        for p in table {
            writeln!(to, "{}", json!({"event": "promise", "promise": p.promise, "measured": p.measured, "ok": p.ok}))?;
        }
        to.flush()?;
        if *target == JsonTarget::Stdout {
            return Ok(());
        }
    }
    let wide = |f: &dyn Fn(&Promise) -> usize| table.iter().map(f).max().unwrap_or(0);
    let (a, b) = (wide(&|p| p.promise.chars().count()), wide(&|p| p.measured.chars().count()));
    out(format_args!("{:a$}  {:b$}  ok", "promise", "measured"))?;
    for p in table {
        out(format_args!("{:a$}  {:b$}  {}", p.promise, p.measured, if p.ok { "yes" } else { "NO" }))?;
    }
    if table.iter().any(|p| !p.ok) {
        say(
            "NO: what was measured falls short of what is promised, hence exit code 4. Of few pictures one that is missed is enough for that.",
        );
    }
    Ok(())
}

/// A picture with a defect: its file, what was planted, and where.
struct Planted {
    file: String,
    kind: usize,
    at: Rect,
}

struct Demo<'a> {
    root: &'a Path,
    globals: &'a Globals,
    pictures: u32,
    defects: u32,
}

impl Demo<'_> {
    /// Runs this program in the demo's folder, as a user types it, and gives the JSON lines it wrote.
    fn lastmile(&self, words: &[&str]) -> anyhow::Result<Vec<Value>> {
        let program = std::env::current_exe().map_err(|e| Error::Internal(format!("this program's own path: {e}")))?;
        let mut command = Command::new(program);
        command.args(words).args(["--quiet", "--json", "-"]).current_dir(self.root).env("LASTMILE_HOME", &self.globals.home);
        if let Some(library) = &self.globals.onnxruntime {
            command.arg("--onnxruntime").arg(std::path::absolute(library)?);
        }
        if self.globals.no_install {
            command.arg("--no-install");
        }
        let run = command.stdin(Stdio::null()).output()?;
        // What is flagged is no failure.
        if !run.status.success() {
            let told = String::from_utf8_lossy(&run.stderr);
            let what = format!("`lastmile {}` ended with {}: {}", words.join(" "), run.status, told.trim());
            return Err(match run.status.code() {
                Some(5) => Error::runtime(what, "lastmile runtime install"),
                _ => Error::Internal(what),
            }
            .into());
        }
        let lines = String::from_utf8_lossy(&run.stdout);
        Ok(lines.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
    }

    /// The sources, each with what its generator would have written into it; their names.
    fn render(&self) -> crate::Result<Vec<String>> {
        let mut names = Vec::new();
        for i in 0..self.pictures {
            let (style, prompt) = scene::STYLES[i as usize % scene::STYLES.len()];
            let name = format!("{style}-{:03}.png", i + 1);
            let path = self.root.join("renders").join(&name);
            names.push(name);
            if path.is_file() {
                continue;
            }
            let (w, h) = scene::SIZE;
            let told = format!("{prompt}\nSteps: 28, Sampler: Euler a, CFG scale: 6, Seed: {}, Size: {w}x{h}, Model: demo", 1000 + i);
            let metadata = Metadata { text: vec![Text::new("parameters", told)], ..Metadata::default() };
            write(&path, &scene::render(i as usize % scene::STYLES.len(), 1000 + i), &metadata)?;
        }
        Ok(names)
    }

    /// The same command once more makes nothing.
    fn again(&self, made: &[Value]) -> anyhow::Result<Promise> {
        let second = self.lastmile(&["upscale", "renders", "-o", "upscaled", "--scale", "4"])?;
        let end = |lines: &[Value], key: &str| lines.iter().rev().find(|l| l["event"] == "end").and_then(|l| l[key].as_u64()).unwrap_or(0);
        let (first, done, skipped) = (end(made, "done") + end(made, "skipped"), end(&second, "done"), end(&second, "skipped"));
        let all = u64::from(self.pictures);
        Ok(Promise {
            promise: "the same command again makes nothing twice",
            measured: format!("{done} made, {skipped} of {first} there already"),
            ok: (first, done, skipped) == (all, 0, all),
        })
    }

    /// Cut into tiles of 32 px or whole: the same file.
    fn tiles(&self, names: &[String]) -> anyhow::Result<Promise> {
        let some: Vec<String> = names.iter().take(4).map(|n| format!("renders/{n}")).collect();
        let mut words = vec!["upscale"];
        words.extend(some.iter().map(String::as_str));
        words.extend(["-o", "tiled", "--scale", "4", "--tile", "32"]);
        self.lastmile(&words)?;
        let mut worst = 0.0f32;
        for name in names.iter().take(4) {
            let (whole, cut) = (read(&self.root.join("upscaled").join(name))?, read(&self.root.join("tiled").join(name))?);
            worst = whole.data.iter().zip(&cut.data).fold(worst, |w, (a, b)| w.max((a - b).abs()));
        }
        let levels = (worst * 255.0).round();
        Ok(Promise { promise: "tiles never show", measured: format!("32 px tiles differ by {levels} of 255"), ok: levels == 0.0 })
    }

    /// What a generator wrote into its picture is in the result.
    fn prompts(&self, names: &[String]) -> crate::Result<Promise> {
        let text = |folder: &str, name: &String| -> crate::Result<Vec<Text>> {
            let path = self.root.join(folder).join(name);
            let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
            Ok(codec::examine(&path, &bytes, &Limits::default())?.metadata.text)
        };
        let mut kept = 0;
        for name in names {
            kept += usize::from(text("renders", name)?.iter().all(|t| text("upscaled", name).is_ok_and(|there| there.contains(t))));
        }
        let all = names.len();
        Ok(Promise { promise: "prompts and seeds stay in the files", measured: format!("in {kept} of {all}"), ok: kept == all })
    }

    /// The results as somebody's upscaler might deliver them: half of them made by a network, half resampled, some with a defect.
    fn plant(&self, names: &[String]) -> crate::Result<Vec<Planted>> {
        let (n, of) = (self.defects, self.pictures);
        let mut planted = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let k = i as u32;
            let from = if (k / 4).is_multiple_of(2) { "upscaled" } else { "resampled" };
            let to = self.root.join("delivered").join(name);
            let mut band = read(&self.root.join(from).join(name))?;
            if (k + 1) * n / of > k * n / of {
                let kind = planted.len();
                let at = plant::plant(&mut band, kind, 1000 + k);
                planted.push(Planted { file: name.clone(), kind: kind % plant::KINDS.len(), at });
            }
            if !to.is_file() {
                write(&to, &band, &Metadata::default())?;
            }
        }
        let told: Vec<Value> = planted
            .iter()
            .map(|p: &Planted| {
                let (detector, what) = plant::KINDS[p.kind];
                json!({"file": p.file, "detector": detector, "what": what, "box": p.at})
            })
            .collect();
        let path = self.root.join(PLANTED);
        std::fs::write(&path, format!("{:#}\n", Value::from(told))).map_err(|e| Error::io(&path, e))?;
        Ok(planted)
    }

    /// What inspection says about what was planted and about what was not.
    fn found(&self, planted: &[Planted], lines: &[Value]) -> anyhow::Result<Vec<Promise>> {
        let review = Review::open(&self.root.join("delivered"), &Options { seed: 1, ..Options::default() })?;
        let q = &review.queue;
        let order: Vec<&str> = [&q.flagged, &q.sample, &q.rest].into_iter().flatten().map(|i| review.pictures[*i].name.as_str()).collect();
        let place = |p: &Planted| order.iter().position(|n| *n == p.file).unwrap_or(order.len());
        let early = planted.iter().filter(|p| place(p) < 20).count();
        let reports: Vec<&Value> = lines.iter().filter(|l| l["event"] == "report").collect();
        let of = |file: &str| reports.iter().find(|r| r["input"].as_str().is_some_and(|i| i.ends_with(file)));
        let flagged = |r: &Value| r["verdict"] != "pass";
        let clean = reports.iter().filter(|r| !planted.iter().any(|p| r["input"].as_str().is_some_and(|i| i.ends_with(&p.file))));
        let (mut cleans, mut passed) = (0, 0);
        for r in clean {
            cleans += 1;
            passed += usize::from(!flagged(r));
        }
        let missed: Vec<&str> = planted.iter().filter(|p| place(p) >= 20).map(|p| plant::KINDS[p.kind].1).collect();
        let (mut mended, mut tried, mut pointed) = (0, 0, 0);
        let mut beside = Vec::new();
        for p in planted {
            let Some(report) = of(&p.file) else { continue };
            let regions = report["repair"]["regions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let invented = plant::KINDS[p.kind].0 == "hallucination";
            tried += usize::from(invented);
            mended += usize::from(invented && regions.iter().any(|r| r["kept"] == true));
            let boxes = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
            if boxes.iter().any(|f| touches(&f["box"], p.at)) {
                pointed += 1;
            } else {
                beside.push(plant::KINDS[p.kind].1);
            }
        }
        let n = planted.len();
        let mut early_words = format!("{early} of {n} in the first {} of {}", order.len().min(20), order.len());
        let mut pointed_words = format!("{pointed} of {n}");
        if !beside.is_empty() {
            pointed_words += &format!(", not {}", beside.join(", "));
        }
        if !missed.is_empty() {
            early_words += &format!(", not {}", missed.join(", "));
        }
        Ok(vec![
            Promise { promise: "planted defects come first in the review", measured: early_words, ok: early == n },
            Promise { promise: "5 of 6 planted defects have a box on them", measured: pointed_words, ok: pointed * 6 >= n * 5 },
            Promise {
                promise: "at most 1 clean picture in 17 is flagged",
                measured: format!("{} of {cleans}", cleans - passed),
                ok: passed * 88 >= cleans * 83,
            },
            Promise {
                promise: "invented structure can be mended",
                measured: format!("{mended} of {tried}, to less than half its score"),
                ok: mended == tried,
            },
        ])
    }

    /// A look makes files, quickly.
    fn look(&self, look: &str) -> anyhow::Result<Promise> {
        let lines = self.lastmile(&["grade", "upscaled", "-o", "graded", "--look", look])?;
        let end = lines.iter().rev().find(|l| l["event"] == "end");
        let number = |key: &str| end.and_then(|e| e[key].as_u64()).unwrap_or(0);
        let made = number("done") + number("skipped");
        let measured = format!("{made} of {} with {look}", self.pictures);
        Ok(Promise { promise: "one look over everything", measured, ok: made == u64::from(self.pictures) })
    }
}

impl Demo<'_> {
    /// A brand: the first landscapes are its references; everything gets its colours, its mark and its files.
    fn kit(&self, names: &[String]) -> anyhow::Result<Vec<Promise>> {
        if !self.root.join(KIT).is_file() {
            let logo = self.root.join("logo.png");
            let metadata = Metadata::default();
            let mut encoder =
                codec::encoder(&logo, &Encoding { format: Format::Png, ..Encoding::default() }, 96, 96, Channels::Rgba, &metadata)?;
            encoder.write(&scene::logo(96))?;
            encoder.finish()?;
            let references: Vec<String> =
                names.iter().filter(|n| n.starts_with("landscape")).take(3).map(|n| format!("renders/{n}")).collect();
            let mut words =
                vec!["brand", "new", "northlight", "--logo", "logo.png", "--palette", "petrol=#1f4e5f", "amber=#e8b04b", "--north-star"];
            words.extend(references.iter().map(String::as_str));
            self.lastmile(&words)?;
            let path = self.root.join(KIT);
            let exports = format!(
                "\n[[export]]\nname = \"wide\"\nformat = \"png\"\n\n[[export]]\nname = \"shop\"\ncover = [480, 480]\nformat = \"jpeg\"\nmax_kb = {SHOP_KB}\n"
            );
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
            std::fs::write(&path, text + &exports).map_err(|e| Error::io(&path, e))?;
        }
        let lines = self.lastmile(&["brand", "upscaled", "-o", "branded", "--kit", KIT])?;
        let score = |folder: &str| -> anyhow::Result<f64> {
            let lines = self.lastmile(&["brand", "score", folder, "--kit", KIT])?;
            Ok(lines.iter().rev().find(|l| l["event"] == "set").and_then(|l| l["score"].as_f64()).unwrap_or(0.0))
        };
        let (before, after) = (score("upscaled")?, score("branded/wide")?);
        let shop = |l: &&Value| l["event"] == "file" && l["preset"] == "shop" && (l["status"] == "done" || l["status"] == "skipped");
        let shop: Vec<&Value> = lines.iter().filter(shop).collect();
        let fits = |l: &&&Value| {
            let file = l["output"].as_str().map(|o| self.root.join(o));
            file.and_then(|f| Some((codec::probe(&f, &Limits::default()).ok()?.upright(), f.metadata().ok()?.len())))
                .is_some_and(|(size, bytes)| size == (480, 480) && bytes <= 1000 * SHOP_KB)
        };
        let fit = shop.iter().filter(fits).count();
        Ok(vec![
            Promise {
                promise: "a kit brings pictures nearer to its brand",
                measured: format!("from {before:.0} to {after:.0} of 100"),
                ok: after > before,
            },
            Promise {
                promise: "every shop file is 480x480 and within its limit",
                measured: format!("{fit} of {} within {SHOP_KB} kB", self.pictures),
                ok: fit == self.pictures as usize,
            },
        ])
    }

    /// One file that says everything: enlarged, inspected, graded, branded and exported in one go.
    fn recipe(&self, look: &str, names: &[String]) -> anyhow::Result<Promise> {
        let path = self.root.join(RECIPE);
        let text = format!(
            "about = \"enlarged, inspected, graded and branded in one go\"\n\n[upscale]\nscale = 4\n\n[inspect]\nwhen = \"always\"\n\n\
             [look]\nlook = {}\n\n[kit]\nfile = \"{KIT}\"\n",
            json!(look)
        );
        std::fs::write(&path, text).map_err(|e| Error::io(&path, e))?;
        let some: Vec<String> = names.iter().take(8).map(|n| format!("renders/{n}")).collect();
        let mut words = vec!["run", RECIPE];
        words.extend(some.iter().map(String::as_str));
        words.extend(["-o", "finished"]);
        let lines = self.lastmile(&words)?;
        let there = |l: &&Value| l["event"] == "file" && l["output"].as_str().is_some_and(|o| self.root.join(o).is_file());
        let files = lines.iter().filter(there).count();
        let reports = crate::inspect::log::read(&self.root.join("finished").join(STATE).join(crate::inspect::log::FILE))?.len();
        Ok(Promise {
            promise: "one recipe does all of it in one go",
            measured: format!("{files} files and {reports} reports from {} pictures", some.len()),
            ok: (files, reports) == (2 * some.len(), some.len()),
        })
    }
}

/// Whether a finding's box meets a place.
fn touches(found: &Value, at: Rect) -> bool {
    let n = |i: usize| found[i].as_u64().unwrap_or(0) as usize;
    let meet = |a: usize, aw: usize, b: usize, bw: usize| a < b + bw && b < a + aw;
    meet(n(0), n(2), at.x, at.w) && meet(n(1), n(3), at.y, at.h)
}

fn read(path: &Path) -> crate::Result<Band> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let image = codec::decode(path, &bytes, &Limits::default())?;
    Ok(image.colour(0, image.height))
}

fn write(path: &Path, band: &Band, metadata: &Metadata) -> crate::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let encoding = Encoding { format: Format::Png, ..Encoding::default() };
    let temp = path.with_extension("tmp");
    let mut encoder = codec::encoder(&temp, &encoding, band.width, band.rows, Channels::Rgb, metadata)?;
    encoder.write(band)?;
    encoder.finish()?;
    std::fs::rename(&temp, path).map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_new_or_that_of_the_same_demo() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("d");
        prepare(&root, "40").unwrap();
        prepare(&root, "40").unwrap();
        assert!(prepare(&root, "100").unwrap_err().to_string().contains("another size"));
        std::fs::write(dir.path().join("mine.txt"), "x").unwrap();
        assert!(prepare(dir.path(), "40").unwrap_err().to_string().contains("not empty"));
    }

    #[test]
    fn boxes_meet() {
        let at = Rect { x: 10, y: 10, w: 5, h: 5 };
        assert!(touches(&json!([0, 0, 11, 11]), at) && touches(&json!([14, 14, 1, 1]), at));
        assert!(!touches(&json!([0, 0, 10, 20]), at) && !touches(&json!([0, 15, 30, 2]), at));
    }
}
