//! A kit applied to pictures: what is done to their colours, which files are made of each, the logo on them, and the gate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::brand::focus::Attention;
use crate::brand::kit::{Export, Focus, Kit};
use crate::brand::limits::{self, Guarded};
use crate::brand::overlay::{Mark, Overlay, Place, choose, place};
use crate::brand::reference::{Reference, hex};
use crate::brand::score::{self, Score};
use crate::codec::{self, Limits};
use crate::color::{ColourSpace, Transfer};
use crate::error::{Error, Result};
use crate::grade::matching::{Match, Statistics};
use crate::grade::{Grading, Look, Program};
use crate::image::Image;
use crate::resample::Crop;

/// Changes whenever the same kit gives other pixels.
const PIXELS: u32 = 6;

/// A kit with everything it names loaded.
pub struct Brand {
    kit: Kit,
    reference: Option<Reference>,
    profile: Option<score::Profile>,
    marks: Vec<Mark>,
    /// SHA-256 of each logo file.
    logos: Vec<String>,
}

/// What is done to the colours of a picture or a group of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Grade {
    /// `None` changes nothing.
    pub grading: Option<Grading>,
    /// 0..=the kit's.
    pub strength: f32,
    /// Why the strength is less than the kit's, if it is.
    pub reduced: Option<String>,
}

impl Brand {
    /// Loads what the kit names.
    ///
    /// # Errors
    /// What is wrong with a reference picture, the look or the logo.
    pub fn open(kit: Kit) -> Result<Self> {
        if Grading::new(kit.look.as_slice(), 1.0)?.is_some_and(|g| g.needs_gpu()) {
            let what = "its look has a filter in WGSL, and kits are graded on the processor in this version";
            return Err(Error::usage(kit.file.display(), what, "a look without filters"));
        }
        let reference = (!kit.references.is_empty()).then(|| Reference::open(&kit.references)).transpose()?;
        let reference = reference.map(|r| r.with_warmth(limits::warmth(kit.protect.neutral_de)));
        // Of the same means over areas as the pictures that are scored, or a reference would be far from itself.
        let profile = reference.as_ref().map(|r| score::Profile::of(r.scored()));
        let paths: Vec<&Path> = kit.logo.iter().flat_map(|l| std::iter::once(&l.file).chain(&l.variant)).map(PathBuf::as_path).collect();
        let marks = paths.iter().map(|p| Mark::read(p)).collect::<Result<_>>()?;
        let hash = |p: &&Path| Ok(hex(Sha256::new_with_prefix(std::fs::read(p).map_err(|e| Error::io(p, e))?)));
        let logos = paths.iter().map(hash).collect::<Result<_>>()?;
        Ok(Self { kit, reference, profile, marks, logos })
    }

    pub fn kit(&self) -> &Kit {
        &self.kit
    }

    /// The pictures that the kit names.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// Whether it changes colours at all.
    pub fn colours(&self) -> bool {
        self.kit.strength > 0.0 && (self.reference.is_some() || self.kit.look.is_some())
    }

    /// The references as scores see them, if the kit has any.
    pub fn profile(&self) -> Option<&score::Profile> {
        self.profile.as_ref()
    }

    /// Everything about the kit that decides one of its exports, as one word for the journal. Names of files do not decide
    /// pixels, their contents do.
    fn identity(&self, export: usize) -> String {
        let Kit { look, strength, palette, protect, logo, exports, gate, .. } = &self.kit;
        let rules = logo.as_ref().map(|l| (l.corner, l.width, l.min_px, l.clear));
        let look = look.as_ref().map(|l| &l.steps);
        let reference = self.reference.as_ref().map(Reference::identity);
        let told = format!(
            "{PIXELS} {look:?} {strength} {palette:?} {protect:?} {rules:?} {:?} {:?} {gate:?} {reference:?}",
            self.logos,
            exports.get(export)
        );
        hex(Sha256::new_with_prefix(told))
    }

    /// The score of a picture, by its [`score::statistics`].
    pub fn score(&self, picture: &Statistics) -> Score {
        Score::of(picture, self.profile.as_ref(), &self.kit.palette)
    }

