//! A hot folder with the real program.

#![cfg(unix)]
// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Hot {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Hot {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let recipe = "[upscale]\nmodel = \"none\"\nscale = 0.25\n[output]\nformat = \"png\"\n";
        std::fs::write(dir.path().join("small.recipe.toml"), recipe).unwrap();
        Self { dir, child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&mut self) {
        self.start_with(&[]);
    }

    fn start_with(&mut self, more: &[&str]) {
        let mut command = program::lastmile(self.dir.path(), &self.path("home"));
        command.args(["watch", "in", "--recipe", "small.recipe.toml", "-o", "out", "--settle", "1", "--json", "log.jsonl"]).args(more);
        self.child = Some(command.stderr(Stdio::piped()).spawn().unwrap());
    }

    /// Ends it with a signal; the exit code and what it said.
    fn stop(&mut self, signal: &str) -> (Option<i32>, String) {
        let child = self.child.take().unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        (output.status.code(), program::text(&output).1)
    }

    fn copy(&self, example: &str, name: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        std::fs::copy(from, self.path("in").join(name)).unwrap();
    }

    /// Waits until a file is there.
    fn wait(&self, name: &str) {
        self.wait_for(|| self.path(name).exists());
    }

    fn wait_for(&self, there: impl Fn() -> bool) {
        let begun = Instant::now();
        while !there() {
            assert!(begun.elapsed() < Duration::from_secs(120), "it never came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Names of the outputs made since the last start.
    fn made(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("log.jsonl")).unwrap();
        let lines = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        let done = lines.filter(|l| l["event"] == "file" && l["status"] == "done");
        done.map(|l| Path::new(l["output"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn pictures_come_out_and_troubles_are_set_aside() {
    let mut hot = Hot::new();
    hot.copy("street.png", "before.png");
    hot.start();
    hot.wait("out/before.png");

    // Written in two halves, with a pause: taken when it is whole.
    let whole = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/street.png")).unwrap();
    let mut slow = std::fs::File::create(hot.path("in/slow.png")).unwrap();
    for piece in whole.chunks(whole.len() / 6 + 1) {
        slow.write_all(piece).unwrap();
        slow.flush().unwrap();
        std::thread::sleep(Duration::from_millis(40));
    }
    drop(slow);
    hot.wait("out/slow.png");
    assert!(!hot.path("in/_failed").exists());

    std::fs::create_dir(hot.path("in/sub")).unwrap();
    std::fs::write(hot.path("in/sub/broken.png"), &whole[..whole.len() / 2]).unwrap();
    hot.wait("in/_failed/sub/broken.png");
    let reason = std::fs::read_to_string(hot.path("in/_failed/sub/broken.png.reason.txt")).unwrap();
    assert!(reason.contains("broken.png") && reason.contains("Move the picture back"), "{reason}");
    assert!(!hot.path("in/sub/broken.png").exists() && !hot.path("out/sub").exists());

    // The first hero was fetched from the hot folder before the second came: neither is lost.
    hot.copy("study.jpg", "hero.jpg");
    hot.wait("out/hero.png");
    let first = std::fs::read(hot.path("out/hero.png")).unwrap();
    std::fs::remove_file(hot.path("in/hero.jpg")).unwrap();
    hot.copy("street.png", "hero.png");
    hot.wait("in/_failed/hero.png");
    let reason = std::fs::read_to_string(hot.path("in/_failed/hero.png.reason.txt")).unwrap();
    assert!(reason.contains("was made from") && reason.contains("hero.jpg; it is kept"), "{reason}");
    assert!(std::fs::read(hot.path("out/hero.png")).unwrap() == first);

    let (code, said) = hot.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 files done, 2 failed"), "{said}");
}

#[test]
fn stopped_or_killed_it_goes_on_where_it_was() {
    let mut hot = Hot::new();
    hot.copy("street.png", "one.png");
    hot.start();
    hot.wait("out/one.png");
    hot.copy("street.png", "two.png");
    hot.stop("-KILL");
    hot.copy("study.jpg", "three.jpg");
    hot.start();
    hot.wait("out/two.png");
    hot.wait("out/three.png");
    hot.copy("study.jpg", "four.jpg");
    hot.wait("out/four.png");
    let (code, said) = hot.stop("-TERM");
    assert_eq!(code, Some(0), "{said}");
    let mut made = hot.made();
    made.sort();
    assert_eq!(made, ["four.png", "three.png", "two.png"], "what was done is not done again: {said}");
    assert!(!hot.path("out/.lastmile/tmp").exists());
}

#[test]
fn a_folder_that_is_not_there_or_is_the_output_is_refused() {
    let hot = Hot::new();
    for (folder, output, words) in [("nowhere", "out", "no such folder"), ("in", "in", "is an input folder")] {
        let mut command = program::lastmile(hot.dir.path(), &hot.path("home"));
        command.args(["watch", folder, "--recipe", "small.recipe.toml", "-o", output]);
        program::fails(&mut command, 2, &[words]);
    }
}

#[test]
fn a_gate_is_told_at_the_end() {
    let mut hot = Hot::new();
    hot.copy("street.png", "one.png");
    hot.start_with(&["--fail-on", "review"]);
    hot.wait("out/.lastmile/report.jsonl");
    let (code, said) = hot.stop("-INT");
    assert_eq!(code, Some(0), "{said}");
    // As if the inspection had found something.
    let file = hot.path("out/.lastmile/report.jsonl");
    let mut report: serde_json::Value = serde_json::from_str(std::fs::read_to_string(&file).unwrap().trim()).unwrap();
    report["verdict"] = "review".into();
    std::fs::write(&file, format!("{report}\n")).unwrap();
    for (gate, wanted) in [("review", 4), ("reject", 0)] {
        std::fs::remove_file(hot.path("log.jsonl")).unwrap();
        hot.start_with(&["--fail-on", gate]);
        hot.wait_for(|| std::fs::read_to_string(hot.path("log.jsonl")).is_ok_and(|log| log.contains("\"skipped\"")));
        let (code, said) = hot.stop("-TERM");
        assert_eq!(code, Some(wanted), "{said}");
        assert!(said.contains("1 file flagged: lastmile review out"), "{said}");
        let log = std::fs::read_to_string(hot.path("log.jsonl")).unwrap();
        let end: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!((&end["event"], &end["flagged"]), (&"end".into(), &1.into()));
    }
}
