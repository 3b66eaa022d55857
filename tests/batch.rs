//! The batch engine with fake pictures: resume, clashes, failures, panics, interrupts, and kills at every byte of the journal.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lastmile::batch::events::{Event, Listener, Start};
use lastmile::batch::plan::{Planned, Request, plan};
use lastmile::batch::{Batch, Options, Process, Summary};
use lastmile::codec::{Encoding, Format, Limits};
use lastmile::error::{Error, Exit, Result};
use lastmile::pipeline::{Done, Hooks, Job, Settings};

#[derive(Default)]
struct Heard(Mutex<Vec<serde_json::Value>>);

impl Listener for Heard {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(serde_json::to_value(event).unwrap());
    }
}

struct World {
    dir: tempfile::TempDir,
    options: Options,
    calls: AtomicUsize,
    shard: Option<&'static str>,
}

impl World {
    fn new(files: &[&str]) -> Self {
        let encoding = Encoding { format: Format::Png, quality: 95, lossless: false, bits: 0, ..Encoding::default() };
        let settings = Settings { dither: false, encoding, ..Settings::default() };
        let options = Options {
            variants: vec![],
            settings,
            limits: Limits::default(),
            model: "m".into(),
            jobs: 3,
            memory: 1 << 30,
            keep_master: false,
            overwrite: false,
            retry_failed: false,
            hot: false,
            instead: false,
            inspects: false,
        };
        let world = Self { dir: tempfile::tempdir().unwrap(), options, calls: AtomicUsize::new(0), shard: None };
        for f in files {
            world.write(&format!("in/{f}"), f);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), content).unwrap();
    }

    fn planned(&self) -> Planned {
        self.planned_of("in")
    }

    fn planned_of(&self, input: &str) -> Planned {
        let shard = self.shard.map(|s| s.parse().unwrap());
        let request = Request { inputs: vec![self.path(input)], output: self.path("out"), shard, ..Request::default() };
        plan(&request, &|_| Ok((1, 1))).unwrap()
    }

    fn run_with(&self, process: &dyn Process, stop: &AtomicBool) -> Result<(Summary, Vec<serde_json::Value>)> {
        self.run_of(self.planned(), process, stop)
    }

    fn run_of(&self, planned: Planned, process: &dyn Process, stop: &AtomicBool) -> Result<(Summary, Vec<serde_json::Value>)> {
        let heard = Heard::default();
        let batch = Batch::open(planned, self.options.clone())?;
        let summary = batch.run(Start::default(), process, &|_, b| b.len() as u64, &heard, stop)?;
        Ok((summary, heard.0.into_inner().unwrap()))
    }

    /// Runs with a picture maker that fails, panics or loses its device when the source says so.
    fn run(&self) -> Result<(Summary, Vec<serde_json::Value>)> {
        self.run_with(&|job: Job<'_>, _: Hooks<'_>| self.make(&job), &AtomicBool::new(false))
    }

    /// The same for another input folder.
    fn run_on(&self, input: &str) -> Result<Summary> {
        let process = |job: Job<'_>, _: Hooks<'_>| self.make(&job);
        Ok(self.run_of(self.planned_of(input), &process, &AtomicBool::new(false))?.0)
    }

    fn make(&self, job: &Job<'_>) -> Result<Done> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&job.bytes).into_owned();
        std::fs::write(job.output, format!("half of {text}")).unwrap();
        if text.contains("bad") {
            return Err(Error::input(job.source, "broken", "repair it"));
        }
        if text.contains("nodevice") {
            return Err(Error::device("cuda", "gone", ""));
        }
        assert!(!text.contains("panic"), "a bug in a stage");
        std::fs::write(job.output, format!("{text} made with {:?}", job.settings.encoding)).unwrap();
        Ok(Done { width: 4, height: 2, bytes: 0, ..Done::default() })
    }

    fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }

    /// Every file below `out` that is not state, with its content.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        collect(&self.path("out"), &self.path("out"), &mut found);
        found
    }

    fn assert_clean(&self) {
        assert!(!self.path("out/.lastmile/tmp").exists(), "temp files are left");
    }
}

