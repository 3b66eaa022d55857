//! The last part of a picture's way: graded, and then, for each file that is made of it, cut and sized, converted, the logo laid
//! on, dithered and written.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::goal::Goal;
use super::{Plan, Settings, depth_note, dither_rows, history, of, outside};
use crate::band::{Band, Stage};
use crate::brand::overlay::Overlay;
use crate::codec::{self, Changes, Encoding, Format, Limits};
use crate::color::{ColourSpace, Conversion, Kind, Profile, Transfer};
use crate::error::Result;
use crate::flow::Chain;
use crate::grade::Grading;
use crate::grade::spatial::Frame;
use crate::grade::stage::Grade;
use crate::image::{Channels, Image};
use crate::resample::{Crop, Filter, Light, Resize, Scaler};
use crate::upscale::size::{Size, Target};

/// A further file of the same picture.
#[derive(Debug, Clone)]
pub struct Extra {
    /// The file to create; the caller renames it afterwards.
    pub output: PathBuf,
    /// What decides the picture before it is cut (size, networks, colours) is taken from the job's own settings.
    pub settings: Settings,
}

/// A file that was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Made {
    pub width: usize,
    pub height: usize,
    pub bytes: u64,
    pub notes: Vec<String>,
    /// The gate that it missed.
    pub held: Option<String>,
}

/// What the files of one picture are made from and how.
pub(super) struct Finishing<'a> {
    pub source: &'a Path,
    pub image: &'a Image,
    /// Of the whole picture, before exports are cut from it.
    pub target: Target,
    pub plan: &'a Plan,
    pub gradings: &'a [Grading],
    /// Stands for the source's bytes: spatial operations draw their grain from it.
    pub seed: u64,
    pub limits: Limits,
    /// How each file is made; encodings have their depth filled in.
    pub files: Vec<(&'a Settings, Encoding)>,
}

/// Files being written.
pub(super) struct Finish<'a> {
    colour: Chain<'static>,
    files: Vec<Delivery<'a>>,
}

impl<'a> Finishing<'a> {
    /// Begins the first so many of the files, here; `mended` is what their history says about mending, beside what was done in
    /// any case.
    ///
    /// # Errors
    /// A grading or colour space that does not fit the picture; a file that cannot be created.
    pub fn open<'o>(&'o self, outputs: &[&'o Path], mended: Option<&str>) -> Result<Finish<'o>> {
        let Self { source, image, target, gradings, seed, .. } = *self;
        let (mut icc, mut channels, mut colour) = (image.metadata.icc.clone(), image.channels, Chain::new());
        let mut notes = Vec::new();
        for grading in gradings {
            let frame = Frame { width: target.width, height: target.height, bits: image.bits(), seed };
            let grade = Grade::new(grading, icc.as_deref(), channels.colours(), channels.has_alpha(), frame).map_err(|e| of(source, e))?;
            channels = Channels::of(grade.colours(), channels.has_alpha());
            if grade.replaces_profile() && icc.take().is_some() {
                notes.push("graded in sRGB and written as sRGB: there is no way back into its own colour profile".to_owned());
            }
            colour.then(grade);
        }
        let open = |(output, (settings, encoding)): (&&'o Path, &'o (&'a Settings, Encoding))| {
            Delivery::new(self, output, settings, encoding.clone(), channels, icc.as_deref(), mended, notes.clone())
        };
        let files = outputs.iter().zip(&self.files).map(open).collect::<Result<_>>()?;
        Ok(Finish { colour, files })
    }
}

impl Finish<'_> {
    /// Takes the next rows of the result.
    pub fn push(&mut self, band: Band) -> Result<()> {
        let files = &mut self.files;
        self.colour.push(band, &mut |band| hand_out(files, band))
    }

    /// Whether rows go into all files as they come.
    pub fn is_plain(&self) -> bool {
        let plain = |f: &Delivery<'_>| f.chain.is_empty() && f.rest.conversion.is_none() && f.rest.overlay.is_none() && !f.rest.dither;
        self.colour.is_empty() && self.files.iter().all(plain)
    }

    /// Takes the next rows of the picture itself, if [`Finish::is_plain`].
    pub fn push_rows(&mut self, image: &Image, from: usize, to: usize) -> Result<()> {
        self.files.iter_mut().try_for_each(|f| f.rest.goal.write_rows(image, from, to))
    }

    /// Completes the files.
    pub fn finish(mut self, stop: &AtomicBool) -> Result<Vec<Made>> {
        let files = &mut self.files;
        self.colour.finish(&mut |band| hand_out(files, band))?;
        self.files.into_iter().map(|f| f.finish(stop)).collect()
    }
}

/// Gives every file the same rows.
fn hand_out(files: &mut [Delivery<'_>], band: Band) -> Result<()> {
    let Some((last, others)) = files.split_last_mut() else { return Ok(()) };
    for file in others {
        file.push(band.clone())?;
    }
    last.push(band)
}

/// One file on its way.
struct Delivery<'a> {
    output: &'a Path,
    settings: &'a Settings,
    limits: Limits,
    size: (usize, usize),
    colours: usize,
    chain: Chain<'static>,
    rest: Rest<'a>,
    notes: Vec<String>,
}

/// What happens to rows of the final size.
struct Rest<'a> {
    conversion: Option<Conversion>,
    clipped: u64,
    overlay: Option<Overlay>,
    dither: bool,
    goal: Goal<'a>,
}

