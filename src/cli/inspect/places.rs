//! Where reports and heat maps go, made sure of before the first picture: what takes hours to find out must not be lost for a
//! folder that cannot be written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Args;
use super::found::Found;
use crate::batch::journal::{self, STATE};
use crate::codec::{self, Encoding, Metadata};
use crate::error::{Error, Result};
use crate::image::Channels;
use crate::inspect::plane::Plane;
use crate::inspect::{self, Report};
use crate::resample::Filter;

/// The places of a run.
#[derive(Debug)]
pub struct Places {
    /// For all reports; without it, those of a folder lie in its state folder.
    report: Option<PathBuf>,
    heat: Option<PathBuf>,
}

impl Places {
    /// Makes the folders and tries whether they can be written.
    ///
    /// # Errors
    /// Usage errors: one that cannot.
    pub fn ready(args: &Args, found: &[Found]) -> Result<Self> {
        let places = Self { report: args.report.clone(), heat: args.heat.clone() };
        for (flag, dir) in [("--report", &places.report), ("--heat", &places.heat)] {
            if let Some(dir) = dir {
                writable(dir, &format!("{flag} {}", dir.display()), "a folder that can be written")?;
            }
        }
        if places.report.is_none() {
            let mut last: Option<&Path> = None;
            for folder in found.iter().filter_map(|f| f.folder.as_deref()) {
                if last.replace(folder) != Some(folder) {
                    let hint = "--report with a folder that can be written, and --repair off";
                    writable(&folder.join(STATE), &folder.display().to_string(), hint)?;
                }
            }
        }
        Ok(places)
    }

    /// The file that tells of a picture, and the report as it stands there.
    fn line(&self, picture: &Found, report: &Report) -> Option<(PathBuf, Report)> {
        if let Some(dir) = &self.report {
            return Some((dir.join(inspect::log::FILE), report.clone()));
        }
        let folder = picture.folder.as_ref()?;
        // The file moves with the folder: paths below it are relative.
        let mut report = report.clone();
        report.input = picture.below.display().to_string();
        report.input_raw = picture.below.to_str().is_none().then(|| journal::word(&picture.below));
        if let Some(source) = &report.source {
            report.source = std::path::absolute(source).ok().map(|p| p.display().to_string());
        }
        Some((folder.join(STATE).join(inspect::log::FILE), report))
    }

    /// Writes a report down at once.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&self, picture: &Found, report: &Report) -> Result<()> {
        self.line(picture, report).map_or(Ok(()), |(path, report)| inspect::log::append(&path, &report))
    }

    /// Writes the reports where they belong, each picture once.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn keep(&self, found: &[Found], reports: &[(usize, Report)]) -> Result<()> {
        let mut files: HashMap<PathBuf, Vec<Report>> = HashMap::new();
        for (path, report) in reports.iter().filter_map(|(i, report)| self.line(&found[*i], report)) {
            files.entry(path).or_default().push(report);
        }
        for (path, reports) in &files {
            inspect::log::replace(path, reports)?;
        }
        if let Some(dir) = &self.report {
            let all: Vec<Report> = reports.iter().map(|(_, r)| r.clone()).collect();
            let table = dir.join("report.csv");
            std::fs::write(&table, inspect::log::csv(&all)).map_err(|e| Error::io(&table, e))?;
        }
        Ok(())
    }

    /// Calibrated maps as grey PNG of the picture's size, if they were asked for: `<stem>.<detector>.png`, or with the whole file name
    /// where two have one stem.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn draw(&self, picture: &Found, maps: &[(&'static str, Plane)], (width, height): (usize, usize)) -> Result<()> {
        let Some(dir) = &self.heat else { return Ok(()) };
        let named = |base: &Path, detector: &str| {
            let mut name = base.file_name().unwrap_or_default().to_os_string();
            name.push(format!(".{detector}.png"));
            dir.join(base).with_file_name(name)
        };
        for (detector, map) in maps {
            let path = named(&picture.drawn, detector);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            }
            // From the time when there was but one of this stem.
            if let Some(shared) = &picture.shared {
                let _ = std::fs::remove_file(named(shared, detector));
            }
            let large = map.resize(width, height, Filter::Bilinear)?;
            let encoding = Encoding::default();
            let mut encoder = codec::encoder(&path, &encoding, width, height, Channels::Grey, &Metadata::default())?;
            encoder.write(&crate::Band { y: 0, width, rows: height, channels: 1, data: large.into_data() })?;
            encoder.finish()?;
        }
        Ok(())
    }
}

/// Makes a folder and tries to write there.
fn writable(dir: &Path, subject: &str, hint: &str) -> Result<()> {
    let tried = dir.join(format!(".try-{}", std::process::id()));
    let made = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&tried, b"")).and_then(|()| std::fs::remove_file(&tried));
    made.map_err(|e| Error::usage(subject, format!("nothing can be written in {}: {e}", dir.display()), hint))
}
