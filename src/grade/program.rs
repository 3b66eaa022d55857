//! Several looks, ready to run.

use super::codes::Codes;
use super::kernel::{Convert, Mask, Planes, run};
use super::look::Look;
use super::op::AnyKernel;
use super::space::{Space, convert};
use crate::error::Result;
use crate::lane::trace::trace;
use crate::lane::{Lane, Lut3d, Rgb};

/// Pixels that go through all operations before the next ones do; three planes of them stay in the first-level cache.
const CHUNK: usize = 1024;

/// A formula, the space that it works in, and where it acts.
pub(super) type Step = (Space, Mask, AnyKernel);

/// Looks one after the other as formulas with all constants worked out.
pub struct Program {
    steps: Vec<Step>,
    /// The first of them, for 8-bit values.
    codes: Option<Codes>,
    strength: f32,
}

impl Program {
    /// Prepares `looks` to run one after the other, mixed with the ungraded colours by `strength`, from 0 (changes nothing) to 1.
    /// What changes nothing is left out, and so are spatial operations (see [`Look::spatial`]).
    ///
    /// # Errors
    /// [`crate::Error::Usage`] if parameters of an operation do not fit together.
    pub fn new(looks: &[Look], strength: f32) -> Result<Self> {
        let mut steps = Vec::new();
        for look in looks {
            for step in look.steps.iter().filter(|s| strength > 0.0 && !s.is_noop()) {
                let Some(kernel) = step.kernel(&look.name)? else { continue };
                let (space, mask) = (step.op.space(), step.place.mask());
                match &kernel {
                    // The first half may be looked up.
                    AnyKernel::Cdl(c) if mask == Mask::ALL => match c.split() {
                        Some((alone, together)) => steps.extend([alone, together].map(|c| (space, mask, AnyKernel::Cdl(c)))),
                        None => steps.push((space, mask, kernel)),
                    },
                    _ => steps.push((space, mask, kernel)),
                }
            }
        }
        let codes = Codes::new(&steps);
        Ok(Self { steps, codes, strength })
    }

    /// Whether nothing is changed.
    pub fn is_noop(&self) -> bool {
        self.steps.is_empty()
    }

    /// What is looked up for 8-bit values, all steps as they are run, and how much of the result is taken.
    pub(super) fn parts(&self) -> (Option<&Codes>, &[Step], f32) {
        (self.codes.as_ref(), &self.steps, self.strength)
    }

    /// How many steps, as run, are looked up for 8-bit values.
    #[cfg(test)]
    pub(super) fn looked_up(&self) -> usize {
        self.codes.as_ref().map_or(0, |c| c.steps)
    }

    /// Grades encoded sRGB values (extended range) in place; the planes have the same length.
    pub fn run(&self, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
        // Only if it is needed: `colour` runs this for one pixel.
        let mut before = vec![0f32; if self.strength < 1.0 { 3 * CHUNK } else { 0 }];
        for ((r, g), b) in r.chunks_mut(CHUNK).zip(g.chunks_mut(CHUNK)).zip(b.chunks_mut(CHUNK)) {
            let n = r.len();
            let mut planes = Planes { r, g, b };
            if self.strength < 1.0 {
                for (kept, plane) in before.chunks_exact_mut(CHUNK).zip([&planes.r, &planes.g, &planes.b]) {
                    kept[..n].copy_from_slice(plane);
                }
            }
            let done = self.codes.as_ref().filter(|codes| codes.run(&mut planes));
            let (mut now, from) = done.map_or((Space::Encoded, 0), |codes| (codes.space, codes.steps));
            for (space, mask, kernel) in &self.steps[from..] {
                go(&mut now, *space, &mut planes);
                kernel.run(*space, mask, &mut planes);
            }
            go(&mut now, Space::Encoded, &mut planes);
            if self.strength < 1.0 {
                for (kept, plane) in before.chunks_exact(CHUNK).zip([&mut planes.r, &mut planes.g, &mut planes.b]) {
                    plane.iter_mut().zip(kept).for_each(|(v, k)| *v = k + (*v - k) * self.strength);
                }
            }
        }
    }

    /// The whole as one formula of an encoded sRGB colour.
    pub fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let mut done = follow(&self.steps, c, Space::Encoded);
        if self.strength < 1.0 {
            let share = L::lit(self.strength);
            done = [c[0].mix(done[0], share), c[1].mix(done[1], share), c[2].mix(done[2], share)];
        }
        done
    }

    /// The look as a function of each channel alone, and at most one cube after it; `None` if it is more than that.
    #[expect(clippy::type_complexity, reason = "a closure has no name to give the pair")]
    pub(super) fn separable(&self) -> Option<(impl Fn([f32; 3]) -> [f32; 3] + '_, Option<&Lut3d>)> {
        let lut = match self.steps.last() {
            Some((Space::Encoded, mask, AnyKernel::LutFile(lut)))
                if *mask == Mask::ALL && lut.0.cube.is_some() && (!lut.0.carries || self.steps.len() == 1) =>
            {
                Some(&*lut.0)
            }
            _ => None,
        };
        let steps = &self.steps[..self.steps.len() - usize::from(lut.is_some())];
        let curves = lut.and_then(|l| l.curves.as_ref());
        if self.strength < 1.0 || !trace(|c, _| follow(steps, c, Space::Encoded)).is_separable() {
            return None;
        }
        let before = move |c: [f32; 3]| {
            let c = follow(steps, c, Space::Encoded);
            curves.map_or(c, |[r, g, b]| [r.eval(c[0]), g.eval(c[1]), b.eval(c[2])])
        };
        Some((before, lut.and_then(|l| l.cube.as_ref())))
    }

    /// One encoded sRGB colour, graded.
    pub fn colour(&self, c: [f32; 3]) -> [f32; 3] {
        let [mut r, mut g, mut b] = c.map(|v| [v]);
        self.run(&mut r, &mut g, &mut b);
        [r[0], g[0], b[0]]
    }

    /// Whether greys stay grey to within half a 16-bit code, so that a grey picture need not become a coloured one.
    pub fn keeps_neutrals(&self) -> bool {
        let greys: Vec<f32> = (-64..=320).map(|i| i as f32 / 256.0).collect();
        let [mut r, mut g, mut b] = [greys.clone(), greys.clone(), greys];
        self.run(&mut r, &mut g, &mut b);
        r.iter().zip(&g).zip(&b).all(|((r, g), b)| (r - g).abs().max((b - g).abs()) < 0.5 / 65535.0 * 4.0)
    }
}

/// Steps one after the other on one encoded sRGB colour, then into `space`.
pub(super) fn follow<L: Lane>(steps: &[Step], c: Rgb<L>, space: Space) -> Rgb<L> {
    let (mut now, mut done) = (Space::Encoded, c);
    for (own, mask, kernel) in steps {
        done = kernel.eval(*own, mask, convert(done, now, *own));
        now = *own;
    }
    convert(done, now, space)
}

/// Converts, if that is needed.
pub(super) fn go(now: &mut Space, to: Space, planes: &mut Planes<'_>) {
    if *now != to {
        run(&Convert { from: *now, to }, to, &Mask::ALL, planes);
        *now = to;
    }
}