    /// One transform for all pictures with these statistics, as strong as the kit says and its limits allow. `name` is the
    /// file that stands for the match in what is written down.
    ///
    /// # Errors
    /// None that can be caused by pictures.
    pub fn grade(&self, from: &Statistics, name: &Path) -> Result<Grade> {
        let looks: Vec<Look> = self.kit.look.iter().cloned().collect();
        let program = Program::new(&looks, 1.0)?;
        let matched = self.reference.as_ref().map_or_else(Match::identity, |to| to.matched(from));
        let full = |c: [f32; 3]| program.colour(matched.eval(c));
        let guarded = Guarded::of(from, &matched, self.kit.strength, full, &self.kit.palette);
        let (strength, why) = guarded.strongest(self.kit.strength, &self.kit.protect);
        let reduced = why.map(|why| {
            // Whoever made the kit should know that little is left of it, and what to do about that.
            let little = if strength < self.kit.strength / 2.0 {
                ": less than half of the grade is left; look over [protect], the look and the references of the kit"
            } else {
                ""
            };
            format!("strength reduced from {:.2} to {strength:.2}: {why}{little}", self.kit.strength)
        });
        let grading = match &self.reference {
            Some(_) => matched.grading(name, &looks, strength)?,
            None => Grading::new(&looks, strength)?,
        };
        Ok(Grade { grading, strength, reduced })
    }

    /// The grade of a group for those of its pictures that have no colours: as strong, but of the match the tones alone.
    ///
    /// # Errors
    /// None that can be caused by pictures.
    pub fn toning(&self, grade: &Grade, matched: &Match, name: &Path) -> Result<Grade> {
        let grading = matched.toning().grading(name, self.kit.look.as_slice(), grade.strength)?;
        Ok(Grade { grading, ..grade.clone() })
    }
}

/// One export of a kit, as the settings of a job hold it. Two are equal if they make the same of the same picture.
///
/// Written out, it names the kit's file; read back, it loads the kit again, or is an error if that has changed.
#[derive(Clone)]
pub struct Finish {
    brand: Arc<Brand>,
    export: usize,
    /// The grade of the picture's group; `None` for one of its own.
    pub grade: Option<Arc<Grade>>,
    identity: String,
}

impl Finish {
    /// The kit's export of this number; every kit has at least one.
    pub fn new(brand: Arc<Brand>, export: usize) -> Self {
        let identity = brand.identity(export);
        Self { brand, export, grade: None, identity }
    }

    /// The kit.
    pub fn brand(&self) -> &Arc<Brand> {
        &self.brand
    }

    /// What is made.
    ///
    /// # Errors
    /// None that occurs: the number was one of the kit's.
    pub fn export(&self) -> Result<&Export> {
        self.brand.kit.exports.get(self.export).ok_or_else(|| Error::Internal(format!("there is no export {}", self.export)))
    }

    /// Everything that decides the pixels, as one word for the journal.
    pub fn identity(&self) -> String {
        let grade = self.grade.as_ref().map(|g| (g.grading.as_ref().map(Grading::identity), &g.reduced));
        format!("{} {grade:?}", self.identity)
    }

    /// What of a picture is taken once it has this size, and the size that gets.
    ///
    /// # Errors
    /// As [`Finish::export`].
    pub fn fit(&self, image: &Image, width: usize, height: usize) -> Result<(Crop, (usize, usize))> {
        let export = self.export()?;
        let attention = (export.cover.is_some() && export.focus == Focus::Auto).then(|| Attention::of(image)).transpose()?;
        Ok(fit(export, width, height, attention.as_ref()))
    }

    /// The size that an export of a picture of this size gets.
    ///
    /// # Errors
    /// As [`Finish::export`].
    pub fn size(&self, width: usize, height: usize) -> Result<(usize, usize)> {
        Ok(fit(self.export()?, width, height, None).1)
    }

