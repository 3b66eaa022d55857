//! Recipes with the real program: what a recipe says is what the flags would have said, and mistakes are told with their line.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::path::Path;
use std::process::Command;

/// Two pictures in two formats, and a program that runs beside them.
fn stage() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    std::fs::create_dir(dir.path().join("in")).unwrap();
    for name in ["street.png", "study.jpg"] {
        std::fs::copy(example.join(name), dir.path().join("in").join(name)).unwrap();
    }
    dir
}

fn lastmile(dir: &Path, line: &str) -> Command {
    let mut command = program::lastmile(dir, &dir.join("home"));
    command.args(line.split_whitespace());
    command
}

fn succeeds(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let (out, err) = program::text(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    (out, err)
}

#[test]
fn a_recipe_does_what_its_flags_would_and_flags_override_it() {
    let dir = stage();
    let d = dir.path();
    let text = "[upscale]\nmodel = \"none\"\nlong_edge = 200\n[output]\nformat = \"jpeg\"\nquality = 80\nname = \"{stem}_web\"\n";
    std::fs::write(d.join("web.recipe.toml"), text).unwrap();
    succeeds(&mut lastmile(d, "run web.recipe.toml in -o a"));
    succeeds(&mut lastmile(d, "upscale in -o b --model none --long-edge 200 --format jpeg --quality 80 --name {stem}_web"));
    for name in ["street_web.jpg", "study_web.jpg"] {
        let [a, b] = ["a", "b"].map(|out| std::fs::read(d.join(out).join(name)).unwrap());
        assert!(a == b && !a.is_empty(), "{name}");
    }
    let (_, err) = succeeds(&mut lastmile(d, "upscale in -o a --model none --long-edge 200 --format jpeg --quality 80 --name {stem}_web"));
    assert!(err.contains("Nothing to do: 2 files done already"), "the same job, however it was told: {err}");
    succeeds(&mut lastmile(d, "run web.recipe.toml in -o c --scale 0.2 --quality 60"));
    succeeds(&mut lastmile(d, "upscale in -o d --model none --scale 0.2 --format jpeg --quality 60 --name {stem}_web -q"));
    assert!(std::fs::read(d.join("c/street_web.jpg")).unwrap() == std::fs::read(d.join("d/street_web.jpg")).unwrap());
}

#[test]
fn quality_beside_a_format_without_one_is_told_with_its_line() {
    let dir = stage();
    let d = dir.path();
    std::fs::write(d.join("web.recipe.toml"), "[upscale]\nscale = 2\n\n[output]\nformat = \"png\"\nquality = 80\n").unwrap();
    program::fails(&mut lastmile(d, "run web.recipe.toml in -o a"), 2, &["web.recipe.toml:6: output.quality: 80 means nothing for PNG"]);
    std::fs::write(d.join("web.recipe.toml"), "[upscal]\nscale = 2\n[output]\nqualty = 80\n").unwrap();
    let words = ["2 mistakes", "line 1: upscal: unknown key (try `upscale`)", "line 4: output.qualty: unknown key (try `quality`)"];
    program::fails(&mut lastmile(d, "run web.recipe.toml in -o a"), 2, &words);
    program::fails(&mut lastmile(d, "recipe check web.recipe.toml"), 2, &words);
    program::fails(&mut lastmile(d, "run pster in -o a"), 2, &["no recipe of that name", "`poster`"]);
    program::fails(&mut lastmile(d, "run web in -o a"), 2, &["`web.recipe.toml`, which is a file here"]);
    assert!(!d.join("a").exists(), "nothing was written");
    // What it names is looked for as well, by a check and by a run, and told with its line.
    for (line, words) in [
        ("[look]\nlook = \"warm-flim\"", ["web.recipe.toml:2: look.look", "warm-flim", "warm-film"]),
        ("[kit]\nfile = \"none.brand.toml\"", ["web.recipe.toml:2: kit.file", "there is no file", "none.brand.toml"]),
        ("[upscale]\nmodel = \"lastmile-strt-x4\"", ["lastmile-strt-x4", "no model of that name", "`lastmile-start-x4`"]),
    ] {
        std::fs::write(d.join("web.recipe.toml"), line).unwrap();
        program::fails(&mut lastmile(d, "recipe check web.recipe.toml"), 2, &words);
        program::fails(&mut lastmile(d, "run web.recipe.toml in -o a"), 2, &words);
    }
}

#[test]
fn a_check_tells_everything_that_is_missing() {
    let dir = stage();
    let d = dir.path();
    let text = "[upscale]\nmodel = \"lastmile-strt-x4\"\n[look]\nmatch = [\"in/street.png\", \"gone-1.png\", \"gone-2.png\"]\n\
        lut = \"gone.cube\"\n[kit]\nfile = \"none.brand.toml\"\n[output]\nconvert_to = \"gone.icc\"\n";
    std::fs::write(d.join("web.recipe.toml"), text).unwrap();
    let all = ["lastmile-strt-x4", "gone-1.png", "gone-2.png", "gone.cube", "none.brand.toml", "gone.icc"];
    program::fails(&mut lastmile(d, "recipe check web.recipe.toml"), 2, &all);
    let output = lastmile(d, "recipe check web.recipe.toml draft --json -").output().unwrap();
    let lines: Vec<serde_json::Value> = program::text(&output).0.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let told = lines[0]["messages"].as_array().unwrap();
    assert_eq!((told.len(), &lines[0]["ok"], &told[0]), (all.len(), &false.into(), &lines[0]["message"]));
    assert_eq!((&lines[1]["ok"], lines[1]["messages"].as_array().unwrap().len()), (&true.into(), 0));
    // What a kit names as well.
    std::fs::write(d.join("x.brand.toml"), "name = \"x\"\nreferences = [\"one.png\", \"two.png\"]\n").unwrap();
    std::fs::write(d.join("web.recipe.toml"), "[kit]\nfile = \"x.brand.toml\"\n").unwrap();
    program::fails(&mut lastmile(d, "recipe check web.recipe.toml"), 2, &["x.brand.toml", "one.png", "two.png"]);
}

#[test]
fn new_recipes_are_in_order_and_never_replace_a_file() {
    let dir = stage();
    let d = dir.path();
    succeeds(&mut lastmile(d, "recipe new mine.recipe.toml"));
    succeeds(&mut lastmile(d, "recipe new big.recipe.toml --from poster"));
    let (out, _) = succeeds(&mut lastmile(d, "recipe check mine.recipe.toml big.recipe.toml draft standard hero poster"));
    assert_eq!(out.lines().filter(|l| l.contains("nothing is wrong")).count(), 6, "{out}");
    program::fails(&mut lastmile(d, "recipe new mine.recipe.toml"), 2, &["it exists already"]);
    program::fails(&mut lastmile(d, "recipe new x.recipe.toml --from hreo"), 2, &["`hero`"]);
    let (out, _) = succeeds(&mut lastmile(d, "recipe schema"));
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema["properties"]["output"]["properties"]["quality"]["maximum"], 100);
    let (out, _) = succeeds(&mut lastmile(d, "recipe list"));
    for name in ["draft", "standard", "hero", "poster"] {
        assert!(out.lines().any(|l| l.starts_with(name)), "{out}");
    }
}

