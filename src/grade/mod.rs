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

/// Refuses text in UTF-16, which would be told as damage at its first letter.
fn refuse_wide(name: &str, bytes: &[u8]) -> crate::Result<()> {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    // Without its mark: every other byte of plain letters is 0.
    let bare = matches!(bytes, [a, 0, b, 0, ..] | [0, a, 0, b, ..] if a.is_ascii() && b.is_ascii() && *a != 0 && *b != 0);
    match marked || bare {
        true => Err(crate::Error::usage(
            format_args!("{name}, line 1"),
            "its text is UTF-16, which no other program would read",
            "save it as UTF-8",
        )),
        false => Ok(()),
    }
}