    /// The logo for a result of `size`, `crop` of the source being what is in it, in the colour space `to`; or a note why there
    /// is none.
    ///
    /// # Errors
    /// A colour space that nothing can be converted to.
    pub fn overlay(
        &self,
        image: &Image,
        colour: &dyn Fn([f32; 3]) -> [f32; 3],
        crop: &Crop,
        size: (usize, usize),
        to: &ColourSpace,
        notes: &mut Vec<String>,
    ) -> Result<Option<Overlay>> {
        let (Some(rules), Some(first)) = (&self.brand.kit.logo, self.brand.marks.first()) else { return Ok(None) };
        let Some(at) = place(rules, first.size(), size) else {
            notes.push(format!(
                "{}x{} px have no room for the logo at its least width (`min_px` = {}): left off",
                size.0, size.1, rules.min_px
            ));
            return Ok(None);
        };
        let under = under(image, colour, crop, size, at);
        let Some(mark) = choose(&self.brand.marks, under) else { return Ok(None) };
        // A variant may have other proportions.
        let Some(at) = place(rules, mark.size(), size) else { return Ok(None) };
        Overlay::new(mark, at, to).map(Some)
    }

    /// The gate that a finished file misses, if any; and its score, if the gate asks for one.
    ///
    /// # Errors
    /// The file cannot be read back.
    pub fn missed(&self, file: &Path, limits: &Limits) -> Result<(Option<String>, Option<Score>)> {
        let gate = &self.brand.kit.gate;
        let bytes = std::fs::metadata(file).map_err(|e| Error::io(file, e))?.len();
        let large = gate.max_kb.filter(|most| bytes > most * 1000).map(|most| format!("{} kB are more than {most}", bytes.div_ceil(1000)));
        if gate.score.is_none() && gate.p90.is_none() {
            return Ok((large, None));
        }
        // The gate looks at what is delivered, not at what was meant.
        let read = std::fs::read(file).map_err(|e| Error::io(file, e))?;
        let score = self.brand.score(&score::statistics(&codec::decode(file, &read, limits)?)?);
        let low = gate.score.filter(|least| score.score < *least).map(|least| format!("score {:.1} is below {least}", score.score));
        let far = gate.p90.filter(|most| score.p90 > *most).map(|most| format!("p90 {:.1} dE2000 is above {most}", score.p90));
        let why: Vec<String> = [low, far, large].into_iter().flatten().collect();
        Ok(((!why.is_empty()).then(|| why.join("; ")), Some(score)))
    }
}

impl fmt::Debug for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finish({})", self.identity())
    }
}

