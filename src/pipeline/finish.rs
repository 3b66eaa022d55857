//! The last part of a picture's way: graded, converted, dithered and written, once for every file that is made of it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::goal::Goal;
use super::{Plan, Settings, dither_rows, history, of, outside};
use crate::band::{Band, Stage};
use crate::codec::{self, Changes, Encoding};
use crate::color::{ColourSpace, Conversion};
use crate::error::Result;
use crate::flow::Chain;
use crate::grade::spatial::Frame;
use crate::grade::stage::Grade;
use crate::image::{Channels, Image};
use crate::upscale::size::{Size, Target};

/// What the finishing of one picture depends on.
pub(super) struct Finishing<'a> {
    pub source: &'a Path,
    pub image: &'a Image,
    pub target: &'a Target,
    pub settings: &'a Settings,
    pub plan: &'a Plan,
    pub encoding: &'a Encoding,
    /// Stands for the source's bytes: spatial operations draw their grain from it.
    pub seed: u64,
}

/// A file being written.
pub(super) struct Finish<'a> {
    target: &'a Target,
    chain: Chain<'a>,
    deliver: Deliver<'a>,
}

/// What follows the grading.
struct Deliver<'a> {
    conversion: Option<Conversion>,
    dither: bool,
    colours: usize,
    goal: Goal<'a>,
    /// Pixels that were clipped in conversion.
    clipped: u64,
}

impl Deliver<'_> {
    fn write(&mut self, mut band: Band) -> Result<()> {
        if let Some(c) = &self.conversion {
            band = c.band(&band)?;
            self.clipped += outside(&band);
        }
        if self.dither {
            dither_rows(&mut band, self.colours);
        }
        self.goal.write(&band)
    }
}

impl<'a> Finishing<'a> {
    /// Begins the file at `output`; `mended` is what its history says about mending, beside what was done in any case.
    ///
    /// # Errors
    /// A grading or colour space that does not fit the picture; a file that cannot be created.
    pub fn open(&self, output: &'a Path, mended: Option<&str>, notes: &mut Vec<String>) -> Result<Finish<'a>> {
        let Self { source, image, target, settings, plan, encoding, seed } = *self;
        let (mut icc, mut channels, mut chain) = (image.metadata.icc.clone(), image.channels, Chain::new());
        if let Some(grading) = &settings.grading {
            let frame = Frame { width: target.width, height: target.height, bits: image.bits(), seed };
            let grade = Grade::new(grading, icc.as_deref(), channels.colours(), channels.has_alpha(), frame).map_err(|e| of(source, e))?;
            channels = Channels::of(grade.colours(), channels.has_alpha());
            if grade.replaces_profile() && icc.take().is_some() {
                notes.push("graded in sRGB and written as sRGB: there is no way back into its own colour profile".into());
            }
            chain.then(grade);
        }
        let convert_to = settings.convert_to.clone().or_else(|| {
            let homeless = icc.is_some() && channels.colours() == 1 && !encoding.format.supports_grey();
            homeless.then(|| {
                notes.push(format!("{} knows no grey profiles: converted to sRGB", encoding.format.name()));
                ColourSpace::Srgb
            })
        });
        let conversion = match &convert_to {
            Some(to) => Conversion::new(icc.as_deref(), to)?,
            None => None,
        };
        if conversion.is_some() {
            channels = Channels::of(3, channels.has_alpha());
        }
        let (mut metadata, more) = image.metadata.changed(&Changes {
            width: target.width,
            height: target.height,
            dpi: match settings.size {
                Size::Print { dpi, .. } => Some((dpi, dpi)),
                _ => None,
            },
            policy: settings.metadata.clone(),
            history: vec![history::event(source, image, target, plan, encoding, settings, mended)],
        });
        notes.extend(more);
        metadata.icc = icc;
        if let Some(to) = convert_to.as_ref().filter(|_| channels.colours() == 3) {
            metadata.icc = Some(to.icc()?);
        }
        notes.extend(codec::losses(encoding, channels, &metadata));
        let goal = Goal::new(output, encoding.clone(), target, channels, metadata, settings.max_kb)?;
        let deep = image.bits() > 8 || settings.grading.is_some();
        let dither = settings.dither && deep && goal.encoding.bits == 8 && !goal.encoding.is_lossy();
        let deliver = Deliver { conversion, dither, colours: channels.colours(), goal, clipped: 0 };
        Ok(Finish { target, chain, deliver })
    }
}

impl Finish<'_> {
    /// Takes the next rows of the result.
    pub fn push(&mut self, band: Band) -> Result<()> {
        let deliver = &mut self.deliver;
        self.chain.push(band, &mut |b| deliver.write(b))
    }

    /// Completes the file; its size in bytes.
    pub fn finish(self, stop: &AtomicBool, notes: &mut Vec<String>) -> Result<u64> {
        let Self { target, mut chain, mut deliver } = self;
        chain.finish(&mut |b| deliver.write(b))?;
        let bytes = deliver.goal.finish(stop, notes)?;
        if deliver.clipped > 0 {
            let share = deliver.clipped as f64 / (target.width * target.height) as f64 * 100.0;
            let share = if share < 0.1 { "less than 0.1".into() } else { format!("{share:.1}") };
            notes.push(format!("{share} % of the pixels lie outside the new colour space and were clipped"));
        }
        Ok(bytes)
    }
}
