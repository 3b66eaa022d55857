//! Flags about the file that is written rather than the picture in it: packing, colour space, metadata.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::codec::{Format, Keep, Limits, SourceType, Strip};
use crate::color::ColourSpace;
use crate::error::{Error, Result};
use crate::pipeline::Settings;

/// Shared by every verb that writes pictures.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(id = "file")]
pub struct Args {
    /// JPEG, lossy WebP: lower the quality as far as a file of this many kB (1000 bytes) needs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "lossless", help_heading = "File")]
    max_kb: Option<u32>,
    /// PNG: written fast, or as small as it gets
    #[arg(long, value_name = "fast|small", default_value = "fast", help_heading = "File")]
    png: Png,
    /// JPEG: colour at full (444) or half (420) resolution
    #[arg(long, value_name = "444|420", default_value = "444", help_heading = "File")]
    chroma: Chroma,
    /// JPEG: coarse to fine instead of top to bottom
    #[arg(long, help_heading = "File")]
    progressive: bool,
    /// Convert colours: srgb, p3 or an RGB profile [default: keep the source's profile]
    #[arg(long, value_name = "srgb|p3|FILE.icc", help_heading = "File")]
    convert_to: Option<PathBuf>,
    /// Animations: only the first frame is taken [default: they are refused]
    #[arg(long, value_name = "first", help_heading = "File")]
    frames: Option<Frames>,

    /// What to carry: all, or profile, resolution, creator, copyright, credit and source type
    #[arg(long, value_name = "keep|minimal", default_value = "keep", help_heading = "Metadata")]
    metadata: Amount,
    /// What to leave out: all (but profile and resolution), gps, prompt (of generators); several with commas
    #[arg(long, value_name = "all|gps|prompt", value_delimiter = ',', help_heading = "Metadata")]
    strip: Vec<What>,
    /// Set the IPTC digital source type, for example trainedAlgorithmicMedia [default: the source's]
    #[arg(long, value_name = "TERM", value_parser = source_type, help_heading = "Metadata")]
    source_type: Option<SourceType>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Png {
    #[default]
    Fast,
    Small,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Chroma {
    #[default]
    #[value(name = "444")]
    Full,
    #[value(name = "420")]
    Half,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Frames {
    First,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Amount {
    #[default]
    Keep,
    Minimal,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    All,
    Gps,
    Prompt,
}

fn source_type(text: &str) -> std::result::Result<SourceType, String> {
    SourceType::new(text).map_err(|e| match e {
        Error::Usage { what, hint, .. } => format!("{what}; there are {hint}"),
        e => e.to_string(),
    })
}

impl Args {
    /// Fills in what these flags decide. `format` is the container asked for, `None` if each file keeps its own; `epoch` is
    /// `SOURCE_DATE_EPOCH`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a flag that means nothing in that container, and for a profile that cannot be used.
    pub fn apply(&self, format: Option<Format>, settings: &mut Settings, epoch: Option<i64>) -> Result<()> {
        let only = |flag: &str, given: bool, takes: &[Format], hint: &str| match format {
            Some(f) if given && !takes.contains(&f) => {
                Err(Error::usage(flag, format!("means nothing for {} files", f.name()), format!("{hint}, or leave it out")))
            }
            _ => Ok(()),
        };
        only("--max-kb", self.max_kb.is_some(), &[Format::Jpeg, Format::WebP], "--format jpeg or --format webp")?;
        only("--png", self.png == Png::Small, &[Format::Png], "--format png")?;
        only("--chroma", self.chroma == Chroma::Half, &[Format::Jpeg], "--format jpeg")?;
        only("--progressive", self.progressive, &[Format::Jpeg], "--format jpeg")?;
        let e = &mut settings.encoding;
        e.small = self.png == Png::Small;
        e.chroma_420 = self.chroma == Chroma::Half;
        e.progressive = self.progressive;
        settings.max_kb = self.max_kb;
        settings.convert_to = self.convert_to.as_deref().map(space).transpose()?;
        let policy = &mut settings.metadata;
        policy.keep = match self.metadata {
            _ if self.strip.contains(&What::All) => Keep::Nothing,
            Amount::Minimal => Keep::Minimal,
            Amount::Keep => Keep::All,
        };
        policy.strip = [(What::Gps, Strip::Gps), (What::Prompt, Strip::Prompt)]
            .into_iter()
            .filter(|(what, _)| self.strip.contains(what) && policy.keep != Keep::Nothing)
            .map(|(_, strip)| strip)
            .collect();
        policy.source_type.clone_from(&self.source_type);
        settings.epoch = epoch;
        Ok(())
    }

    /// What the decoder may do.
    pub fn limits(&self, max_pixels: u64) -> Limits {
        Limits { max_pixels, first_frame: self.frames.is_some() }
    }
}

fn space(wanted: &Path) -> Result<ColourSpace> {
    let space = match wanted.to_str() {
        Some(name) if name.eq_ignore_ascii_case("srgb") => ColourSpace::Srgb,
        Some(name) if name.eq_ignore_ascii_case("p3") => ColourSpace::DisplayP3,
        _ => ColourSpace::Icc(std::fs::read(wanted).map_err(|e| {
            Error::usage("--convert-to", format!("{} cannot be read: {e}", wanted.display()), "srgb, p3 or the path of an ICC profile")
        })?),
    };
    space.icc()?;
    Ok(space)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        file: Args,
        #[arg(long)]
        lossless: bool,
    }

    fn applied(line: &str, format: Option<Format>) -> Result<Settings> {
        let mut settings = Settings::default();
        let args = Line::try_parse_from(line.split_whitespace()).unwrap();
        assert!(!args.lossless);
        args.file.apply(format, &mut settings, None)?;
        Ok(settings)
    }

    #[test]
    fn flags_become_settings() {
        assert_eq!(applied("x", None).unwrap(), Settings::default());
        let s =
            applied("x --strip prompt,gps --strip gps --source-type TrainedAlgorithmicMedia --max-kb 300 --convert-to P3", None).unwrap();
        assert_eq!(s.metadata.strip, [Strip::Gps, Strip::Prompt]);
        assert!(s.metadata.source_type.unwrap().uri().ends_with("/trainedAlgorithmicMedia"));
        assert_eq!((s.max_kb, s.convert_to), (Some(300), Some(ColourSpace::DisplayP3)));
        let all = applied("x --strip all,gps --metadata minimal", None).unwrap().metadata;
        assert_eq!((all.keep, all.strip.len()), (Keep::Nothing, 0));
        let jpeg = applied("x --chroma 420 --progressive", Some(Format::Jpeg)).unwrap().encoding;
        assert!(jpeg.chroma_420 && jpeg.progressive && !jpeg.small);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (line, format, word) in [
            ("x --png small", Format::Jpeg, "--png: means nothing for JPEG"),
            ("x --chroma 420", Format::WebP, "--chroma"),
            ("x --progressive", Format::Png, "--progressive"),
            ("x --max-kb 10", Format::Tiff, "--max-kb"),
            ("x --convert-to nowhere.icc", Format::Png, "nowhere.icc cannot be read"),
        ] {
            let e = applied(line, Some(format)).unwrap_err();
            assert!(e.kind() == "usage" && e.to_string().contains(word) && e.to_string().contains("try: "), "{e}");
        }
        assert!(Line::try_parse_from(["x", "--source-type", "photo"]).is_err());
        assert!(Line::try_parse_from(["x", "--max-kb", "5", "--lossless"]).is_err());
    }
}
