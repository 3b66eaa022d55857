//! The review page in a real Chromium, by keyboard: `tests/browser/triage.mjs` drives it. Screenshots go to `target/browser`.
//!
//! Needs Chromium (`LASTMILE_CHROMIUM`, or on the PATH), Node and `npm install --prefix tests/browser`; without them it says
//! so and passes, except where `REQUIRE_BROWSER=1`.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod review_folder;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use review_folder::{folder, png, ranked};

fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|n| std::env::split_paths(&path).map(|d| d.join(n)).find(|f| f.is_file()))
}

/// Chromium and Node, or why the test is passed over.
fn tools(tests: &Path) -> Result<(PathBuf, PathBuf), &'static str> {
    let named = std::env::var_os("LASTMILE_CHROMIUM").map(PathBuf::from);
    let chromium = named.or_else(|| on_path(&["chromium", "chromium-browser", "google-chrome"])).ok_or("no Chromium")?;
    let node = on_path(&["node"]).ok_or("no Node")?;
    if !tests.join("node_modules/playwright-core").is_dir() || !tests.join("node_modules/axe-core").is_dir() {
        return Err("run `npm install --prefix tests/browser` first");
    }
    Ok((chromium, node))
}

/// Ends the program when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn fifty_pictures_by_keyboard() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let (chromium, node) = match tools(&tests) {
        Ok(tools) => tools,
        Err(why) => {
            assert!(std::env::var_os("REQUIRE_BROWSER").is_none(), "{why}");
            println!("skipped: {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(100, 50, 960, 640), 960, 640);
    let glow = |x: u32, y: u32| [(255.0 * (-((f64::from(x) - 750.0).powi(2) + (f64::from(y) - 100.0).powi(2)) / 10_000.0).exp()) as u8; 3];
    png(&out.join(".lastmile/heat/portraits/000.micro_noise.png"), 960, 640, glow);

    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile"));
    command.args(["review", "--no-open", "--json", "-"]).arg(&out).stdout(Stdio::piped());
    let mut review = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(review.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();

    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser");
    std::fs::create_dir_all(&shots).unwrap();
    let run =
        Command::new(node).arg(tests.join("triage.mjs")).arg(told["url"].as_str().unwrap()).arg(&shots).arg(chromium).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
    println!("{said}");

    let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join(".lastmile/verdicts.json")).unwrap()).unwrap();
    let count = |d: &str| saved["pictures"].as_object().unwrap().values().filter(|e| e["decision"] == d).count();
    // By hand 18, 16 and 16; the 30 that passed and were not drawn were approved at a glance.
    assert_eq!((count("approved"), count("rejected"), count("repair")), (48, 16, 16));
    let noted = saved["pictures"].as_object().unwrap().values().find(|e| e["output"] == "portraits/000.png").unwrap();
    assert_eq!(noted["note"], "hand again, finger");
}
