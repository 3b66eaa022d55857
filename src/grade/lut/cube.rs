//! The text of `.cube` files.
//!
//! Adobe's "Cube LUT Specification 1.0" (2013) with TITLE, LUT_1D_SIZE or LUT_3D_SIZE and DOMAIN_MIN/DOMAIN_MAX, and the
//! dialect of DaVinci Resolve, in which both tables may stand in one file, the one-dimensional first (a shaper), each with a
//! LUT_1D_INPUT_RANGE or LUT_3D_INPUT_RANGE. Read leniently: any line ends, a byte-order mark, tabs, blanks, lower-case
//! keywords, keywords in any order, comments and empty lines anywhere.

use std::fmt::Write;

use super::{Lut, Lut3d, Table};
use crate::error::{Error, Result};
use crate::lane::LUT3D_SIZES;

/// Samples a one-dimensional table may have.
const CURVE_SIZES: std::ops::RangeInclusive<usize> = 2..=65_536;
const KEYWORDS: &str =
    "TITLE, LUT_1D_SIZE, LUT_3D_SIZE, DOMAIN_MIN, DOMAIN_MAX, LUT_1D_INPUT_RANGE, LUT_3D_INPUT_RANGE, then three numbers a line";

/// The comment that says [`Lut::carries`].
const CARRIES: &str = "# lastmile: colours beyond 0..1 keep their distance";

/// What the keywords say, with the line each stood on.
#[derive(Default)]
struct Head {
    title: String,
    carries: bool,
    curve_size: Option<(usize, usize)>,
    cube_size: Option<(usize, usize)>,
    domain_min: Option<(usize, [f32; 3])>,
    domain_max: Option<(usize, [f32; 3])>,
    curve_range: Option<(usize, [f32; 2])>,
    cube_range: Option<(usize, [f32; 2])>,
}

/// Errors of one file.
struct At<'a>(&'a str);

impl At<'_> {
    fn line(&self, line: usize, what: impl std::fmt::Display, hint: impl std::fmt::Display) -> Error {
        Error::usage(format_args!("{}, line {line}", self.0), what, hint)
    }

    fn file(&self, what: impl std::fmt::Display, hint: impl std::fmt::Display) -> Error {
        Error::usage(self.0, what, hint)
    }
}

pub fn parse(name: &str, text: &str) -> Result<Lut> {
    let at = At(name);
    let mut head = Head::default();
    let mut rows: Vec<[f32; 3]> = Vec::new();
    let mut last_line = 0;
    for (i, raw) in lines(text.trim_start_matches('\u{feff}')).enumerate() {
        let (n, line) = (i + 1, raw.trim());
        last_line = n;
        head.carries |= line == CARRIES;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let first = line.split_whitespace().next().unwrap_or_default();
        if is_number(first) {
            head.room(&at, n, rows.len())?;
            rows.push(numbers(&at, n, line)?);
        } else if let Some((row, _)) = rows.first().map(|_| (rows.len(), ())) {
            let what = format!("`{}` after {row} rows of numbers", shown(line));
            return Err(at.line(n, what, "keywords stand above the numbers"));
        } else {
            head.keyword(&at, n, line)?;
        }
    }
    head.lut(&at, last_line, &rows)
}

/// The lines of a text, whichever of LF, CR LF and CR ends them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let one = |line| str::strip_suffix(line, '\r').unwrap_or(line).split('\r');
    text.strip_suffix('\n').unwrap_or(text).split('\n').flat_map(one).filter(move |_| !text.is_empty())
}

/// Whether a word begins like a number, including those that are none ("nan", "inf").
fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) || word.parse::<f32>().is_ok()
}

