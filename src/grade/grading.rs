//! What is done to the colours of a job: the looks of its settings, ready to run.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::device::{Accelerator, Pass};
use super::kernel::Mask;
use super::look::{Look, Step};
use super::op::{Cdl, CubeFile, LutFile, Op};
use super::program::Program;
use super::space::Space;
use crate::error::Result;
use crate::lane::Lane;
use crate::lane::trace::{Formula, trace};

/// What the processor is called among devices.
const PROCESSOR: &str = "cpu";

/// Where a look comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A built-in look's name or a look file.
    Look(String),
    /// A `.cube` file, applied to encoded values.
    Lut(String),
    /// A `.cc`, `.ccc` or `.cdl` file, `FILE#ID` for one of several; applied to encoded values.
    Cdl(String),
}

impl Source {
    /// Reads it, and everything it names.
    ///
    /// # Errors
    /// Whatever is wrong with the file, with its line.
    pub fn open(&self) -> Result<Look> {
        let from = |name: &str, mut op: Op| {
            op.load(std::path::Path::new(""))?;
            Ok(Look::of(name, op))
        };
        match self {
            Self::Look(spec) => Look::find(spec),
            Self::Lut(file) => from(file, Op::LutFile(LutFile { file: CubeFile::named(file), ..LutFile::default() })),
            Self::Cdl(file) => from(file, Op::Cdl(Cdl { file: file.clone(), ..Cdl::default() })),
        }
    }
}

/// Operations that run together.
pub enum Piece {
    /// Functions of colour.
    Colour(Program),
    /// A spatial operation.
    Spatial(Step),
}

impl Piece {
    /// Whether it is a formula of colour and place alone.
    fn is_formula(&self) -> bool {
        let mut is = true;
        if let Self::Spatial(step) = self {
            trace(|c, at| {
                let traced = step.op.spatial().and_then(|op| op.traced(c, at));
                is = traced.is_some();
                c
            });
        }
        is
    }

    /// Whether it runs on no processor.
    pub fn needs_gpu(&self) -> bool {
        matches!(self, Self::Spatial(step) if step.op.spatial().is_some_and(|op| op.needs_gpu()))
    }
}

/// Neighbouring pieces that go together.
#[derive(Clone)]
pub struct Stretch {
    pub pieces: Range<usize>,
    /// All of them as one formula on a device, or `None` for the processor.
    pub pass: Option<Arc<dyn Pass>>,
}

/// Looks one after the other. Two are equal if they do the same, wherever they come from.
///
/// Written out, it holds the looks in full and names LUT files by their absolute paths; read back, it is ready to run, or an
/// error if a LUT is gone or has changed since.
#[derive(Clone)]
pub struct Grading {
    pieces: Arc<[Piece]>,
    looks: Arc<[Look]>,
    stretches: Arc<[Stretch]>,
    /// Where it runs, in words.
    device: String,
    strength: f32,
    written: Written,
    /// SHA-256 of everything that decides the colours.
    identity: String,
}

impl Grading {
    /// Looks to apply one after the other, mixed in by `strength`, 0..=1. `None` if that changes nothing.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] if parameters of an operation do not fit together.
    pub fn new(looks: &[Look], strength: f32) -> Result<Option<Self>> {
        let mut pieces = Vec::new();
        // What lies between two spatial operations is one program.
        let mut run: Vec<Step> = Vec::new();
        let flush = |run: &mut Vec<Step>, pieces: &mut Vec<Piece>| -> Result<()> {
            let steps = std::mem::take(run);
            let name = looks.first().map_or("look", |l| &l.name).to_owned();
            let program = Program::new(&[Look { title: name.clone(), name, description: String::new(), steps }], 1.0)?;
            if !program.is_noop() {
                pieces.push(Piece::Colour(program));
            }
            Ok(())
        };
        for step in looks.iter().flat_map(|l| &l.steps).filter(|s| strength > 0.0 && !s.is_noop()) {
            if step.op.spatial().is_some() {
                flush(&mut run, &mut pieces)?;
                pieces.push(Piece::Spatial(step.clone()));
            } else {
                run.push(step.clone());
            }
        }
        flush(&mut run, &mut pieces)?;
        if pieces.is_empty() {
            return Ok(None);
        }
        let mut hash = Sha256::new();
        hash.update(format!("strength {strength:?}\n"));
        // Numbers are written so that they read back exactly; tables are named by the hash of their file.
        for step in looks.iter().flat_map(|l| &l.steps).filter(|s| !s.is_noop()) {
            hash.update(format!("{:?} {:?}\n", step.op, step.place));
        }
        let identity: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let written = Written { looks: looks.iter().map(Look::to_string).collect(), strength, sha256: identity.clone() };
        let stretches = Arc::new([Stretch { pieces: 0..pieces.len(), pass: None }]);
        Ok(Some(Self { pieces: pieces.into(), looks: looks.into(), stretches, device: PROCESSOR.into(), strength, written, identity }))
    }

