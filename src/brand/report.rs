//! Scores as tables and as a page with plots that needs nothing but itself; and the brand card.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::brand::kit::Kit;
use crate::brand::score::{Profile, Score, consistency, percentile};
use crate::grade::matching::Statistics;

/// A picture that was scored.
#[derive(Debug, Clone)]
pub struct Row {
    pub picture: PathBuf,
    /// Generator or folder.
    pub group: String,
    pub score: Score,
    pub statistics: Statistics,
    /// A small copy as a `data:` URL, if there shall be a page.
    pub copy: Option<String>,
}

/// The pictures of one generator or folder.
#[derive(Debug, Clone)]
pub struct Group {
    pub name: String,
    pub pictures: usize,
    /// Median score.
    pub score: f64,
    /// 0..100.
    pub consistency: f64,
    profile: Profile,
}

/// Everything about a set.
#[derive(Debug, Clone)]
pub struct Report {
    pub rows: Vec<Row>,
    /// By name.
    pub groups: Vec<Group>,
    /// Median score of all.
    pub score: f64,
    /// How alike all pictures are, 0..100.
    pub consistency: f64,
}

impl Report {
    /// Sums up.
    pub fn new(rows: Vec<Row>) -> Self {
        let mut names: Vec<&str> = rows.iter().map(|r| r.group.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let groups = names.iter().map(|name| {
            let own: Vec<&Row> = rows.iter().filter(|r| r.group == *name).collect();
            let mut all = own[0].statistics.clone();
            own[1..].iter().for_each(|r| all.merge(&r.statistics));
            Group {
                name: (*name).to_owned(),
                pictures: own.len(),
                score: median(own.iter().map(|r| r.score.score)),
                consistency: consistency(own.iter().map(|r| &r.statistics)),
                profile: Profile::of(&all),
            }
        });
        let groups = groups.collect();
        let score = median(rows.iter().map(|r| r.score.score));
        let alike = consistency(rows.iter().map(|r| &r.statistics));
        Self { rows, groups, score, consistency: alike }
    }

    /// One line per picture, with a head; fields are quoted where they must be (RFC 4180).
    pub fn csv(&self) -> String {
        let mut text = "picture,group,score,colour_distance,tone_distance,p90_de2000,palette_share,palette_de2000\n".to_owned();
        for r in &self.rows {
            let s = &r.score;
            let (path, group) = (field(&r.picture.display().to_string()), field(&r.group));
            let (any, distance) = (s.palette.any, s.palette.distance);
            let _ = writeln!(text, "{path},{group},{:.2},{:.3},{:.3},{:.3},{any:.4},{distance:.3}", s.score, s.colour, s.tone, s.p90);
        }
        text
    }

    /// A page with the scores of all groups and pictures, the tone curves, and the palette.
    pub fn html(&self, kit: &Kit, reference: Option<&Profile>) -> String {
        let mut body = format!(
            "<h1>{}</h1><p class=big>{:.0} <small>median score of {} pictures, 100 is the look of the references</small></p>\
             <p class=big>{:.0} <small>consistency, 100 is all alike</small></p>",
            escaped(&kit.name),
            self.score,
            self.rows.len(),
            self.consistency
        );
        body += "<h2>Groups</h2><table><tr><th>Group<th>Pictures<th>Score<th>Consistency<th>Scores, 0 to 100</tr>";
        for g in &self.groups {
            let scores: Vec<f64> = self.rows.iter().filter(|r| r.group == g.name).map(|r| r.score.score).collect();
            let _ = write!(
                body,
                "<tr><td>{}<td>{}<td>{:.1}<td>{:.1}<td>{}</tr>",
                escaped(&g.name),
                g.pictures,
                g.score,
                g.consistency,
                strip(&scores)
            );
        }
        body += "</table><h2>Tone</h2><p>Lightness of the pixels from the darkest to the lightest; the references are dashed.</p>";
        body += &curves(&self.groups, reference);
        if !kit.palette.is_empty() {
            body += "<h2>Palette</h2><table><tr><th>Colour<th>Share of all pixels</tr>";
            for (i, s) in kit.palette.iter().enumerate() {
                let mean = self.rows.iter().map(|r| r.score.palette.swatches[i]).sum::<f64>() / self.rows.len().max(1) as f64;
                let _ = write!(
                    body,
                    "<tr><td><i style=\"background:{}\"></i>{} {}<td>{:.1} %</tr>",
                    s.code(),
                    escaped(&s.name),
                    s.code(),
                    mean * 100.0
                );
            }
            body += "</table>";
        }
        // Without a palette there is no share of it.
        let palette = |text: String| if kit.palette.is_empty() { String::new() } else { text };
        let _ = write!(
            body,
            "<h2>Pictures</h2><p>Least alike first. Colour and tone: distances from the references, 0 is none; p90: nine tenths of the tones are within that \
             many dE2000.</p><table><tr><th><th>Picture<th>Group<th>Score<th>Colour<th>Tone<th>p90{}</tr>",
            palette("<th>In palette".into())
        );
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| a.score.score.total_cmp(&b.score.score));
        for r in rows {
            let s = &r.score;
            let _ = write!(
                body,
                "<tr><td class=copy>{}<td>{}<td>{}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}{}</tr>",
                r.copy.as_ref().map_or_else(String::new, |copy| format!("<img loading=lazy alt=\"\" src=\"{copy}\">")),
                escaped(&r.picture.display().to_string()),
                escaped(&r.group),
                s.score,
                s.colour,
                s.tone,
                s.p90,
                palette(format!("<td>{:.1} %", s.palette.any * 100.0))
            );
        }
        page(&format!("{}: score", kit.name), &(body + "</table>"))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// Scores as ticks on a line from 0 to 100.
fn strip(scores: &[f64]) -> String {
    let ticks = scores.iter().fold(String::new(), |mut t, s| {
        let _ = write!(t, "<line x1={0:.1} x2={0:.1} y1=2 y2=14 />", s * 2.0);
        t
    });
    format!("<svg width=200 height=16><rect width=200 height=16 />{ticks}</svg>")
}

/// Tone curves: one line per group, the references dashed.
pub(super) fn curves(groups: &[Group], reference: Option<&Profile>) -> String {
    let line = |p: &Profile| {
        let n = p.tone.len() as f64;
        p.tone.iter().enumerate().fold(String::new(), |mut t, (i, v)| {
            let _ = write!(t, "{:.1},{:.1} ", (i as f64 + 0.5) / n * 320.0, 200.0 - v * 200.0);
            t
        })
    };
    let colour = |i: usize| format!("hsl({} 65% 45%)", i * 137 % 360);
    let mut svg = "<svg width=320 height=200><rect width=320 height=200 />".to_owned();
    let mut legend = String::new();
    for (i, g) in groups.iter().enumerate() {
        let _ = write!(svg, "<polyline points=\"{}\" style=\"stroke:{}\" />", line(&g.profile), colour(i));
        let _ = write!(legend, "<i style=\"background:{}\"></i>{} ", colour(i), escaped(&g.name));
    }
    if let Some(r) = reference {
        let _ = write!(svg, "<polyline points=\"{}\" style=\"stroke:currentColor\" stroke-dasharray=\"4 3\" />", line(r));
    }
    svg += "<text x=4 y=194>darkest</text><text x=316 y=194 text-anchor=end>lightest</text><text x=4 y=14>white</text>";
    format!("{svg}</svg><p>{legend}</p>")
}

pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{}</title><style>\
         :root{{color-scheme:light dark}}body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse}}td,th{{padding:.2rem .8rem .2rem 0;text-align:left}}.big{{font-size:2rem;margin:0}}\
         small{{font-size:1rem;opacity:.7}}svg rect{{fill:#8882}}svg line{{stroke:currentColor;opacity:.6}}\
         polyline{{fill:none;stroke-width:2}}i{{display:inline-block;width:1em;height:1em;margin-right:.4em;vertical-align:-.15em}}\
         .row{{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}}figure{{margin:0}}figure b{{display:block;width:9rem;height:6rem}}\
         figcaption{{font-size:.85rem;opacity:.85;max-width:24rem;overflow-wrap:anywhere}}.row img{{display:block;height:11rem;max-width:100%}}.wide img{{height:auto;width:26rem}}\
         .pair{{display:grid;grid-template-columns:1fr 1fr;gap:1rem;align-items:start}}.pair img{{display:block;width:100%}}body:has(.pair){{max-width:92rem}}\
         .logo{{padding:1.2rem;border-radius:4px}}.row .logo img{{height:5rem}}.light{{background:#fff}}.dark{{background:#181818}}\
         .copy img{{display:block;height:4rem;max-width:7rem;object-fit:contain}}svg text{{fill:currentColor;font-size:11px;opacity:.7}}\
         .held{{color:#c33}}\
         </style>{body}\n",
        escaped(title)
    )
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::band::Band;
    use crate::brand::kit::blank;
    use crate::brand::palette::Swatch;
    use crate::grade::matching::Collector;

    #[test]
    fn tables_and_pages() {
        let kit = Kit::parse("a.brand.toml".as_ref(), &blank("A <b>", &[], &[Swatch::parse("red=#d0103a").unwrap()], None)).unwrap();
        let row = |name: &str, group: &str, v: f32| {
            let mut c = Collector::default();
            c.push(&Band { data: vec![v; 30], ..Band::new(0, 10, 1, 3) });
            let statistics = c.finish();
            Row { picture: name.into(), group: group.into(), score: Score::of(&statistics, None, &kit.palette), statistics, copy: None }
        };
        let report = Report::new(vec![row("x, \"1\".png", "one", 0.2), row("y.png", "two", 0.4), row("z.png", "one", 0.2)]);
        assert_eq!(report.groups.iter().map(|g| (g.name.as_str(), g.pictures)).collect::<Vec<_>>(), [("one", 2), ("two", 1)]);
        assert!(report.groups[0].consistency > 99.9 && report.consistency < 70.0, "{}", report.consistency);
        let csv = report.csv();
        assert_eq!(csv.lines().count(), 4);
        assert!(csv.contains("\n\"x, \"\"1\"\".png\",one,100.00,"), "{csv}");
        let html = report.html(&kit, None);
        assert!(html.contains("A &lt;b>") && !html.contains("<b>") && html.contains("y.png") && html.matches("<polyline").count() == 2);
    }
}
