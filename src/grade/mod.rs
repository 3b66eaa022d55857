//! Colour grading: looks made of operations that are each defined once.
//!
//! A [`Look`] is an ordered list of operations ([`op`]), read from a TOML file. [`Program`] is one or several of them with all
//! constants worked out, and runs them over planes of pixels. Values are sRGB with Rec. 709 primaries in extended range; each
//! operation says whether it works on encoded values, linear light or OKLab ([`space`]), and conversions are shared between
//! neighbours that work in the same space.

pub mod builtin;
pub mod cdl;
mod codes;
pub mod device;
pub mod dither;
pub mod eight;
pub mod grading;
pub mod kernel;
pub mod look;
pub mod lut;
pub mod matching;
pub mod op;
pub mod param;
pub mod program;
pub mod space;
pub mod spatial;
pub mod stage;

pub use grading::Grading;
pub use look::Look;
pub use program::Program;

/// A look, LUT or CDL that the operating system does not give out: a mistake in what was asked for, not of a picture.
fn unreadable(path: &std::path::Path, e: &std::io::Error) -> crate::Error {
    crate::Error::usage(path.display(), format!("cannot be read: {e}"), "a file that is there; names in a look file count from its folder")
}