fn collect(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        match entry.file_name().to_str() {
            Some(".lastmile") => {}
            _ if path.is_dir() => collect(root, &path, found),
            _ => {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().into(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
}

const FILES: [&str; 6] = ["a.png", "b/c.jpg", "b/d.webp", "e.gif", "hero.jpg", "hero.png"];

#[test]
fn a_folder_is_made_once_and_then_skipped() {
    let w = World::new(&FILES);
    let (s, events) = w.run().unwrap();
    assert_eq!((s.done, s.skipped, s.failed, s.exit()), (6, 0, 0, Exit::Done));
    assert_eq!(w.calls(), 6);
    assert_eq!(w.tree().keys().collect::<Vec<_>>(), ["a.png", "b/c.jpg", "b/d.webp", "e.png", "hero.jpg", "hero.png"]);
    w.assert_clean();
    assert_eq!(events.first().unwrap()["event"], "start");
    assert_eq!(events.last().unwrap()["event"], "end");
    let file = &events[1];
    for name in
        ["event", "job", "preset", "input", "output", "status", "width", "height", "model", "device", "seconds", "bytes", "plan", "error"]
    {
        assert!(file.get(name).is_some(), "`file` lacks {name}");
    }
    let (s, events) = w.run().unwrap();
    assert_eq!((s.done, s.skipped, w.calls()), (0, 6, 0));
    assert!(events.iter().filter(|e| e["event"] == "file").all(|e| e["status"] == "skipped" && e["width"] == 4));
    w.assert_clean();
}

#[test]
fn changed_settings_replace_our_files_and_no_others() {
    let mut w = World::new(&FILES);
    w.run().unwrap();
    w.calls();
    w.write("in/a.png", "a, second version");
    w.run().unwrap();
    assert_eq!(w.calls(), 1, "only what changed");
    w.options.settings.encoding.quality = 80;
    assert_eq!(w.run().unwrap().0.done, 3, "PNG has no quality");
    w.calls();
    w.write("out/a.png", "touched up by hand");
    w.write("out/e.png", "touched up as well");
    assert_eq!(w.run().unwrap_err().exit(), Exit::Usage);
    w.options.model = "other".into();
    let e = w.run().unwrap_err();
    assert!(e.to_string().contains("2 files would be overwritten") && e.to_string().contains("--overwrite"), "{e}");
    assert_eq!(w.calls(), 0, "nothing is worked on before that is settled");
    assert_eq!(w.tree()["a.png"], "touched up by hand");
    w.options.overwrite = true;
    assert_eq!(w.run().unwrap().0.done, 6);
}

#[test]
fn results_of_other_sources_are_never_replaced_unasked() {
    let mut w = World::new(&[]);
    for day in ["mon", "tue"] {
        for n in 1..=7 {
            w.write(&format!("{day}/Comfy_{n}.png"), &format!("{day} {n}"));
        }
    }
    w.write("mon/Comfy_8.png", "bad");
    assert_eq!(w.run_on("mon").unwrap().done, 7);
    let monday = w.tree();
    w.calls();
    let refused = |w: &World| {
        let opened = w.run_on("tue").unwrap_err();
        let planned = Batch::preview(w.planned_of("tue"), w.options.clone()).unwrap_err();
        assert_eq!((opened.exit(), opened.to_string()), (Exit::Usage, planned.to_string()));
        assert_eq!((w.calls(), w.tree()), (0, monday.clone()));
        planned.to_string()
    };
    let said = refused(&w);
    assert!(said.contains("7 files would be overwritten that were made from other sources: "), "{said}");
    assert!(said.contains("out/Comfy_1.png from ") && said.contains("mon/Comfy_1.png, ") && !said.contains(".."), "{said}");
    assert!(said.contains("and 2 more") && said.contains("--overwrite"), "{said}");
    // Sources that were cleared away are no reason to lose what was made of them.
    std::fs::rename(w.path("mon"), w.path("archive")).unwrap();
    refused(&w);
    // In a hot folder it is an affair of each file.
    w.options.hot = true;
    let s = w.run_on("tue").unwrap();
    assert_eq!((s.done, s.failed), (0, 7));
    assert!(s.failures[0].message.contains("was made from ") && s.failures[0].message.contains("mon/Comfy_1.png; it is kept"));
    assert_eq!(w.tree(), monday);
    w.options.hot = false;
    // The folder has another name now, its pictures are the same: they are known, with these settings and with others.
    let s = w.run_on("archive").unwrap();
    assert_eq!((s.done, s.skipped), (0, 7));
    w.options.model = "other".into();
    assert_eq!(w.run_on("archive").unwrap().done, 7);
    // One that is rendered again is the one that its path stands for from now on.
    w.write("archive/Comfy_2.png", "mon 2, again");
    assert_eq!(w.run_on("archive").unwrap().done, 1);
    w.options.overwrite = true;
    assert_eq!(w.run_on("tue").unwrap().done, 7);
    assert!(w.tree()["Comfy_2.png"].starts_with("tue 2"));
}

#[test]
fn a_project_that_was_moved_goes_on() {
    let mut w = World::new(&FILES);
    w.run().unwrap();
    w.write("moved/x", "");
    for folder in ["in", "out"] {
        std::fs::rename(w.path(folder), w.path("moved").join(folder)).unwrap();
    }
    w.dir = {
        let moved = tempfile::tempdir().unwrap();
        std::fs::remove_dir(moved.path()).unwrap();
        std::fs::rename(w.path("moved"), moved.path()).unwrap();
        moved
    };
    w.calls();
    w.write("in/a.png", "a, second version");
    let (s, _) = w.run().unwrap();
    assert_eq!((s.done, s.skipped), (1, 5));
}

#[test]
fn a_source_that_gets_another_name_in_the_same_job_leaves_its_old_one() {
    let w = World::new(&FILES);
    w.run().unwrap();
    w.write("in/e.png", "drawn by hand");
    assert_eq!(w.run().unwrap().0.done, 2);
    let tree = w.tree();
    assert!(tree["e.png"].starts_with("drawn by hand") && tree["e_gif.png"].starts_with("e.gif"), "{tree:?}");
}

#[test]
fn files_of_others_stop_the_run_before_work() {
    let w = World::new(&FILES);
    w.write("out/hero.png", "precious");
    let e = w.run().unwrap_err();
    assert_eq!((e.exit(), w.calls()), (Exit::Usage, 0));
    assert_eq!(w.tree()["hero.png"], "precious");
}

#[test]
fn one_bad_file_never_stops_the_rest() {
    let mut w = World::new(&["a.png", "bad.png", "c.png", "panic.png", "z.png"]);
    w.write("out/z.png/in the way", "");
    let (s, events) = w.run().unwrap();
    assert_eq!((s.done, s.failed, s.exit()), (2, 3, Exit::Failed));
    let kinds: Vec<&str> = s.failures.iter().map(|f| f.kind.as_str()).collect();
    assert_eq!(kinds, ["input", "internal", "output"]);
    assert!(events.iter().any(|e| e["error"]["message"].as_str().is_some_and(|m| m.contains("a bug in a stage"))));
    let listed = std::fs::read_to_string(w.path("out/.lastmile/failed.txt")).unwrap();
    assert_eq!(listed.lines().count(), 3);
    w.assert_clean();
    // Repaired, only the failed ones are tried again.
    w.calls();
    w.write("in/bad.png", "good now");
    w.options.retry_failed = true;
    let (s, _) = w.run().unwrap();
    assert_eq!((s.done, s.failed, w.calls()), (1, 2, 2));
    w.write("in/panic.png", "good");
    std::fs::remove_dir_all(w.path("out/z.png")).unwrap();
    assert_eq!(w.run().unwrap().0.exit(), Exit::Done);
    assert!(!w.path("out/.lastmile/failed.txt").exists() && !w.path("out/.lastmile/failed.json").exists());
}

#[test]
fn a_lost_device_stops_the_run() {
    let mut w = World::new(&["a.png", "b nodevice.png", "c.png", "d.png"]);
    w.options.jobs = 1;
    let (s, _) = w.run().unwrap();
    assert_eq!((s.done, s.failed, s.left, s.exit()), (1, 1, 2, Exit::Unavailable));
    w.assert_clean();
}

#[test]
fn an_interrupt_leaves_whole_files_and_the_next_run_goes_on() {
    let mut w = World::new(&FILES);
    w.options.jobs = 1;
    let stop = AtomicBool::new(false);
    let process = |job: Job<'_>, hooks: Hooks<'_>| {
        if w.calls.load(Ordering::Relaxed) == 2 {
            std::fs::write(job.output, "half").unwrap();
            hooks.stop.store(true, Ordering::Relaxed);
            return Err(Error::Interrupted);
        }
        w.make(&job)
    };
    let (s, events) = w.run_with(&process, &stop).unwrap();
    assert_eq!((s.done, s.left, s.exit()), (2, 4, Exit::Interrupted));
    assert_eq!(events.last().unwrap()["event"], "end");
    w.assert_clean();
    assert_eq!(w.tree().len(), 2);
    w.calls();
    let (s, _) = w.run().unwrap();
    assert_eq!((s.done, s.skipped, w.calls()), (4, 2, 4));
}

#[test]
fn killed_anywhere_the_next_run_ends_in_the_same_tree() {
    let mut w = World::new(&FILES);
    w.options.jobs = 1;
    w.run().unwrap();
    w.calls();
    let whole = w.tree();
    let path = w.path("out/.lastmile/journal.jsonl");
    let journal = std::fs::read(&path).unwrap();
    // The end of each line that announces an output: a journal cut before it means that the file was not yet renamed.
    let mut at = 0;
    let intents: Vec<(usize, String)> = journal
        .split_inclusive(|b| *b == b'\n')
        .filter_map(|line| {
            at += line.len();
            let line: serde_json::Value = serde_json::from_slice(line).unwrap();
            line["intent"]["output"].as_str().map(|o| (at, o.to_string()))
        })
        .collect();
    assert_eq!(intents.len(), 6);
    for cut in (0..=journal.len()).step_by(31).chain(intents.iter().flat_map(|(end, _)| [end - 1, *end])) {
        std::fs::write(&path, &journal[..cut]).unwrap();
        let mut missing = 0;
        for (n, (end, output)) in intents.iter().enumerate() {
            // Of the last file that was announced, the rename may or may not have happened.
            let renamed = *end <= cut && (cut % 2 == 0 || intents.get(n + 1).is_some_and(|(next, _)| *next <= cut));
            if renamed {
                w.write(&format!("out/{output}"), &whole[output]);
            } else {
                missing += 1;
                std::fs::remove_file(w.path("out").join(output)).unwrap();
            }
        }
        w.write("out/.lastmile/tmp/3", "half a picture");
        let (s, _) = w.run().unwrap();
        assert_eq!((s.done, s.exit()), (missing, Exit::Done), "cut at {cut}");
        assert_eq!(w.calls(), missing, "done work is not repeated (cut at {cut})");
        assert_eq!(w.tree(), whole, "cut at {cut}");
        w.assert_clean();
    }
}

#[test]
fn a_preview_writes_nothing() {
    let w = World::new(&FILES);
    let batch = Batch::preview(w.planned(), w.options.clone()).unwrap();
    assert_eq!((batch.todo().len(), batch.skipped()), (6, 0));
    assert!(!w.path("out").exists());
}

#[test]
fn memory_is_shared_out() {
    let mut w = World::new(&FILES);
    w.options.memory = 10;
    w.options.jobs = 6;
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let process = |job: Job<'_>, _: Hooks<'_>| {
        let n = now.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(n, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(10));
        let made = w.make(&job);
        now.fetch_sub(1, Ordering::SeqCst);
        made
    };
    let heard = Heard::default();
    let batch = Batch::open(w.planned(), w.options.clone()).unwrap();
    let stop = AtomicBool::new(false);
    let s = batch.run(Start::default(), &process, &|item, _| if item.job == 1 { 99 } else { 5 }, &heard, &stop).unwrap();
    assert_eq!(s.done, 6);
    assert!(most.into_inner() <= 2, "two of five bytes fit into ten; the large one runs alone");
}

#[test]
fn a_source_that_vanishes_fails_alone() {
    let w = World::new(&["a.png", "b.png"]);
    let planned = w.planned();
    std::fs::remove_file(w.path("in/a.png")).unwrap();
    let batch = Batch::open(planned, w.options.clone()).unwrap();
    let heard = Heard::default();
    let process = |job: Job<'_>, _: Hooks<'_>| w.make(&job);
    let s = batch.run(Start::default(), &process, &|_, _| 1, &heard, &AtomicBool::new(false)).unwrap();
    assert_eq!((s.done, s.failed), (1, 1));
    assert!(s.failures[0].message.contains("is gone"));
}

#[test]
fn parts_make_what_the_whole_makes() {
    let whole = World::new(&FILES);
    whole.run().unwrap();
    let mut parts = World::new(&FILES);
    let mut done = 0;
    for shard in ["1/3", "2/3", "3/3"] {
        parts.shard = Some(shard);
        let (s, events) = parts.run().unwrap();
        done += s.done;
        assert!(events.iter().filter(|e| e["event"] == "file").all(|e| e["status"] == "done"), "parts never meet");
        assert_eq!(parts.run().unwrap().0.skipped, s.done, "{shard} again");
    }
    assert_eq!((done, parts.calls()), (6, 6));
    assert_eq!(parts.tree(), whole.tree());
    parts.shard = None;
    let (s, _) = parts.run().unwrap();
    assert_eq!((s.skipped, parts.calls()), (6, 0), "the whole knows what its parts made");
    parts.shard = Some("2/2");
    assert_eq!(parts.run().unwrap().0.done, 0, "and so do other parts");
    parts.options.settings.encoding.bits = 16;
    for shard in ["1/2", "2/2"] {
        parts.shard = Some(shard);
        assert_eq!(parts.run().unwrap().0.exit(), Exit::Done, "changed settings replace what other parts made");
    }
    assert_eq!(parts.calls(), 6);
    parts.write("out/hero.png", "touched up by hand");
    let mut refused = 0;
    for shard in ["1/2", "2/2"] {
        parts.shard = Some(shard);
        refused += usize::from(parts.run().is_err());
    }
    assert_eq!(refused, 1, "a file of somebody else stops its part before work");
}

#[test]
fn failures_of_parts_are_listed_and_retried() {
    let mut w = World::new(&["a.png", "bad 1.png", "bad 2.png", "bad 3.png", "bad 4.png", "bad 5.png", "z.png"]);
    let mut failed = 0;
    for shard in ["1/2", "2/2"] {
        w.shard = Some(shard);
        let (s, _) = w.run().unwrap();
        failed += s.failed;
        let name = format!("out/.lastmile/failed-{}.txt", shard.replace('/', "-of-"));
        assert_eq!(std::fs::read_to_string(w.path(&name)).map_or(0, |t| t.lines().count()), s.failed);
    }
    assert_eq!(failed, 5);
    w.calls();
    w.write("in/bad 1.png", "good now");
    w.write("in/bad 2.png", "good now");
    w.shard = None;
    w.options.retry_failed = true;
    let (s, _) = w.run().unwrap();
    assert_eq!((s.done, s.failed, w.calls()), (2, 3, 5));
    for n in 3..=5 {
        w.write(&format!("in/bad {n}.png"), "good now");
    }
    assert_eq!(w.run().unwrap().0.done, 3);
    let left: Vec<_> = std::fs::read_dir(w.path("out/.lastmile")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| ["txt", "json"].iter().any(|x| Path::new(n).extension() == Some(x.as_ref()))), "{left:?}");
}

#[test]
fn a_source_that_changes_while_it_is_worked_on_is_made_again() {
    let w = World::new(&["a.png", "b.png"]);
    let process = |job: Job<'_>, _: Hooks<'_>| {
        if job.source.ends_with("a.png") && w.calls.load(Ordering::Relaxed) == 0 {
            w.write("in/a.png", "a, saved again meanwhile");
        }
        w.make(&job)
    };
    let mut one = w.options.clone();
    one.jobs = 1;
    let batch = Batch::open(w.planned(), one).unwrap();
    let s = batch.run(Start::default(), &process, &|_, _| 1, &Heard::default(), &AtomicBool::new(false)).unwrap();
    assert_eq!((s.done, s.failed), (2, 0));
    assert!(w.tree()["a.png"].starts_with("a.png made"), "what was read is what was made");
    w.calls();
    let (s, _) = w.run().unwrap();
    assert_eq!((s.done, s.skipped, w.calls()), (1, 1, 1));
    assert!(w.tree()["a.png"].starts_with("a, saved again"));
}

#[test]
fn results_without_a_source_are_told_and_kept() {
    let w = World::new(&["a.png", "b.png", "sub/c.png", "d.png"]);
    assert_eq!(w.run().unwrap().0.orphans.len(), 0);
    let before = w.tree();
    for gone in ["in/a.png", "in/sub/c.png", "in/d.png"] {
        std::fs::remove_file(w.path(gone)).unwrap();
    }
    // One that a person deleted is missed by nobody.
    std::fs::remove_file(w.path("out/d.png")).unwrap();
    for _ in 0..2 {
        let (s, events) = w.run().unwrap();
        let mut orphans = s.orphans.clone();
        orphans.sort();
        assert_eq!(orphans, [PathBuf::from("a.png"), PathBuf::from("sub/c.png")]);
        assert_eq!((s.done, s.skipped, &events.last().unwrap()["orphans"]), (0, 1, &2.into()));
    }
    let after = w.tree();
    assert!(after.len() == 3 && after.iter().all(|(name, content)| before[name] == *content), "{after:?}");
    // Another job in the same folder has sources of its own; what it leaves out is still there.
    w.write("in/e.png", "e");
    let mut options = w.options.clone();
    options.settings.encoding.quality = 90;
    let batch = Batch::open(w.planned(), options).unwrap();
    let summary =
        batch.run(Start::default(), &|job: Job<'_>, _: Hooks<'_>| w.make(&job), &|_, _| 1, &Heard::default(), &AtomicBool::new(false));
    assert_eq!(summary.unwrap().orphans.len(), 2);
}

#[test]
fn what_a_person_changes_while_a_run_goes_on_is_kept() {
    let mut w = World::new(&["a.png", "b.png", "c.png"]);
    w.run().unwrap();
    w.options.settings.encoding.bits = 16;
    w.options.jobs = 1;
    let process = |job: Job<'_>, _: Hooks<'_>| {
        if job.source.ends_with("a.png") {
            w.write("out/b.png", "touched up by hand");
        }
        w.make(&job)
    };
    let (s, _) = w.run_with(&process, &AtomicBool::new(false)).unwrap();
    assert_eq!((s.done, s.failed), (2, 1));
    assert!(s.failures[0].message.contains("changed while the run went on"), "{}", s.failures[0].message);
    assert_eq!(w.tree()["b.png"], "touched up by hand");
    assert!(w.tree()["c.png"].contains("bits: 16"));
    // Asked for, it is replaced.
    w.options.overwrite = true;
    assert_eq!(w.run().unwrap().0.done, 1);
    assert!(w.tree()["b.png"].contains("bits: 16"));
}

#[test]
fn an_empty_file_that_a_power_cut_left_is_made_again() {
    let w = World::new(&["a.png", "b.png"]);
    w.run().unwrap();
    let before = w.tree();
    // The journal knows of an intent alone, and of the file only its name reached the disk.
    let journal = w.path("out/.lastmile/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let kept: String = text.lines().filter(|l| !l.contains("\"done\"")).map(|l| l.to_owned() + "\n").collect();
    assert!(kept.len() < text.len(), "{text}");
    std::fs::write(&journal, kept).unwrap();
    std::fs::write(w.path("out/a.png"), b"").unwrap();
    let (s, _) = w.run().unwrap();
    assert_eq!((s.done, s.skipped, s.failed), (1, 1, 0), "{:?}", s.failures);
    assert_eq!(w.tree(), before);
}
