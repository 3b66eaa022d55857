//! What came of a review, for people who were not there: a table, and a contact sheet with the time it took.

use std::fmt::Write;
use std::path::Path;

use super::tile::Tiler;
use super::verdicts::{Decision, Entry, replace};
use super::{Picture, Review};
use crate::batch::events::seconds;
use crate::batch::journal;
use crate::error::{Error, Result};

/// One line a picture: names, verdicts and numbers, RFC 4180, UTF-8.
pub fn csv(review: &Review) -> String {
    let mut text = String::from("picture,verdict,reviewed,inspection,score,findings,note,seconds,width,height,model,source\r\n");
    for (p, e) in rows(review) {
        let findings = p.report.iter().flat_map(|r| &r.findings).map(|f| format!("{}: {}", f.detector, f.note));
        let cells = [
            readable(p),
            word(e.decision).into(),
            if e.opened { "yes" } else { "no" }.into(),
            suggestion(p).into(),
            p.report.as_ref().map_or(String::new(), |r| format!("{:.4}", r.score)),
            findings.collect::<Vec<_>>().join("; "),
            e.note.clone(),
            format!("{:.1}", e.seconds),
            p.width.to_string(),
            p.height.to_string(),
            p.model(),
            e.source.clone(),
        ];
        text.push_str(&cells.map(|c| cell(&c)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// Writes `review.csv` and `index.html` with its thumbnails into `folder`. `progress` is told how many pictures are done.
pub fn write(review: &Review, folder: &Path, progress: &dyn Fn(usize)) -> Result<()> {
    let thumbs = folder.join("thumbs");
    std::fs::create_dir_all(&thumbs).map_err(|e| Error::output(&thumbs, e, "--report another folder"))?;
    let tiles = Tiler::new(0);
    let mut cards = String::new();
    let mut total = 0.0;
    for (i, (p, e)) in rows(review).into_iter().enumerate() {
        total += e.seconds;
        // A damaged picture stands in the sheet by its name.
        let image = match tiles.thumbnail(review, p) {
            Ok(jpeg) => {
                replace(&thumbs.join(format!("{i}.jpg")), &jpeg)?;
                format!("<img src=\"thumbs/{i}.jpg\" alt=\"\">")
            }
            Err(Error::Input { .. } | Error::Limit { .. }) => String::new(),
            Err(e) => return Err(e),
        };
        let looked = if e.opened { "" } else { ", not reviewed" };
        let note = if e.note.is_empty() { String::new() } else { format!("<br>{}", escaped(&e.note)) };
        let _ = writeln!(
            cards,
            "<li class=\"{0}\"><span class=frame>{image}</span><b>{0}</b>{looked}<br>{1}{note}</li>",
            word(e.decision),
            escaped(&readable(p))
        );
        progress(i + 1);
    }
    let tally = |d: Option<Decision>| rows(review).iter().filter(|(_, e)| e.decision == d).count();
    let title = review.listing().title;
    let summary = format!(
        "{} pictures: {} approved, {} rejected, {} to repair, {} undecided. Looking took {}.",
        review.pictures.len(),
        tally(Some(Decision::Approved)),
        tally(Some(Decision::Rejected)),
        tally(Some(Decision::Repair)),
        tally(None),
        seconds(total)
    );
    let page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\n\
         <title>{0}: contact sheet</title>\n<style>{STYLE}</style>\n<h1>{0}</h1>\n<p>{summary} <a href=review.csv>Table</a></p>\n<ul>\n{cards}</ul>\n</html>\n",
        escaped(&title)
    );
    replace(&folder.join("index.html"), page.as_bytes())?;
    replace(&folder.join("review.csv"), csv(review).as_bytes())
}

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;margin:32px;color:#1c1c1b;background:#fff}h1{font-size:20px;margin:0}\
ul{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:20px 14px}\
li{font-size:12px;overflow-wrap:anywhere;break-inside:avoid}.frame{display:block;aspect-ratio:4/3;background:#e6e6e3;margin-bottom:4px}\
img{width:100%;height:100%;object-fit:contain}.approved b{color:#0f6b36}.rejected b{color:#b0261a}.repair b{color:#0b5aa6}.undecided b{color:#565653}";

/// Every picture in the order of the review, with what is known about it.
fn rows(review: &Review) -> Vec<(&Picture, Entry)> {
    let verdicts = review.verdicts();
    let q = &review.queue;
    let order = q.flagged.iter().chain(&q.sample).chain(&q.rest);
    let row = |i: &usize| {
        let p = &review.pictures[*i];
        let mut e = verdicts.get(&p.sha256).cloned().unwrap_or_default();
        // Only the verdict may know: what was never decided has no entry to say it.
        let _ = review.describe(p, &mut e);
        (p, e)
    };
    order.map(row).collect()
}

/// The name as people write it, rather than as the journal does.
fn readable(p: &Picture) -> String {
    journal::decode(&p.name).to_string_lossy().into_owned()
}

fn word(decision: Option<Decision>) -> &'static str {
    match decision {
        Some(Decision::Approved) => "approved",
        Some(Decision::Rejected) => "rejected",
        Some(Decision::Repair) => "repair",
        None => "undecided",
    }
}

fn suggestion(p: &Picture) -> &'static str {
    p.report.as_ref().map_or("not inspected", |r| r.verdict.name())
}

/// A spreadsheet takes a cell that begins like a formula for one; a note is none.
fn cell(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if risky { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_text_and_nothing_else() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
        assert_eq!(cell("=SUM(A1)"), "'=SUM(A1)");
        assert_eq!(cell("@x,y"), "\"'@x,y\"");
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