/// Exactly `N` finite numbers; a comment may follow.
fn numbers<const N: usize>(at: &At<'_>, n: usize, text: &str) -> Result<[f32; N]> {
    let text = text.split('#').next().unwrap_or_default();
    let mut out = [0.0; N];
    let mut count = 0;
    for word in text.split_whitespace() {
        // Some programs put commas or semicolons between the numbers, and some, in some countries, commas into them, which can mean
        // either.
        let bare = word.strip_suffix([',', ';']).unwrap_or(word);
        let hint = if bare.contains(',') { "a point in numbers, not a comma: 0.25" } else { "numbers like 0.25" };
        let value = bare.parse::<f32>().map_err(|_| at.line(n, format!("`{}` is not a number", shown(word)), hint))?;
        if !value.is_finite() {
            return Err(at.line(n, format!("`{}` is not a finite number", shown(word)), "export the LUT again"));
        }
        if let Some(slot) = out.get_mut(count) {
            *slot = value;
        }
        count += 1;
    }
    if count == N {
        Ok(out)
    } else {
        Err(at.line(n, format!("{count} numbers where {N} belong"), "export it again: lines are missing or cut"))
    }
}

/// The beginning of what was found, safe to print.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() { short + "..." } else { short }
}

impl Head {
    fn keyword(&mut self, at: &At<'_>, n: usize, line: &str) -> Result<()> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let key = word.to_ascii_uppercase();
        let once = |there: bool| if there { Err(at.line(n, format!("{key} a second time"), "one of them")) } else { Ok(()) };
        match key.as_str() {
            "TITLE" => self.title = rest.trim_matches('"').to_owned(),
            "LUT_1D_SIZE" => {
                once(self.curve_size.is_some())?;
                self.curve_size = Some((n, size(at, n, rest, CURVE_SIZES)?));
            }
            "LUT_3D_SIZE" => {
                once(self.cube_size.is_some())?;
                self.cube_size = Some((n, size(at, n, rest, LUT3D_SIZES)?));
            }
            "DOMAIN_MIN" => self.domain_min = Some((n, numbers(at, n, rest)?)),
            "DOMAIN_MAX" => self.domain_max = Some((n, numbers(at, n, rest)?)),
            "LUT_1D_INPUT_RANGE" => self.curve_range = Some((n, numbers(at, n, rest)?)),
            "LUT_3D_INPUT_RANGE" => self.cube_range = Some((n, numbers(at, n, rest)?)),
            "LUT_IN_VIDEO_RANGE" | "LUT_OUT_VIDEO_RANGE" => {
                return Err(at.line(n, format!("{key}: video levels are not read"), "export the LUT for full range"));
            }
            _ => return Err(at.line(n, format!("`{}` is neither a keyword of .cube files nor a number", shown(word)), KEYWORDS)),
        }
        Ok(())
    }

    /// Rows that the sizes promise.
    fn promised(&self) -> usize {
        self.curve_size.map_or(0, |(_, s)| s) + self.cube_size.map_or(0, |(_, s)| s.pow(3))
    }

    /// Refuses a row beyond those promised before it takes memory.
    fn room(&self, at: &At<'_>, n: usize, rows: usize) -> Result<()> {
        match self.promised() {
            0 => Err(at.line(n, "numbers before any size", "LUT_3D_SIZE or LUT_1D_SIZE above them")),
            p if rows >= p => Err(at.line(n, format!("more than the {p} rows that the size promises"), "export the LUT again")),
            _ => Ok(()),
        }
    }

    fn lut(self, at: &At<'_>, last_line: usize, rows: &[[f32; 3]]) -> Result<Lut> {
        let promised = self.promised();
        if promised == 0 {
            let what = if last_line == 0 { "is empty" } else { "has no LUT_1D_SIZE or LUT_3D_SIZE" };
            return Err(at.file(what, "a .cube file"));
        }
        if rows.len() < promised {
            return Err(at.line(last_line, format!("the file ends after {} of {promised} rows", rows.len()), "export the LUT again"));
        }
        let both = self.curve_size.is_some() && self.cube_size.is_some();
        if let (true, Some((n, _))) = (both, self.domain_min.or(self.domain_max)) {
            return Err(at.line(
                n,
                "a domain in a file with two tables could mean either",
                "LUT_1D_INPUT_RANGE and LUT_3D_INPUT_RANGE instead",
            ));
        }
        let (curve_rows, cube_rows) = rows.split_at(self.curve_size.map_or(0, |(_, s)| s));
        let curves = match self.curve_size {
            None => None,
            Some(_) => {
                let (min, max) = self.span(at, self.curve_range)?;
                let curve = |c: usize| Table::new(min[c], max[c], &curve_rows.iter().map(|r| r[c]).collect::<Vec<_>>());
                Some([curve(0)?, curve(1)?, curve(2)?])
            }
        };
        let cube = match self.cube_size {
            None => None,
            Some((_, s)) => {
                let (min, max) = self.span(at, self.cube_range)?;
                Some(Lut3d::new(s, min, max, cube_rows)?)
            }
        };
        Ok(Lut { title: self.title, curves, cube, carries: self.carries })
    }

