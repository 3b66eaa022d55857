//! What inspection found, from `OUT/.lastmile/report.jsonl`: one `report` object a line, the last line for a picture counts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::batch::journal::STATE;
use crate::error::{Error, Result};
use crate::inspect::Report;
use crate::inspect::log::FILE;

/// All reports of a folder, found by the path of their picture.
#[derive(Debug, Default)]
pub struct Reports {
    /// By real path, where the picture was found.
    known: HashMap<PathBuf, Report>,
}

impl Reports {
    /// Reads the reports of `root`; none is no error.
    ///
    /// An `input` is looked for as it stands, below `root`, and below the folders above it, because inspection may have been
    /// started elsewhere; only pictures inside `root` count. Damaged lines are passed over.
    pub fn load(root: &Path) -> Result<Self> {
        let path = root.join(STATE).join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io(&path, e)),
        };
        let real = root.canonicalize().map_err(|e| Error::io(root, e))?;
        let mut reports = Self::default();
        for line in bytes.split(|b| *b == b'\n') {
            let Ok(report) = serde_json::from_slice::<Report>(line) else { continue };
            if let Some(place) = place(&real, Path::new(&report.input)) {
                reports.known.insert(place, report);
            }
        }
        Ok(reports)
    }

    /// The report on the picture at this real path.
    pub fn take(&mut self, picture: &Path) -> Option<Report> {
        self.known.remove(picture)
    }
}

/// The real path of a picture inside `root` that a report names.
fn place(root: &Path, input: &Path) -> Option<PathBuf> {
    let inside = |p: PathBuf| p.canonicalize().ok().filter(|p| p.starts_with(root));
    if input.is_absolute() {
        return inside(input.to_path_buf());
    }
    inside(root.join(input))
        .or_else(|| root.ancestors().skip(1).find_map(|above| inside(above.join(input))))
        .or_else(|| std::path::absolute(input).ok().and_then(inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Rect, Verdict};

    #[test]
    fn the_last_line_of_a_picture_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("final");
        std::fs::create_dir_all(root.join(STATE)).unwrap();
        std::fs::create_dir_all(root.join("a")).unwrap();
        for file in ["final/a/x.png", "final/y.png", "outside.png"] {
            std::fs::write(dir.path().join(file), b"").unwrap();
        }
        let absolute = serde_json::to_string(&root.join("y.png")).unwrap();
        let line = |input: &str, verdict: &str, findings: &str| {
            format!(
                "{{\"event\":\"report\",\"input\":{input},\"source\":null,\"verdict\":\"{verdict}\",\"score\":0.7,\"detectors\":{{}},\
                 \"not_applicable\":[],\"findings\":[{findings}],\"table\":\"t\"}}\n"
            )
        };
        let finding = r#"{"detector":"halo","severity":0.7,"box":[1,2,3,4],"origin":"upscale","note":"n"}"#;
        let text = [
            line("\"final/a/x.png\"", "pass", ""),
            line("\"a/x.png\"", "review", finding),
            line(&absolute, "reject", ""),
            line("\"../outside.png\"", "reject", ""),
            "{\"event\":\"end\",\"done\":3}\n{\"event\":\"report\",\"inp".into(),
        ]
        .concat();
        std::fs::write(root.join(STATE).join("report.jsonl"), text).unwrap();
        let mut reports = Reports::load(&root).unwrap();
        let real = root.canonicalize().unwrap();
        let x = reports.take(&real.join("a/x.png")).unwrap();
        assert_eq!((x.verdict, x.score, x.findings[0].rect), (Verdict::Review, 0.7, Rect { x: 1, y: 2, w: 3, h: 4 }));
        assert_eq!(reports.take(&real.join("y.png")).unwrap().verdict, Verdict::Reject);
        assert!(reports.known.is_empty(), "a picture outside the folder is nobody's business: {reports:?}");
        assert!(Reports::load(dir.path()).unwrap().known.is_empty());
    }
}