#[test]
fn a_plan_tells_what_it_takes_and_writes_nothing() {
    let dir = stage();
    let d = dir.path();
    std::fs::write(d.join("in/broken.png"), "no picture").unwrap();
    std::fs::copy(d.join("in/street.png"), d.join("in/study.png")).unwrap();
    let text =
        "[upscale]\nmodel = \"none\"\nscale = 2\n[output]\nformat = \"png\"\n[price]\ncurrency = \"credits\"\nper_file = 2\nper_mp = 1\n";
    std::fs::write(d.join("shop.recipe.toml"), text).unwrap();
    let (out, err) = succeeds(&mut lastmile(d, "plan run shop.recipe.toml in -o out"));
    assert_eq!(out.lines().count(), 4, "{out}");
    for word in [
        "1 JPEG, 2 PNG",
        "1 file cannot be made",
        "broken.png",
        "1 file named apart",
        "time",
        "memory",
        "disk",
        "free",
        "Nothing was written.",
    ] {
        assert!(err.contains(word), "`{word}` is not in: {err}");
    }
    assert!(!d.join("out").exists());
    let (out, _) = succeeds(&mut lastmile(d, "plan run shop.recipe.toml in -o out --json -"));
    let plan: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let made: f64 = ["street.png", "study.jpg", "study.png"]
        .map(|n| lastmile::codec::probe(&d.join("in").join(n), &Default::default()).unwrap())
        .map(|h| 4.0 * (h.width * h.height) as f64 / 1e6)
        .iter()
        .sum();
    assert!((plan["price"].as_f64().unwrap() - (3.0 * 2.0 + made)).abs() < 1e-6, "{plan}");
    assert_eq!((plan["unreadable"].as_array().unwrap().len(), plan["renamed"].as_u64()), (1, Some(1)));
    let (out, _) = succeeds(&mut lastmile(d, "plan upscale in -o out --model none --scale 2 --json -"));
    let kept: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(kept["unreadable"].as_array().unwrap().len(), 1, "a JPEG of the default quality can be made: {kept}");
    let peak = plan["memory_bytes"].as_u64().unwrap();
    assert!((10 << 20..2 << 30).contains(&peak), "{peak}");
}

