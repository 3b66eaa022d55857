//! Reports on disk: JSON lines that a review reads, and the same as a table.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use super::DETECTORS;
use super::report::Report;
use crate::error::{Error, Result};

/// The name of the JSON lines file in `OUT/.lastmile/`.
pub const FILE: &str = "report.jsonl";

/// All reports of a file; for an input with several lines the last one, at the place of the first. None if there is no file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Usage`] for a line that is no report.
pub fn read(path: &Path) -> Result<Vec<Report>> {
    let text = match std::fs::read(path) {
        // A name may have been cut in the middle of a letter.
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(path, e)),
    };
    let mut reports = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        // Zeros are what a crash of the machine leaves.
        let line = line.trim_matches('\0');
        match serde_json::from_str::<Report>(line) {
            Ok(report) => reports.push(report),
            // A run that was cut short, or a full disk, left half a line; later runs wrote behind it. It costs its own picture's report.
            Err(e) if e.is_eof() => {}
            Err(e) => {
                let what = format!("line {} is not a report: {e}", i + 1);
                return Err(Error::usage(path.display(), what, "remove the file and inspect again"));
            }
        }
    }
    Ok(latest(reports))
}

/// The last report of every input, at the place of its first.
fn latest(reports: Vec<Report>) -> Vec<Report> {
    let mut place: HashMap<String, usize> = HashMap::new();
    let mut out: Vec<Report> = Vec::new();
    for report in reports {
        match place.get(report.name()) {
            Some(&i) => out[i] = report,
            None => {
                place.insert(report.name().to_owned(), out.len());
                out.push(report);
            }
        }
    }
    out
}

/// Appends one report; folders are made.
///
/// # Errors
/// [`Error::Io`].
pub fn append(path: &Path, report: &Report) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let open = std::fs::OpenOptions::new().create(true).append(true).read(true).open(path);
    let written = open.and_then(|mut file| {
        // One write a line, and never on the heels of half a line.
        let mut text = line(report);
        if !ends_a_line(path)? {
            text.insert(0, '\n');
        }
        file.write_all(text.as_bytes())
    });
    written.map_err(|e| Error::io(path, e))
}

fn ends_a_line(path: &Path) -> std::io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last[0] == b'\n')
}

/// Writes `reports`, and those of the file whose inputs are not among them, in one step.
///
/// # Errors
/// [`Error::Io`]; as [`read`].
pub fn replace(path: &Path, reports: &[Report]) -> Result<()> {
    let mut all = read(path)?;
    all.extend(reports.iter().cloned());
    let text: String = latest(all).iter().map(line).collect();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).map_err(|e| Error::io(path, e))
}

fn line(report: &Report) -> String {
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

/// Reports as CSV (RFC 4180): one row a picture, one column a detector.
pub fn csv(reports: &[Report]) -> String {
    let quoted =
        |text: &str| if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() };
    let names: Vec<&str> = DETECTORS.iter().map(|d| d.name).collect();
    let mut out = format!("input,source,verdict,score,{},findings,worst,note\r\n", names.join(","));
    for r in reports {
        let mut row = vec![quoted(&r.input), quoted(r.source.as_deref().unwrap_or_default())];
        row.push(r.verdict.name().into());
        row.push(r.score.to_string());
        row.extend(names.iter().map(|n| match r.not_applicable.iter().any(|x| x == n) {
            true => String::new(),
            false => r.detectors.get(*n).copied().unwrap_or_default().to_string(),
        }));
        let worst = r.findings.first();
        row.push(r.findings.len().to_string());
        row.push(worst.map(|f| f.detector.clone()).unwrap_or_default());
        row.push(quoted(worst.map_or("", |f| &f.note)));
        out += &(row.join(",") + "\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{About, Scene, inspect, tests::picture};

    fn report(input: &str, score: f64) -> Report {
        let about = About { input: input.into(), source: Some("s, \"x\".png".into()), ..About::default() };
        let mut r = inspect(&Scene::alone(picture(32, 32)), &about).report;
        r.score = score;
        r
    }

    #[test]
    fn the_last_line_of_an_input_counts() {
        let dir = std::env::temp_dir().join(format!("lastmile-log-{}", std::process::id()));
        let file = dir.join("deep").join(FILE);
        assert!(read(&file).unwrap().is_empty());
        for (name, score) in [("a", 0.1), ("b", 0.2), ("a", 0.3)] {
            append(&file, &report(name, score)).unwrap();
        }
        let got: Vec<(String, f64)> = read(&file).unwrap().into_iter().map(|r| (r.input, r.score)).collect();
        assert_eq!(got, [("a".into(), 0.3), ("b".into(), 0.2)]);
        // Half a line at the end is a run cut short; the next one begins a line of its own.
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "{\"event\":\"rep").unwrap();
        assert_eq!(read(&file).unwrap().len(), 2);
        append(&file, &report("d", 0.4)).unwrap();
        let with_half = std::fs::read(&file).unwrap();
        let got: Vec<f64> = read(&file).unwrap().iter().map(|r| r.score).collect();
        assert_eq!(got, [0.3, 0.2, 0.4], "half a line in the middle costs nothing else");
        // Nor do half a letter, and zeros.
        std::fs::write(&file, [&with_half[..], b"{\"input\":\"\xc3\n\0\0\0\0\n\0\0", line(&report("e", 0.7)).as_bytes()].concat()).unwrap();
        assert_eq!(read(&file).unwrap().len(), 4);
        std::fs::write(&file, with_half).unwrap();
        replace(&file, &[report("b", 0.5), report("c", 0.6)]).unwrap();
        let got: Vec<f64> = read(&file).unwrap().iter().map(|r| r.score).collect();
        assert_eq!(got, [0.3, 0.5, 0.4, 0.6]);
        std::fs::write(&file, "nonsense\n{}\n").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("line 1"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_table_has_a_column_a_detector() {
        let text = csv(&[report("a,b.png", 0.25)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split(',').count(), 7 + DETECTORS.len());
        assert!(lines[1].starts_with("\"a,b.png\",\"s, \"\"x\"\".png\",pass,0.25,"), "{}", lines[1]);
    }
}
