//! What a person sees while a batch runs: one calm line on a terminal, plain lines in a log, and a summary at the end. Also
//! writes the JSON lines.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Globals, say};
pub use crate::batch::events::seconds;
use crate::batch::events::{Event, FileEvent, Listener, Start, Status, told};
use crate::batch::plan::Item;
use crate::batch::{HOLD, Noted, Summary};

/// How often a log hears of progress.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Failures that the summary tells in full.
const TOLD: usize = 5;

/// Draws the events of one run.
pub struct Progress {
    state: Mutex<State>,
    /// How much work each job is, where known; any unit.
    weights: HashMap<usize, f64>,
    verbosity: i8,
}

struct State {
    bar: Option<ProgressBar>,
    json: Option<Box<dyn Write + Send>>,
    began: Instant,
    logged: Option<Instant>,
    total: f64,
    files: usize,
    /// Finished files, the work in them and the megapixels they made.
    finished: usize,
    weight: f64,
    made: f64,
    /// Name and share of what is being worked on.
    active: HashMap<usize, (String, f64)>,
}

impl State {
    fn write(&mut self, value: &impl serde::Serialize) {
        let Some(json) = &mut self.json else { return };
        // A reader that went away does not stop the work on files.
        let sent = serde_json::to_writer(&mut *json, value)
            .map_err(io::Error::from)
            .and_then(|()| json.write_all(b"\n"))
            .and_then(|()| json.flush());
        if let Err(e) = sent {
            self.json = None;
            if e.kind() != io::ErrorKind::BrokenPipe {
                say(format_args!("error: --json: {e}; the run goes on without it"));
            }
        }
    }
}

impl Progress {
    /// `weights`: how much work each job is, in any unit; 1 stands for those that are missing.
    pub fn new(globals: &Globals, weights: HashMap<usize, f64>) -> crate::Result<Self> {
        let json = globals.json.as_ref().map(super::JsonTarget::open).transpose()?;
        let bar = (globals.verbosity >= 0 && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(5));
            let colour = if globals.color { "{bar:24.cyan/dim} {msg}" } else { "{bar:24} {msg}" };
            if let Ok(style) = ProgressStyle::with_template(colour) {
                bar.set_style(style.progress_chars("━━─"));
            }
            bar
        });
        let state = State {
            bar,
            json,
            began: Instant::now(),
            logged: None,
            total: 0.0,
            files: 0,
            finished: 0,
            weight: 0.0,
            made: 0.0,
            active: HashMap::new(),
        };
        Ok(Self { state: Mutex::new(state), weights, verbosity: globals.verbosity })
    }

    /// Writes a line of JSON that no event stands for.
    pub fn line(&self, value: &serde_json::Value) {
        self.state().write(value);
    }

    fn weight(&self, job: usize) -> f64 {
        self.weights.get(&job).copied().unwrap_or(1.0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, s: &mut State, f: &FileEvent) {
        s.active.remove(&f.job);
        if f.status == Status::Skipped {
            return;
        }
        s.finished += 1;
        // What failed took no time to speak of.
        match f.error {
            Some(_) => s.total -= self.weight(f.job),
            None => s.weight += self.weight(f.job),
        }
        s.made += (f.width * f.height) as f64 / 1e6;
        let line = match (&f.error, f.status) {
            (Some(e), _) => format!("failed: {}", told(&f.input, &e.message).replace('\n', "\n  ")),
            _ => {
                let mut line = format!("{} -> {}  {}x{}, {}, {}", f.input, f.output, f.width, f.height, bytes(f.bytes), seconds(f.seconds));
                // Without -v the summary tells them, once for all files that have them.
                for note in f.notes.iter().filter(|_| self.verbosity > 0) {
                    let _ = write!(line, "\n  note: {note}");
                }
                line
            }
        };
        let failed = f.error.is_some();
        let due = s.logged.is_none_or(|t| t.elapsed() >= LOG_EVERY);
        match &s.bar {
            Some(bar) if failed || self.verbosity > 0 => bar.suspend(|| say(&line)),
            Some(_) => {}
            None if failed || self.verbosity > 0 => say(&line),
            None if self.verbosity == 0 && due => {
                say(format_args!("{}/{}  {line}{}", s.finished, s.files, self.left(s)));
                s.logged = Some(Instant::now());
            }
            None => {}
        }
    }

    fn share(&self, s: &State) -> f64 {
        let active: f64 = s.active.iter().map(|(job, (_, share))| self.weight(*job) * share).sum();
        if s.total > 0.0 { ((s.weight + active) / s.total).min(1.0) } else { 0.0 }
    }

    /// "  0.31 MPix/s, about 4 min left", once there is something to say.
    fn left(&self, s: &State) -> String {
        let share = self.share(s);
        let took = s.began.elapsed().as_secs_f64();
        if took < 2.0 || share < 0.005 {
            return String::new();
        }
        let rate = if s.made > 0.0 { format!("  {:.2} MPix/s", s.made / took) } else { String::new() };
        let left = took * (1.0 / share - 1.0);
        if left < 1.0 { rate } else { format!("{rate}  about {} left", seconds(left)) }
    }

    fn draw(&self, s: &State) {
        let Some(bar) = &s.bar else { return };
        let first = s.active.iter().min_by_key(|(job, _)| **job).map_or("", |(_, (name, _))| name.as_str());
        bar.set_position((self.share(s) * 1000.0) as u64);
        bar.set_message(format!("{}/{}  {first}{}", s.finished, s.files, self.left(s)));
    }
}

