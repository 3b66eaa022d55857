//! Five hundred small pictures with every kind of trouble among them, and disks that are full or cannot be written: the real
//! program, without a network.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use lastmile::Band;
use lastmile::codec::{self, Encoding, Format, Metadata};
use lastmile::image::Channels;

/// A small picture; no two are equal.
fn picture(path: &Path, n: usize) {
    let format = Format::from_path(path).unwrap();
    let (w, h) = (5 + n % 7, 4 + n % 5);
    let mut band = Band::new(0, w, h, 3);
    for c in 0..3 {
        for y in 0..h {
            for x in 0..w {
                band.row_mut(c, y)[x] = ((x * 31 + y * 17 + c * 7 + n) % 256) as f32 / 255.0;
            }
        }
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let how = Encoding { format, quality: 90, lossless: format == Format::WebP, ..Encoding::default() };
    let mut encoder = codec::encoder(path, &how, w, h, Channels::Rgb, &Metadata::default()).unwrap();
    encoder.write(&band).unwrap();
    encoder.finish().unwrap();
}

fn bytes_of(extension: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("x.{extension}"));
    picture(&path, 3);
    std::fs::read(path).unwrap()
}

/// A PNG header of that size, with nothing behind it.
fn header_only(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut body = b"IHDR".to_vec();
    body.extend(width.to_be_bytes());
    body.extend(height.to_be_bytes());
    body.extend([8, 2, 0, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    png.extend(13u32.to_be_bytes());
    png.extend(&body);
    png.extend(crc.sum().to_be_bytes());
    png
}

/// A GIF of 1x1 px with that many frames.
fn gif(frames: usize) -> Vec<u8> {
    let mut gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff".to_vec();
    for _ in 0..frames {
        gif.extend(b"\x21\xf9\x04\x00\x0a\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00");
    }
    gif.push(0x3b);
    gif
}

/// Files that must fail, and a word of the reason each must be given.
fn broken() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (png, jpg, webp, tiff) = (bytes_of("png"), bytes_of("jpg"), bytes_of("webp"), bytes_of("tiff"));
    let cut = |bytes: &[u8]| bytes[..bytes.len() * 2 / 3].to_vec();
    let mut flipped = png.clone();
    let at = flipped.windows(4).position(|w| w == b"IDAT").unwrap() + 6;
    flipped[at] ^= 0x55;
    vec![
        ("a/empty.png", Vec::new(), "empty"),
        ("a/one byte.jpg", vec![0xff], "1 byte"),
        ("a/cut.png", cut(&png), ""),
        ("a/cut.jpg", jpg[..jpg.len() / 2].to_vec(), ""),
        ("b/cut.webp", cut(&webp), "cut off"),
        ("b/cut.tiff", cut(&tiff), ""),
        ("b/flipped.png", flipped, "checksum"),
        ("b/text.png", b"<html><body>404 not found</body></html>".to_vec(), ""),
        ("b/phone.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1".to_vec(), "HEIC"),
        ("c/bomb.png", header_only(60_000, 60_000), "--max-pixels"),
        ("c/zero.png", header_only(0, 16), "0x16"),
        ("c/moving.gif", gif(3), "frames"),
    ]
}

struct Folder {
    dir: tempfile::TempDir,
    /// Outputs that must fail with these words.
    bad: BTreeMap<String, &'static str>,
    /// How many must come out well.
    good: usize,
}

/// 500 files in a small tree, 20 troubles among them.
fn torture() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("in");
    let mut good = 0;
    let mut put = |name: &str| {
        good += 1;
        picture(&root.join(name), good);
    };
    // Troubles 1 to 6: names that meet, names that differ by case, names that are hard to write down. All come out well.
    put("a/hero.png");
    put("a/hero.jpg");
    put("a/Hero.png");
    put(&format!("a/{}.png", "n".repeat(246)));
    put("a/-rf 'x' $HOME ;\u{1F600}.png");
    put("d/line\nbreak.png");
    put("d/100%.webp");
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        let odd = root.join("d").join(std::ffi::OsStr::from_bytes(b"latin \xe9.png"));
        std::fs::copy(root.join("a/hero.png"), odd).unwrap();
        good += 1;
    }
    // Troubles 7 to 18: files that cannot be read.
    let mut bad = BTreeMap::new();
    for (name, bytes, word) in broken() {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        let output = name.rsplit_once('.').unwrap().0.to_owned() + ".png";
        bad.insert(output, word);
    }
    // The PNG keeps its name, else the first in order.
    bad.insert("b/cut.png".into(), "");
    bad.insert("b/cut_webp.png".into(), "cut off");
    bad.insert("a/cut_jpg.png".into(), "");
    // Trouble 19: links in a circle, and to nowhere. Trouble 20: a folder where an output shall go.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&root, root.join("d/round")).unwrap();
        std::os::unix::fs::symlink(root.join("nowhere.png"), root.join("d/nowhere.png")).unwrap();
    }
    picture(&root.join("e/in the way.png"), 9999);
    std::fs::create_dir_all(dir.path().join("out/e/in the way.png")).unwrap();
    bad.insert("e/in the way.png".into(), "a folder stands where");
    let extensions = ["png", "jpg", "webp", "tiff"];
    let mut n = 0;
    while good + bad.len() < 500 {
        n += 1;
        good += 1;
        picture(&root.join(format!("{}/p{n}.{}", ["e", "f/g", "f/h"][n % 3], extensions[n % 4])), n);
    }
    Folder { dir, bad, good }
}