    /// The input range of a table: its own, else the domain, else 0..1.
    fn span(&self, at: &At<'_>, own: Option<(usize, [f32; 2])>) -> Result<([f32; 3], [f32; 3])> {
        let (n, min, max) = match own {
            Some((n, [min, max])) => (n, [min; 3], [max; 3]),
            None => {
                let line = self.domain_max.or(self.domain_min).map_or(0, |(n, _)| n);
                (line, self.domain_min.map_or([0.0; 3], |(_, v)| v), self.domain_max.map_or([1.0; 3], |(_, v)| v))
            }
        };
        // Anything narrower than this only amplifies rounding.
        match (0..3).find(|c| max[*c] - min[*c] <= 1e-6 || !(max[*c] - min[*c]).is_finite()) {
            Some(c) => Err(at.line(n, format!("the input range runs from {} to {}", min[c], max[c]), "a range that rises")),
            None => Ok((min, max)),
        }
    }
}

fn size(at: &At<'_>, n: usize, text: &str, allowed: std::ops::RangeInclusive<usize>) -> Result<usize> {
    let word = text.split('#').next().unwrap_or_default().trim();
    match word.parse::<usize>() {
        Ok(s) if allowed.contains(&s) => Ok(s),
        _ => {
            let what = format!("the size `{}` is not a whole number from {} to {}", shown(word), allowed.start(), allowed.end());
            Err(at.line(n, what, "for example LUT_3D_SIZE 33"))
        }
    }
}

pub fn write(lut: &Lut) -> Result<String> {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{text}");
    };
    if !lut.title.is_empty() {
        let title: String = lut.title.chars().map(|c| if c == '"' || c.is_control() { ' ' } else { c }).collect();
        line(format_args!("TITLE \"{title}\""));
    }
    if lut.carries {
        line(format_args!("{CARRIES}"));
    }
    let both = lut.curves.is_some() && lut.cube.is_some();
    let mut span = |dimensions: u8, min: [f32; 3], max: [f32; 3]| {
        let plain = (min, max) == ([0.0; 3], [1.0; 3]);
        let even = min == [min[0]; 3] && max == [max[0]; 3];
        match (both, plain) {
            (_, true) => {}
            (true, _) if even => line(format_args!("LUT_{dimensions}D_INPUT_RANGE {} {}", min[0], max[0])),
            (true, _) => {
                return Err(Error::usage("3D LUT", "its shaper covers another range per channel", "one range for all three"));
            }
            (false, _) => {
                line(format_args!("DOMAIN_MIN {} {} {}", min[0], min[1], min[2]));
                line(format_args!("DOMAIN_MAX {} {} {}", max[0], max[1], max[2]));
            }
        }
        Ok(())
    };
    let mut sizes = Vec::new();
    if let Some(curves) = &lut.curves {
        let n = curves[0].samples().len();
        if curves.iter().any(|c| c.samples().len() != n) {
            return Err(Error::usage("LUT", "its curves have different numbers of samples", "the same number for all three"));
        }
        span(1, [0, 1, 2].map(|c| curves[c].min()), [0, 1, 2].map(|c| curves[c].max()))?;
        sizes.push(format!("LUT_1D_SIZE {n}"));
    }
    if let Some(cube) = &lut.cube {
        span(3, cube.min(), cube.max())?;
        sizes.push(format!("LUT_3D_SIZE {}", cube.size()));
    }
    for size in sizes {
        line(format_args!("{size}"));
    }
    if let Some([r, g, b]) = &lut.curves {
        for ((r, g), b) in r.samples().iter().zip(g.samples()).zip(b.samples()) {
            line(format_args!("{r:.7} {g:.7} {b:.7}"));
        }
    }
    if let Some(cube) = &lut.cube {
        for [r, g, b] in cube.colours() {
            line(format_args!("{r:.7} {g:.7} {b:.7}"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