impl Listener for Progress {
    fn event(&self, event: &Event) {
        let mut s = self.state();
        let s = &mut *s;
        s.write(event);
        match event {
            Event::Start(start) => {
                s.began = Instant::now();
                s.files = start.files - start.skipped;
                s.total = if self.weights.is_empty() { s.files as f64 } else { self.weights.values().sum::<f64>() };
            }
            Event::File(f) => {
                self.file(s, f);
                self.draw(s);
            }
            Event::Report(_) => {}
            Event::End(_) => {
                if let Some(bar) = &s.bar {
                    bar.finish_and_clear();
                }
            }
        }
    }

    fn begin(&self, item: &Item) {
        let mut s = self.state();
        let name = super::harmless(&item.source.file_name().unwrap_or_default().to_string_lossy());
        s.active.insert(item.job, (name, 0.0));
        self.draw(&s);
    }

    fn progress(&self, item: &Item, share: f64) {
        let mut s = self.state();
        if let Some(a) = s.active.get_mut(&item.job) {
            a.1 = share;
        }
        self.draw(&s);
    }
}

/// "12 files, 34.5 MPix, model lastmile-faithful-x4 on cpu (2 cores), about 1 min".
pub fn opening(start: &Start, cores: usize) -> String {
    if start.files == start.skipped {
        return match start.skipped {
            0 => "Nothing to do.".into(),
            n => format!("Nothing to do: {} done already.", files(n)),
        };
    }
    let mut line = files(start.files - start.skipped);
    if let Some(mp) = start.megapixels {
        let _ = write!(line, ", {mp:.1} MPix");
    }
    if start.model == "none" {
        line.push_str(", no network");
    } else {
        let _ = write!(line, ", model {} on {}", start.model, start.device);
    }
    if start.device == "cpu" && start.model != "none" {
        let _ = write!(line, " ({cores} core{})", if cores == 1 { "" } else { "s" });
    }
    if let Some(device) = &start.grade_device {
        let _ = write!(line, ", graded on {device}");
    }
    if let Some(t) = start.seconds.filter(|t| *t >= 1.0) {
        let _ = write!(line, ", about {}", seconds(t));
    }
    if start.skipped > 0 {
        let _ = write!(line, "; {} done already", files(start.skipped));
    }
    line
}

/// What a run came to: counts, reasons, where, and the next command to type.
pub fn closing(s: &Summary, root: &std::path::Path, command: &str) -> String {
    let mut text = String::new();
    let mut parts = vec![format!("{} done", s.done)];
    for (n, word) in [(s.skipped, "skipped (done before)"), (s.failed, "failed"), (s.left, "left")] {
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    // That nothing was to do was said at the start.
    if s.done + s.failed + s.left > 0 {
        let _ = write!(text, "{} in {}", parts.join(", "), seconds(s.seconds));
    }
    if s.done > 0 && s.seconds > 0.0 {
        let mp = s.pixels as f64 / 1e6;
        let _ =
            write!(text, ": {mp:.1} MPix made, {} in {}, {:.2} MPix of results a second", bytes(s.bytes), root.display(), mp / s.seconds);
    }
    if s.inspected > 0 {
        let runs = match s.inspected_before {
            0 => "",
            n if n < s.inspected => " (this and earlier runs)",
            _ => " (earlier runs)",
        };
        let _ = match s.flagged {
            0 => write!(text, "\n  {} inspected, none flagged{runs}", s.inspected),
            n => {
                write!(text, "\n  {n} of {} inspected are flagged{runs}: lastmile review {}", s.inspected, super::quoted(root.as_os_str()))
            }
        };
    }
    if !s.held.is_empty() {
        let _ = write!(
            text,
            "\n  {} missed a gate and {} in {} (to approve one, move it to the same path below {})",
            files(s.held.len()),
            if s.held.len() == 1 { "lies" } else { "lie" },
            root.join(HOLD).display(),
            root.display()
        );
        for (path, why) in s.held.iter().take(TOLD) {
            let _ = write!(text, "\n    {}: {why}", path.display());
        }
        if s.held.len() > TOLD {
            let _ = write!(text, "\n    and {} more", s.held.len() - TOLD);
        }
    }
    if let Some(first) = s.orphans.first() {
        let _ = match s.orphans.len() {
            1 => write!(text, "\n  1 result has no source any more and is kept: {}", first.display()),
            n => write!(text, "\n  {n} results have no source any more and are kept, first {}", first.display()),
        };
    }
    if s.c2pa > 0 {
        let _ = write!(text, "\n  Content Credentials of {} were lost from the results; each manifest is in *.source.c2pa", files(s.c2pa));
    }
    text.push_str(&noted(&s.notes));
    for f in s.failures.iter().take(TOLD) {
        let _ = write!(text, "\n  {}", told(&f.input, &f.message).lines().next().unwrap_or_default());
    }
    if s.failures.len() > TOLD {
        let _ = write!(text, "\n  and {} more, see {}", s.failures.len() - TOLD, root.join(".lastmile/failed.txt").display());
    }
    if s.interrupted {
        let _ = write!(text, "\nStopped. To go on: {command}");
    } else if s.fatal.is_some() {
        let _ = write!(text, "\nOnce that is mended, go on with: {command}");
    } else if s.failed > 0 {
        let retry = if command.contains(" --retry-failed") { command.to_string() } else { format!("{command} --retry-failed") };
        let _ = write!(text, "\nOnce they are mended: {retry}");
    } else {
        let open = if cfg!(target_os = "macos") {
            "open"
        } else if cfg!(windows) {
            "explorer"
        } else {
            "xdg-open"
        };
        let _ = write!(text, "\nTo look at them: {open} {}", super::quoted(root.as_os_str()));
    }
    text.trim_start().to_owned()
}

/// The notes of the files, the most frequent ones first; not those that the summary tells anyway, or that were asked for.
fn noted(notes: &[Noted]) -> String {
    let routine = |text: &str| {
        (text.contains("C2PA") && !text.contains("are lost")) || text.starts_with("score ") || text == "resampled without a network"
    };
    let told = lines(notes.iter().filter(|n| !routine(&n.text)).collect());
    let mut text: String = told.iter().take(TOLD).flat_map(|line| ["\n  ", line]).collect();
    if told.len() > TOLD {
        let _ = write!(text, "\n  and {} notes of other kinds; --json has them all", told.len() - TOLD);
    }
    text
}

/// Notes as a run will have them, told as its summary tells them: a line each, the most frequent ones first.
pub fn told_together<'a>(notes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all = Summary::default();
    notes.for_each(|note| all.note(&[note.to_owned()]));
    lines(all.notes.iter().collect())
}