impl<'a> Delivery<'a> {
    /// Opens the file, for rows with these channels and this profile (`None` is sRGB).
    #[allow(clippy::too_many_arguments)]
    fn new(
        from: &Finishing<'_>,
        output: &'a Path,
        settings: &'a Settings,
        encoding: Encoding,
        mut channels: Channels,
        icc: Option<&[u8]>,
        mended: Option<&str>,
        mut notes: Vec<String>,
    ) -> Result<Self> {
        let Finishing { source, image, target, plan, gradings, limits, .. } = *from;
        let whole = Crop { x: 0.0, y: 0.0, width: target.width as f64, height: target.height as f64 };
        let (crop, (width, height)) = match &settings.finish {
            Some(f) => f.fit(image, target.width, target.height)?,
            None => (whole, (target.width, target.height)),
        };
        if let Some(export) = settings.finish.as_ref().map(|f| f.export()).transpose()?
            && let Some(cover) = export.cover.filter(|c| *c != (width, height))
        {
            notes.push(format!("too small for {}: {width}x{height} px instead of {}x{}", export.name, cover.0, cover.1));
        }
        notes.extend(depth_note(image, &encoding));
        Format::check(source, &encoding, width, height)?;
        let mut chain = Chain::new();
        if (width, height) != (target.width, target.height) {
            let curve = icc.and_then(|icc| Profile::from_icc(icc).ok()).map_or_else(Transfer::srgb, |p| p.transfer_or_srgb());
            let scaler = Scaler::new(target.width, target.height, width, height, Filter::Lanczos3, Some(crop))?;
            chain.then(Resize::new(scaler.clamp_ringing(0.0), channels.count(), Light::Linear(curve)));
        }

        // What a brand delivers is sRGB unless its kit says otherwise, so that the logo's colours mean what they say.
        let branded = settings.finish.as_ref().map(|f| f.export()).transpose()?;
        let convert_to = branded
            .map(|e| e.profile.clone().or_else(|| settings.convert_to.clone()).unwrap_or(ColourSpace::Srgb))
            .or_else(|| settings.convert_to.clone())
            .or_else(|| {
                let homeless = icc.is_some() && channels.colours() == 1 && !encoding.format.supports_grey();
                homeless.then(|| {
                    notes.push(format!("{} knows no grey profiles: converted to sRGB", encoding.format.name()));
                    ColourSpace::Srgb
                })
            });
        let conversion = match &convert_to {
            Some(to) => Conversion::new(icc, to)?,
            None => None,
        };
        let logo = settings.finish.as_ref().filter(|f| f.brand().kit().logo.is_some());
        let grey_profile = || icc.and_then(|icc| Profile::from_icc(icc).ok()).is_some_and(|p| p.kind() == Kind::Grey);
        // A coloured logo on a grey picture needs three channels, and so does a conversion that begins with no grey profile.
        let coloured = if conversion.is_some() { !grey_profile() } else { logo.is_some() };
        if channels.colours() == 1 && coloured {
            chain.then(Spread);
            channels = Channels::of(3, channels.has_alpha());
        }
        if conversion.is_some() {
            channels = Channels::of(3, channels.has_alpha());
        }
        let space = convert_to.clone().unwrap_or(ColourSpace::Srgb);
        let overlay = match logo {
            Some(f) => {
                // Where in the source the cut lies.
                let (sx, sy) = (target.crop[2] / target.width as f64, target.crop[3] / target.height as f64);
                let there = Crop {
                    x: target.crop[0] + crop.x * sx,
                    y: target.crop[1] + crop.y * sy,
                    width: crop.width * sx,
                    height: crop.height * sy,
                };
                let colour = |c: [f32; 3]| gradings.iter().fold(c, |c, g| g.colour(c));
                f.overlay(image, &colour, &there, (width, height), &space, &mut notes)?
            }
            None => None,
        };

        let sized = Target { width, height, crop: target.crop };
        let (mut metadata, more) = image.metadata.changed(&Changes {
            width,
            height,
            from: Some((image.width, image.height)),
            cut: target.crops(image.width, image.height) || crop != whole || !alike((width, height), (image.width, image.height)),
            dpi: match settings.size {
                Size::Print { dpi, .. } => Some((dpi, dpi)),
                _ => None,
            },
            policy: settings.metadata.clone(),
            history: vec![history::event(source, image, &sized, plan, &encoding, settings, mended)],
        });
        notes.extend(more);
        match convert_to.as_ref().filter(|_| channels.colours() == 3) {
            Some(to) => metadata.converted(Some(to.icc()?)),
            // A grading that had no way back.
            None if icc.is_none() && metadata.icc.is_some() => metadata.converted(None),
            None => metadata.icc = icc.map(<[u8]>::to_vec),
        }
        notes.extend(codec::losses(&encoding, channels, &metadata));
        let max_kb = branded.and_then(|e| e.max_kb).or(settings.max_kb);
        let goal = Goal::new(output, encoding, &sized, channels, metadata, max_kb)?;
        let graded = !gradings.is_empty();
        let dither = settings.dither && (image.bits() > 8 || graded) && goal.encoding.bits == 8 && !goal.encoding.is_lossy();
        let rest = Rest { conversion, clipped: 0, overlay, dither, goal };
        Ok(Self { output, settings, limits, size: (width, height), colours: channels.colours(), chain, rest, notes })
    }