    /// The same on a device: everything but what looks at neighbours, each stretch in between as one formula.
    ///
    /// # Errors
    /// As [`Accelerator::prepare`].
    pub fn on(&self, device: &dyn Accelerator) -> Result<Self> {
        let mut stretches = Vec::new();
        for (range, formula) in self.formulas() {
            let pass = formula.map(|f| device.prepare(&f)).transpose()?;
            stretches.push(Stretch { pieces: range, pass });
        }
        Ok(Self { stretches: stretches.into(), device: device.name(), ..self.clone() })
    }

    /// Neighbouring pieces, as one formula where they are one; what looks at neighbours has none.
    pub fn formulas(&self) -> Vec<(Range<usize>, Option<Formula>)> {
        let (mut all, mut from) = (Vec::new(), 0);
        while from < self.pieces.len() {
            let is_formula = self.pieces[from].is_formula();
            let mut to = from + 1;
            while to < self.pieces.len() && self.pieces[to].is_formula() == is_formula {
                // Two users' files may use the same names for different things.
                if is_formula && self.formula(from..to + 1).filters().len() > 1 {
                    break;
                }
                to += 1;
            }
            all.push((from..to, is_formula.then(|| self.formula(from..to))));
            from = to;
        }
        all
    }

    /// Pieces that are formulas, written down as one.
    fn formula(&self, range: Range<usize>) -> Formula {
        trace(|given, at| {
            self.pieces[range].iter().fold(given, |c, piece| match piece {
                Piece::Colour(program) => program.eval(c),
                Piece::Spatial(step) => {
                    let done = step.op.spatial().and_then(|op| op.traced(c, at)).unwrap_or(c);
                    let mask = step.place.mask();
                    if mask == Mask::ALL {
                        return done;
                    }
                    let w = mask.weight(c, Space::Encoded);
                    [c[0].mix(done[0], w), c[1].mix(done[1], w), c[2].mix(done[2], w)]
                }
            })
        })
    }

    /// Which pieces run where, in order.
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Where it runs: `cpu`, or the name of a device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Whether a device has it.
    pub fn is_placed(&self) -> bool {
        self.device != PROCESSOR
    }

    /// Whether a part of it runs on no processor.
    pub fn needs_gpu(&self) -> bool {
        self.pieces.iter().any(Piece::needs_gpu)
    }

    /// SHA-256 of everything that decides the colours, in hexadecimal.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What is done, in order.
    pub fn pieces(&self) -> &Arc<[Piece]> {
        &self.pieces
    }

    /// All of it, if it is nothing but functions of colour, run on the processor and in full.
    pub fn program(&self) -> Option<&Program> {
        match (&*self.pieces, &*self.stretches) {
            ([Piece::Colour(program)], [Stretch { pass: None, .. }]) if self.strength == 1.0 => Some(program),
            _ => None,
        }
    }

    /// What it was made of.
    pub fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// One colour (encoded sRGB, extended range) graded as far as that does not depend on its place: spatial operations are
    /// left out.
    pub fn colour(&self, c: [f32; 3]) -> [f32; 3] {
        let [mut r, mut g, mut b] = c.map(|v| [v]);
        self.colours(&mut r, &mut g, &mut b);
        [r[0], g[0], b[0]]
    }