fn lines(mut notes: Vec<&Noted>) -> Vec<String> {
    notes.sort_by_key(|n| std::cmp::Reverse(n.files));
    let line = |n: &Noted| format!("{}: {}{}", files(n.files), n.text, if n.differ { " (or other numbers)" } else { "" });
    notes.into_iter().map(line).collect()
}

/// A count of files.
pub fn files(n: usize) -> String {
    if n == 1 { "1 file".into() } else { format!("{n} files") }
}

/// Bytes for people, in powers of 1000.
pub fn bytes(n: u64) -> String {
    match n as f64 {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.0} kB", b / 1e3),
        _ => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([bytes(12), bytes(34_500), bytes(3_456_000), bytes(7_000_000_000)], ["12 B", "34 kB", "3.5 MB", "7.0 GB"]);
    }

    #[test]
    fn the_first_line_says_what_will_happen() {
        let start = Start {
            files: 14,
            skipped: 2,
            megapixels: Some(34.52),
            model: "lastmile-faithful-x4".into(),
            device: "cpu".into(),
            grade_device: None,
            jobs: 2,
            seconds: Some(62.0),
            output: "final".into(),
        };
        assert_eq!(
            opening(&start, 2),
            "12 files, 34.5 MPix, model lastmile-faithful-x4 on cpu (2 cores), about 62 s; 2 files done already"
        );
    }

    #[test]
    fn notes_are_told_once_with_how_many_files_have_them() {
        let n = |text: &str, files, differ| Noted { text: text.into(), shape: String::new(), files, differ };
        let told = noted(&[n("score 91.0, p90 2.0 dE2000", 9, true), n("no room", 2, false), n("quality 84 instead of 95", 7, true)]);
        assert_eq!(told, "\n  7 files: quality 84 instead of 95 (or other numbers)\n  2 files: no room");
        let told = noted(&[
            n("its C2PA manifest is kept beside the result as a", 3, true),
            n("its Content Credentials (C2PA) are lost", 1, false),
        ]);
        assert_eq!(told, "\n  1 file: its Content Credentials (C2PA) are lost");
        assert!(
            noted(&["a", "b", "c", "d", "e", "f", "g"].map(|t| n(t, 1, false)))
                .ends_with("and 2 notes of other kinds; --json has them all")
        );
    }

    #[test]
    fn the_last_line_is_the_next_command() {
        let root = std::path::Path::new("final");
        let last = |s: &Summary| closing(s, root, "lastmile upscale in -o final").lines().last().map(str::to_string).unwrap_or_default();
        assert!(last(&Summary { done: 3, seconds: 1.0, ..Summary::default() }).ends_with(" final"));
        assert!(last(&Summary { failed: 1, ..Summary::default() }).ends_with("lastmile upscale in -o final --retry-failed"));
        assert!(last(&Summary { interrupted: true, ..Summary::default() }).ends_with("lastmile upscale in -o final"));
    }
}
