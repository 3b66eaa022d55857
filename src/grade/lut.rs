//! LUT files: `.cube` in and out (Adobe Cube LUT 1.0 and the Resolve dialect with a shaper).

mod cube;

use std::path::Path;

pub use crate::lane::{Lut3d, Table};

use super::{refuse_wide, unreadable};
use crate::error::{Error, Result};

/// A LUT file: a curve per channel, a colour cube, or a curve in front of a cube (the shaper).
///
/// Values are what the file's author meant them to be, mostly display-encoded 0..1; the LUT itself has no colour space.
#[derive(Debug, Clone, PartialEq)]
pub struct Lut {
    /// The file's TITLE, empty if it has none.
    pub title: String,
    /// Curves for red, green and blue, applied first.
    pub curves: Option<[Table; 3]>,
    /// The cube, applied after the curves.
    pub cube: Option<Lut3d>,
    /// Colours outside of 0..=1 become what the nearest inside becomes, and keep their distance from it; else they become just
    /// that, as in other programs. Files say so in a comment of this program.
    pub carries: bool,
}

impl Lut {
    /// Reads a `.cube` file.
    ///
    /// # Errors
    /// [`Error::Usage`] with file and line for whatever is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with_bytes(path).map(|(lut, _)| lut)
    }

    /// The same, and the bytes of the file.
    ///
    /// # Errors
    /// As [`Lut::read`].
    pub fn read_with_bytes(path: &Path) -> Result<(Self, Vec<u8>)> {
        /// What other programs call their tables.
        const OTHERS: [&str; 9] = ["3dl", "csp", "spi1d", "spi3d", "spimtx", "clf", "ctf", "look", "vlt"];
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        if OTHERS.contains(&extension.as_str()) {
            let what = format!("is a .{extension} file, and only .cube files are read");
            return Err(Error::usage(path.display(), what, "a .cube file: export it again, or convert it with ociobakelut"));
        }
        // The largest cube there may be, written with plenty of digits.
        const MOST_BYTES: u64 = 1 << 30;
        let size = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?.len();
        if size > MOST_BYTES {
            return Err(Error::usage(path.display(), format!("is no LUT: {size} bytes"), "a .cube file"));
        }
        let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
        Ok((Self::parse(&path.display().to_string(), &bytes)?, bytes))
    }

    /// Reads the text of a `.cube` file; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Usage`] with `name` and line for whatever is wrong in it.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        refuse_wide(name, bytes)?;
        cube::parse(name, &String::from_utf8_lossy(bytes))
    }

    /// A LUT that is only a cube.
    pub fn from_cube(title: &str, cube: Lut3d) -> Self {
        Self { title: title.to_owned(), curves: None, cube: Some(cube), carries: false }
    }

    /// The colour at `c`: curves (linear between samples), then the cube (tetrahedral).
    pub fn eval(&self, c: [f32; 3]) -> [f32; 3] {
        let beyond = if self.carries { c.map(|v| v - v.clamp(0.0, 1.0)) } else { [0.0; 3] };
        let c = self.curves.as_ref().map_or(c, |[r, g, b]| [r.eval(c[0]), g.eval(c[1]), b.eval(c[2])]);
        let c = self.cube.as_ref().map_or(c, |l| l.eval(c));
        [0, 1, 2].map(|k| c[k] + beyond[k])
    }

    /// The text of a `.cube` file that reads back as this LUT (numbers with seven decimals).
    ///
    /// # Errors
    /// [`Error::Usage`] for a shaper whose channels cover different ranges, which the format cannot say.
    pub fn to_cube(&self) -> Result<String> {
        cube::write(self)
    }
}