/// The README's cluster jobs, as a node's shell would run them: eight parts make what one run makes.
#[cfg(unix)]
#[test]
fn the_readme_s_cluster_jobs_work() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let kubernetes = readme.lines().find_map(|l| l.trim().strip_prefix("args: ['")?.strip_suffix("']")).unwrap();
    let slurm = readme.lines().find(|l| l.starts_with("exec lastmile") && l.contains("SLURM")).unwrap();
    let dir = stage();
    let d = dir.path();
    std::fs::write(d.join("small.recipe.toml"), "[upscale]\nmodel = \"none\"\nlong_edge = 60\n").unwrap();
    succeeds(&mut lastmile(d, "run small.recipe.toml in -o whole"));
    let bin = Path::new(env!("CARGO_BIN_EXE_lastmile")).parent().unwrap();
    for (n, (line, variable, first)) in [(kubernetes, "JOB_COMPLETION_INDEX", 0), (slurm, "SLURM_ARRAY_TASK_ID", 1)].into_iter().enumerate()
    {
        let out = format!("out{n}");
        let line = line
            .replace("hero", "small.recipe.toml")
            .replace("/data/in", "in")
            .replace("/data/out", &out)
            .replace("-o out ", &format!("-o {out} "));
        for index in first..first + 8 {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &line]).current_dir(d).env_clear().env("PATH", bin).env("LASTMILE_HOME", d.join("home"));
            succeeds(command.env(variable, index.to_string()));
        }
        for name in ["street.png", "study.jpg"] {
            assert!(std::fs::read(d.join(&out).join(name)).unwrap() == std::fs::read(d.join("whole").join(name)).unwrap(), "{name}");
        }
    }
}

/// Upscaling, inspection, a look and a kit in one recipe: each source is decoded once, each tile enlarged once, whatever is made.
#[test]
fn one_recipe_does_it_all_in_one_job_per_source() {
    let Some(home) = program::home() else { return };
    let dir = stage();
    let d = dir.path();
    for name in ["street.png", "study.jpg"] {
        succeeds(&mut lastmile(d, &format!("upscale in/{name} -o small/ --model none --long-edge 120")));
    }
    std::fs::copy(d.join("small/street.png"), d.join("ref.png")).unwrap();
    let kit = "name = \"Acme\"\nlook = \"clean\"\nreferences = [\"ref.png\"]\ngroup_by = \"picture\"\n\
        [[palette]]\nname = \"red\"\ncolour = \"#d0103a\"\n[[export]]\nname = \"full\"\n[[export]]\nname = \"web\"\nlong_edge = 200\n\
        format = \"jpeg\"\n[[export]]\nname = \"square\"\ncover = [100, 100]\nfocus = \"auto\"\nformat = \"webp\"\n";
    std::fs::write(d.join("acme.brand.toml"), kit).unwrap();
    let recipe = "about = \"all of it\"\n[upscale]\nmodel = \"lastmile-faithful-x4\"\nscale = 4\n[inspect]\nwhen = \"always\"\ntier = \"hero\"\n\
        [look]\nlook = \"warm-film\"\nstrength = 0.5\n[kit]\nfile = \"acme.brand.toml\"\n";
    std::fs::write(d.join("all.recipe.toml"), recipe).unwrap();
    let run = |line: &str| {
        let mut command = program::lastmile(d, &home);
        let (out, err) = succeeds(command.args(line.split_whitespace()));
        let events: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        (events, err)
    };
    let (events, _) = run("run all.recipe.toml small -o out --json - -q");
    let of = |kind: &str| events.iter().filter(|e| e["event"] == kind).collect::<Vec<_>>();
    let files = of("file");
    assert_eq!(files.len(), 6, "one line per output");
    for f in &files {
        let size = (f["width"].as_u64().unwrap(), f["height"].as_u64().unwrap());
        match f["preset"].as_str().unwrap() {
            "full" => assert_eq!(size.0.max(size.1), 480),
            "web" => assert_eq!(size.0.max(size.1), 200),
            _ => assert_eq!(size, (100, 100)),
        }
        assert_eq!((f["status"].as_str(), f["model"].as_str()), (Some("done"), Some("lastmile-faithful-x4")), "{f}");
    }
    assert_eq!(of("report").len(), 2, "every source is inspected once");
    let end = of("end")[0];
    assert_eq!(end["decoded"], 2, "each source is decoded once: {end}");
    // The tiles of one file of each source: what the networks ran, and no more.
    let tiles: u64 = files
        .iter()
        .filter(|f| f["preset"] == "full")
        .flat_map(|f| f["plan"]["passes"].as_array().unwrap())
        .map(|p| p["grid"][0].as_u64().unwrap() * p["grid"][1].as_u64().unwrap())
        .sum();
    assert!(tiles > 0);
    // As many again by the network that results are compared with: three files of a source share both.
    assert_eq!(end["tiles"], 2 * tiles, "each tile is enlarged once by each network: {end}");
    let (events, err) = run("run all.recipe.toml small -o out --json -");
    assert_eq!(events.iter().filter(|e| e["status"] == "skipped").count(), 6, "{err}");
    assert_eq!(events.last().unwrap()["tiles"], 0);
    // The same in a plan: nothing is written.
    run("plan run all.recipe.toml small -o elsewhere --json -");
    assert!(!d.join("elsewhere").exists());
}
