//! Colour grading: looks made of operations that are each defined once.
//!
//! A [`Look`] is an ordered list of operations ([`op`]), read from a TOML file. [`Program`] is one or several of them with all
//! constants worked out, and runs them over planes of pixels. Values are sRGB with Rec. 709 primaries in extended range; each
//! operation says whether it works on encoded values, linear light or OKLab ([`space`]), and conversions are shared between
//! neighbours that work in the same space.

pub mod builtin;
pub mod cdl;
pub mod kernel;
pub mod look;
pub mod lut;
pub mod op;
pub mod param;
pub mod program;
pub mod space;

pub use look::Look;
pub use program::Program;