    /// Takes graded rows.
    fn push(&mut self, band: Band) -> Result<()> {
        let (rest, colours) = (&mut self.rest, self.colours);
        self.chain.push(band, &mut |band| rest.write(band, colours))
    }

    /// Completes the file and measures it.
    fn finish(mut self, stop: &AtomicBool) -> Result<Made> {
        let (rest, colours) = (&mut self.rest, self.colours);
        self.chain.finish(&mut |band| rest.write(band, colours))?;
        let Self { output, settings, limits, size: (width, height), rest, mut notes, .. } = self;
        let bytes = rest.goal.finish(stop, &mut notes)?;
        if rest.clipped > 0 {
            let share = rest.clipped as f64 / (width * height) as f64 * 100.0;
            let share = if share < 0.1 { "less than 0.1".into() } else { format!("{share:.1}") };
            notes.push(format!("{share} % of the pixels lie outside the new colour space and were clipped"));
        }
        let mut held = None;
        if let Some(finish) = &settings.finish {
            let (missed, score) = finish.missed(output, &limits)?;
            held = missed;
            notes.extend(score.map(|s| format!("score {:.1}, p90 {:.1} dE2000", s.score, s.p90)));
        }
        Ok(Made { width, height, bytes, notes, held })
    }
}

impl Rest<'_> {
    fn write(&mut self, mut band: Band, colours: usize) -> Result<()> {
        if let Some(c) = &self.conversion {
            let converted = c.band(&band)?;
            self.clipped += outside(&band, if band.channels < 3 { 1 } else { 3 }, &converted);
            band = converted;
        }
        if self.dither {
            dither_rows(&mut band, colours);
        }
        // Last: the core of a logo is one colour, and stays one.
        if let Some(overlay) = &self.overlay {
            overlay.apply(&mut band);
        }
        self.goal.write(&band)
    }
}

/// Whether two sizes have the same proportions, but for the rounding of sides.
fn alike(a: (usize, usize), b: (usize, usize)) -> bool {
    let scale = a.0 as f64 / b.0 as f64;
    (b.1 as f64 * scale - a.1 as f64).abs() <= 1.0 + scale
}

/// Grey as three equal channels.
struct Spread;

impl Stage for Spread {
    fn push(&mut self, band: Band, next: &mut crate::band::Sink<'_>) -> Result<()> {
        let alpha = band.channels - 1;
        let mut out = Band::new(band.y, band.width, band.rows, 3 + alpha);
        (0..3).for_each(|c| out.plane_mut(c).copy_from_slice(band.plane(0)));
        if alpha == 1 {
            out.plane_mut(3).copy_from_slice(band.plane(1));
        }
        next(out)
    }

    fn finish(&mut self, _next: &mut crate::band::Sink<'_>) -> Result<()> {
        Ok(())
    }
}