/// Every file with the hash of its contents; links as links.
fn hashes(root: &Path) -> BTreeMap<PathBuf, String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                if entry.file_name() != ".lastmile" {
                    walk(root, &path, found);
                }
            } else {
                let hash = if kind.is_file() { lastmile::batch::journal::sha256_file(&path).unwrap() } else { "link".into() };
                found.insert(path.strip_prefix(root).unwrap().to_path_buf(), hash);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn upscale(dir: &Path) -> Command {
    let mut command = program::lastmile(dir, &dir.join("home"));
    command.args(["upscale", "in", "-o", "out", "--model", "none", "--scale", "2", "--format", "png"]);
    command
}

#[derive(serde::Deserialize)]
struct Listed {
    output: String,
    message: String,
}

fn listed(dir: &Path) -> Vec<Listed> {
    serde_json::from_slice(&std::fs::read(dir.join("out/.lastmile/failed.json")).unwrap()).unwrap()
}

/// Runs; the exit code, and how many files were done, skipped and failed.
fn run(command: &mut Command) -> (i32, [u64; 3], String) {
    let output = command.args(["--json", "-"]).output().unwrap();
    let (out, err) = program::text(&output);
    assert!(!err.contains("panicked"), "{err}");
    let end: serde_json::Value = serde_json::from_str(out.lines().last().unwrap_or_else(|| panic!("{err}"))).unwrap();
    assert_eq!(end["event"], "end");
    (output.status.code().unwrap(), ["done", "skipped", "failed"].map(|k| end[k].as_u64().unwrap()), err)
}

#[test]
fn five_hundred_files_and_twenty_troubles() {
    let Folder { dir, bad, good } = torture();
    let dir = dir.path();
    let before = hashes(&dir.join("in"));
    assert!(good + bad.len() == 500, "{good} {}", bad.len());

    let (code, counts, err) = run(&mut upscale(dir));
    assert_eq!((code, counts), (3, [good as u64, 0, bad.len() as u64]), "{err}");
    assert!(err.contains("a link back to"), "{err}");
    assert!(err.contains("--retry-failed"), "the last line says how to go on: {err}");
    let list = listed(dir);
    let named: BTreeSet<&str> = list.iter().map(|l| l.output.as_str()).collect();
    assert_eq!(named, bad.keys().map(String::as_str).collect::<BTreeSet<_>>());
    for l in &list {
        assert!(l.message.contains(bad[&l.output]) && !l.message.is_empty(), "{}: {}", l.output, l.message);
    }
    assert_eq!(std::fs::read_to_string(dir.join("out/.lastmile/failed.txt")).unwrap().lines().count(), bad.len());
    assert_eq!(hashes(&dir.join("in")), before, "sources are never touched");
    let made = hashes(&dir.join("out"));
    assert_eq!(made.len(), good);
    assert!(!dir.join("out/.lastmile/tmp").exists());

    // Again: nothing is done twice. Only the failed ones: all of them fail again.
    let (code, counts, _) = run(&mut upscale(dir));
    assert_eq!((code, counts), (3, [0, good as u64, bad.len() as u64]));
    let (code, counts, _) = run(upscale(dir).arg("--retry-failed"));
    assert_eq!((code, counts), (3, [0, 0, bad.len() as u64]));

    // Mended, they come out as well, and the list is gone.
    for (n, (name, _, _)) in broken().into_iter().enumerate() {
        let source = dir.join("in").join(name);
        let kept = if source.extension().is_some_and(|e| e == "gif" || e == "heic") {
            "png"
        } else {
            source.extension().unwrap().to_str().unwrap()
        };
        let whole = dir.join(format!("whole.{kept}"));
        picture(&whole, 7000 + n);
        std::fs::rename(whole, source).unwrap();
    }
    std::fs::remove_dir(dir.join("out/e/in the way.png")).unwrap();
    let (code, counts, err) = run(upscale(dir).arg("--retry-failed"));
    assert_eq!((code, counts), (0, [bad.len() as u64, 0, 0]), "{err}");
    assert!(!dir.join("out/.lastmile/failed.txt").exists());
    let after = hashes(&dir.join("out"));
    assert!(after.len() == 500 && made.iter().all(|(k, v)| after[k] == *v));
}

#[test]
fn cut_off_anywhere_it_goes_on() {
    let Folder { dir, bad, good } = torture();
    let dir = dir.path();
    for wait_ms in [20, 60, 120] {
        let mut child = upscale(dir).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (code, [done, skipped, failed], err) = run(&mut upscale(dir));
    assert_eq!((code, done + skipped, failed), (3, good as u64, bad.len() as u64), "{err}");
    let whole = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(whole.path().join("out/e/in the way.png")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(dir.join("in"), whole.path().join("in")).unwrap();
    if cfg!(unix) {
        run(&mut upscale(whole.path()));
        assert_eq!(hashes(&dir.join("out")), hashes(&whole.path().join("out")));
    }
}

#[test]
fn two_inputs_with_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    for (n, name) in ["in/one/a.png", "in/two/a.png"].into_iter().enumerate() {
        picture(&dir.path().join(name), n);
    }
    let mut command = program::lastmile(dir.path(), &dir.path().join("home"));
    let (code, counts, _) = run(command.args(["upscale", "in/one", "in/two", "-o", "out", "--model", "none", "--scale", "2"]));
    assert_eq!((code, counts), (0, [2, 0, 0]));
    let names: Vec<PathBuf> = hashes(&dir.path().join("out")).into_keys().collect();
    assert_eq!(names, [PathBuf::from("a.png"), "a_png.png".into()]);
}

/// A small file system of its own; `None` (and a note) where this process may not mount one.
#[cfg(target_os = "linux")]
struct Mount(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl Mount {
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).output();
        if done.is_ok_and(|o| o.status.success()) {
            return Some(Self(dir));
        }
        println!("skipped: this process may not mount a file system");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run_and_space_lets_it_go_on() {
    let Some(disk) = Mount::new("size=256k") else { return };
    let dir = tempfile::tempdir().unwrap();
    for n in 0..12 {
        let path = dir.path().join(format!("in/{n}.tiff"));
        picture(&path, n);
    }
    let command = || {
        let mut command = program::lastmile(dir.path(), &dir.path().join("home"));
        command.args(["upscale", "in", "--model", "none", "--size", "200x200", "--fit", "exact", "--format", "tiff", "--jobs", "2", "-o"]);
        command.arg(disk.path().join("out"));
        command
    };
    let output = command().output().unwrap();
    let (_, err) = program::text(&output);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("the disk is full") && err.contains("free some space"), "{err}");
    assert!(err.contains("go on with: lastmile upscale in"), "{err}");
    let made = hashes(&disk.path().join("out"));
    assert!(!made.is_empty() && made.len() < 12, "{}", made.len());
    for path in made.keys() {
        let whole = codec::probe(&disk.path().join("out").join(path), &codec::Limits::default()).unwrap();
        assert_eq!((whole.width, whole.height), (200, 200), "only whole files");
    }
    let grown = Command::new("mount").args(["-o", "remount,size=8m"]).arg(disk.path()).status().unwrap();
    assert!(grown.success());
    let (code, [done, skipped, failed], err) = run(&mut command());
    assert_eq!((code, done + skipped, failed), (0, 12, 0), "{err}");
    assert!(skipped > 0, "what was done is not done again");
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_cannot_be_written_is_told_before_work() {
    let Some(disk) = Mount::new("ro,size=64k") else { return };
    let dir = tempfile::tempdir().unwrap();
    picture(&dir.path().join("in/a.png"), 1);
    let mut command = program::lastmile(dir.path(), &dir.path().join("home"));
    command.args(["upscale", "in", "--model", "none", "--scale", "2", "-o"]).arg(disk.path().join("out"));
    program::fails(&mut command, 2, &["cannot be created", "a folder that can be written"]);
}

#[test]
fn output_and_input_that_are_one_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    picture(&dir.path().join("in/a.png"), 1);
    for (input, output) in [("in", "in"), ("in/a.png", "in/a.png"), ("in/a.png", "in"), ("in", "in/../in")] {
        let mut command = program::lastmile(dir.path(), &dir.path().join("home"));
        command.args(["upscale", input, "-o", output, "--model", "none", "--scale", "2"]);
        program::fails(&mut command, 2, &["try: another folder"]);
    }
    assert!(!dir.path().join("in/.lastmile").exists());
    // A folder inside the input is fine, and is not worked on the second time.
    for expected in [[1, 0, 0], [0, 1, 0]] {
        let mut command = program::lastmile(dir.path(), &dir.path().join("home"));
        let (code, counts, _) = run(command.args(["upscale", "in", "-o", "in/out", "--model", "none", "--scale", "2"]));
        assert_eq!((code, counts), (0, expected));
    }
}