    /// The same of many colours, in place; the planes have the same length.
    pub fn colours(&self, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
        let before = (self.strength < 1.0).then(|| [r.to_vec(), g.to_vec(), b.to_vec()]);
        for piece in self.pieces.iter() {
            if let Piece::Colour(program) = piece {
                program.run(r, g, b);
            }
        }
        for (given, plane) in before.iter().flatten().zip([r, g, b]) {
            plane.iter_mut().zip(given).for_each(|(v, given)| *v = given + (*v - given) * self.strength);
        }
    }

    /// How much of it, 0..=1.
    pub fn strength(&self) -> f32 {
        self.strength
    }
}

impl fmt::Debug for Grading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grading({})", self.identity)
    }
}

impl PartialEq for Grading {
    fn eq(&self, o: &Self) -> bool {
        self.identity == o.identity
    }
}

/// A grading as the journal keeps it.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    /// The text of each look.
    looks: Vec<String>,
    strength: f32,
    sha256: String,
}

impl Serialize for Grading {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        self.written.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Grading {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let written = Written::deserialize(d)?;
        let read = |text: &String| Look::parse("journal", text, std::path::Path::new(""));
        let looks: Vec<Look> = written.looks.iter().map(read).collect::<Result<_>>().map_err(D::Error::custom)?;
        match Self::new(&looks, written.strength).map_err(D::Error::custom)? {
            Some(grading) if grading.identity == written.sha256 => Ok(grading),
            _ => Err(D::Error::custom("a look is not what it was any more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_the_same_is_the_same() {
        let look = |text: &str| Look::parse("x", text, std::path::Path::new("")).unwrap();
        let a = look("title = \"a\"\n[[op]]\ntype = \"exposure\"\nstops = 0.5\n[[op]]\ntype = \"saturation\"\n");
        let b = look("title = \"b\"\n[[op]]\ntype = \"exposure\"\nid = \"x\"\nstops = 5e-1\n");
        let c = look("[[op]]\ntype = \"exposure\"\nstops = 0.50001\n");
        let new = |l: &Look, s| Grading::new(std::slice::from_ref(l), s).unwrap();
        assert_eq!(new(&a, 1.0), new(&b, 1.0));
        assert_ne!(new(&a, 1.0), new(&c, 1.0));
        assert_ne!(new(&a, 1.0), new(&a, 0.5));
        assert_eq!(new(&a, 0.0), None);
    }

    #[test]
    fn a_lut_counts_by_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let at = |n: &str| folder.path().join(n).to_string_lossy().into_owned();
        let cube = |k: f32| {
            let cube = crate::lane::Lut3d::from_fn(2, |c| c.map(|v| v * k)).unwrap();
            crate::grade::lut::Lut::from_cube("t", cube).to_cube().unwrap()
        };
        for (name, k) in [("a.cube", 0.5), ("b.cube", 0.5), ("c.cube", 0.6)] {
            std::fs::write(at(name), cube(k)).unwrap();
        }
        let of = |n: &str| Grading::new(&[Source::Lut(at(n)).open().unwrap()], 1.0).unwrap().unwrap();
        assert_eq!(of("a.cube"), of("b.cube"));
        assert_ne!(of("a.cube"), of("c.cube"));
        let grading = of("a.cube");
        let [Piece::Colour(program)] = &grading.pieces()[..] else { panic!("one piece") };
        let got = program.colour([0.5, 1.0, 0.25]);
        assert!(got.iter().zip([0.25, 0.5, 0.125]).all(|(g, w)| (g - w).abs() < 1e-6));
        assert!(Source::Lut(at("none.cube")).open().is_err());
        let text = serde_json::to_string(&of("a.cube")).unwrap();
        assert_eq!(serde_json::from_str::<Grading>(&text).unwrap(), of("a.cube"));
        std::fs::write(at("a.cube"), cube(0.7)).unwrap();
        assert!(serde_json::from_str::<Grading>(&text).is_err(), "the LUT has changed");
    }
}