impl PartialEq for Finish {
    fn eq(&self, o: &Self) -> bool {
        self.identity() == o.identity()
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    kit: PathBuf,
    export: String,
    sha256: String,
    /// Grading (`None` changes nothing), strength, and why it is less than the kit's.
    grade: Option<(Option<Grading>, f32, Option<String>)>,
}

impl Serialize for Finish {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let kit = &self.brand.kit;
        Written {
            kit: std::path::absolute(&kit.file).unwrap_or_else(|_| kit.file.clone()),
            export: kit.exports.get(self.export).map_or_else(String::new, |e| e.name.clone()),
            sha256: self.identity.clone(),
            grade: self.grade.as_ref().map(|g| (g.grading.clone(), g.strength, g.reduced.clone())),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Finish {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let written = Written::deserialize(d)?;
        let brand = Brand::open(Kit::read(&written.kit).map_err(D::Error::custom)?).map_err(D::Error::custom)?;
        let export = brand.kit.exports.iter().position(|e| e.name == written.export);
        let mut this = Self::new(Arc::new(brand), export.unwrap_or(usize::MAX));
        if this.identity != written.sha256 {
            return Err(D::Error::custom("a kit is not what it was any more"));
        }
        this.grade = written.grade.map(|(grading, strength, reduced)| Arc::new(Grade { grading, strength, reduced }));
        Ok(this)
    }
}

/// Mean luminance of the graded picture where the logo will lie, over white where it is transparent. Profiles are left aside: it
/// only decides light or dark.
fn under(image: &Image, colour: &dyn Fn([f32; 3]) -> [f32; 3], crop: &Crop, size: (usize, usize), at: Place) -> f32 {
    /// Pixels looked at along each side.
    const SIDE: usize = 24;
    let (sx, sy) = (crop.width / size.0 as f64, crop.height / size.1 as f64);
    let span = |origin: f64, from: usize, n: usize, step: f64, end: usize| {
        let a = ((origin + from as f64 * step) as usize).min(end - 1);
        a..((origin + (from + n) as f64 * step) as usize).clamp(a + 1, end)
    };
    let (xs, ys) = (span(crop.x, at.x, at.width, sx, image.width), span(crop.y, at.y, at.height, sy, image.height));
    let mut sum = (0f64, 0f64);
    for y in ys.clone().step_by((ys.len() / SIDE).max(1)) {
        let (row, alpha) = (image.colour(y, y + 1), image.alpha(y, y + 1));
        for x in xs.clone().step_by((xs.len() / SIDE).max(1)) {
            let mut c = colour([0, 1, 2].map(|k| row.row(if row.channels == 1 { 0 } else { k }, 0)[x]));
            Transfer::srgb().linear(&mut c);
            let opaque = alpha.as_ref().map_or(1.0, |a| a.plane(0)[x].clamp(0.0, 1.0));
            let luminance = opaque * (0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]) + 1.0 - opaque;
            sum = (sum.0 + f64::from(luminance), sum.1 + 1.0);
        }
    }
    (sum.0 / sum.1.max(1.0)) as f32
}

/// What of the source is taken, and the size it gets. Nothing is enlarged.
fn fit(export: &Export, width: usize, height: usize, attention: Option<&Attention>) -> (Crop, (usize, usize)) {
    let (w, h) = (width as f64, height as f64);
    let whole = Crop { x: 0.0, y: 0.0, width: w, height: h };
    if let Some((cw, ch)) = export.cover {
        let scale = (w / cw as f64).min(h / ch as f64);
        let (kw, kh) = (cw as f64 * scale, ch as f64 * scale);
        let focus = match (export.focus, attention) {
            (Focus::At(at), _) => at,
            (Focus::Auto, Some(a)) => a.window(kw / w, kh / h),
            (Focus::Auto, None) => [0.5; 2],
        };
        let middle = |focus: f64, all: f64, part: f64| (focus * all - part / 2.0).clamp(0.0, all - part);
        let crop = Crop { x: middle(focus[0], w, kw), y: middle(focus[1], h, kh), width: kw, height: kh };
        let size = if scale >= 1.0 { (cw, ch) } else { ((kw.round() as usize).max(1), (kh.round() as usize).max(1)) };
        return (crop, size);
    }
    match export.long_edge {
        Some(edge) if edge < width.max(height) => {
            let scale = edge as f64 / w.max(h);
            (whole, (((w * scale).round() as usize).max(1), ((h * scale).round() as usize).max(1)))
        }
        _ => (whole, (width, height)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(long_edge: Option<usize>, cover: Option<(usize, usize)>, focus: [f64; 2]) -> Export {
        Export { name: "x".into(), long_edge, cover, focus: Focus::At(focus), ..Export::default() }
    }

    #[test]
    fn sizes_and_cuts() {
        let of = |e: &Export, w, h| {
            let (c, s) = fit(e, w, h, None);
            ([c.x, c.y, c.width, c.height].map(|v| v.round() as usize), s)
        };
        assert_eq!(of(&export(Some(500), None, [0.5; 2]), 1000, 400), ([0, 0, 1000, 400], (500, 200)));
        assert_eq!(of(&export(Some(5000), None, [0.5; 2]), 1000, 400), ([0, 0, 1000, 400], (1000, 400)));
        assert_eq!(of(&export(None, Some((200, 200)), [0.5; 2]), 1000, 400), ([300, 0, 400, 400], (200, 200)));
        assert_eq!(of(&export(None, Some((200, 200)), [0.9, 0.5]), 1000, 400), ([600, 0, 400, 400], (200, 200)));
        assert_eq!(of(&export(None, Some((800, 800)), [0.0; 2]), 1000, 400), ([0, 0, 400, 400], (400, 400)));
    }
}
