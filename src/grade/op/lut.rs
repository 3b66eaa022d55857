//! LUT files.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toml::de::DeValue;

use super::prelude::*;
use crate::grade::lut::{Lut, Lut3d, Table};
use crate::grade::param::Value;

params! {
    /// A .cube file: curves, a colour cube, or both; linear and tetrahedral interpolation.
    pub struct LutFile = "lut" {
        /// The .cube file, relative to the look file.
        file: CubeFile = CubeFile::default(), Rule::Any, "";
        /// What the table expects and gives: encoded values or linear light.
        space: String = "encoded".into(), Rule::OneOf(&["encoded", "linear"]), "";
    }
}

/// The name of a `.cube` file, and what was in it.
#[derive(Clone, Default)]
pub struct CubeFile {
    name: String,
    /// The SHA-256 of the file in hexadecimal, and the table; there once it was read.
    loaded: Option<(String, Arc<Lut>)>,
}

impl CubeFile {
    /// A file still to be read.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), loaded: None }
    }

    /// A table that comes from no file; its text is its identity.
    ///
    /// # Errors
    /// As [`Lut::to_cube`].
    pub fn made(name: &str, lut: Lut) -> crate::Result<Self> {
        let hash = hex(&Sha256::digest(lut.to_cube()?));
        Ok(Self { name: name.to_owned(), loaded: Some((hash, Arc::new(lut))) })
    }
}

/// Equal contents, whatever the name.
impl PartialEq for CubeFile {
    fn eq(&self, o: &Self) -> bool {
        match (&self.loaded, &o.loaded) {
            (Some((a, _)), Some((b, _))) => a == b,
            (None, None) => self.name == o.name,
            _ => false,
        }
    }
}

/// The hash alone: it is what decides the pixels.
impl fmt::Debug for CubeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.loaded {
            Some((hash, _)) => write!(f, "sha256:{hash}"),
            None => write!(f, "{:?}", self.name),
        }
    }
}

impl Value for CubeFile {
    fn read(value: &DeValue<'_>, rule: Rule) -> Result<Self, String> {
        String::read(value, rule).map(Self::named)
    }
    fn show(&self) -> String {
        self.name.show()
    }
    fn allowed(_: Rule) -> String {
        "a path".into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl ColorOp for LutFile {
    type Kernel = Lookup;

    fn space(&self) -> Space {
        if self.space == "linear" { Space::Linear } else { Space::Encoded }
    }

    /// Without a file it does nothing, but that is a mistake, which `kernel` names.
    fn is_noop(&self) -> bool {
        false
    }

    fn load(&mut self, folder: &Path) -> crate::Result<()> {
        if self.file.loaded.is_some() || self.file.name.is_empty() {
            return Ok(());
        }
        // Absolute, so that the look can be used from anywhere once it was read.
        let path = std::path::absolute(folder.join(&self.file.name)).map_err(|e| crate::Error::io(&self.file.name, e))?;
        let (lut, bytes) = Lut::read_with_bytes(&path)?;
        self.file.name = path.to_string_lossy().into_owned();
        self.file.loaded = Some((hex(&Sha256::digest(bytes)), Arc::new(lut)));
        Ok(())
    }

    fn kernel(&self) -> Result<Lookup, String> {
        let loaded = self.file.loaded.as_ref().ok_or("it needs `file`, a .cube file")?;
        Ok(Lookup(Arc::clone(&loaded.1)))
    }
}

/// See [`LutFile`].
pub struct Lookup(pub(in crate::grade) Arc<Lut>);

impl Kernel for Lookup {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let given = c;
        let c = match &self.0.curves {
            Some([r, g, b]) => [c[0].table(r), c[1].table(g), c[2].table(b)],
            None => c,
        };
        let c = match &self.0.cube {
            Some(cube) => L::lut3d(c, cube),
            None => c,
        };
        if !self.0.carries {
            return c;
        }
        [0, 1, 2].map(|k| c[k] + (given[k] - given[k].clamp(0.0, 1.0)))
    }

    fn planes(&self, p: &mut Planes<'_>) {
        let beyond = |v: f32| v - v.clamp(0.0, 1.0);
        let out = |plane: &[f32]| plane.iter().any(|v| beyond(*v) != 0.0);
        let given = (self.0.carries && (out(p.r) || out(p.g) || out(p.b))).then(|| [p.r.to_vec(), p.g.to_vec(), p.b.to_vec()]);
        if let Some(curves) = &self.0.curves {
            [&mut *p.r, &mut *p.g, &mut *p.b].into_iter().zip(curves).for_each(|(plane, curve)| along(curve, plane));
        }
        if let Some(cube) = &self.0.cube {
            through(cube, p.r, p.g, p.b);
        }
        for (plane, given) in [&mut *p.r, &mut *p.g, &mut *p.b].into_iter().zip(given.iter().flatten()) {
            plane.iter_mut().zip(given).for_each(|(v, g)| *v += beyond(*g));
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn along(curve: &Table, plane: &mut [f32]) {
    for v in plane {
        *v = curve.eval(*v);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn through(cube: &Lut3d, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        [*r, *g, *b] = cube.eval([*r, *g, *b]);
    }
}
