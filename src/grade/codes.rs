//! The beginning of a look, looked up for 8-bit values.
//!
//! Pixels of 8-bit files have 256 values. As long as a look changes each channel alone, what it makes of them is a table, worked
//! out with the very formulas that it stands for; powers and transfer functions then cost no more than a load.

use multiversion::multiversion;

use super::kernel::Planes;
use super::op::AnyKernel;
use super::program::{Step, follow};
use super::space::Space;
use crate::lane::trace::trace;

/// What the first steps of a program make of each code.
pub(super) struct Codes {
    /// How many steps it stands for.
    pub steps: usize,
    /// What the results are.
    pub space: Space,
    tables: Box<[[f32; 256]; 3]>,
}

impl Codes {
    /// The longest beginning that changes each channel alone; `None` if there is none.
    pub fn new(steps: &[Step]) -> Option<Self> {
        // No cube is one, and writing it down would copy it.
        let is_cube = |k: &AnyKernel| matches!(k, AnyKernel::LutFile(lut) if lut.0.cube.is_some());
        let most = steps.iter().position(|(_, _, k)| is_cube(k)).unwrap_or(steps.len());
        let space_after = |n: usize| match steps.get(n) {
            Some((Space::Oklab, ..)) => n.checked_sub(1).map_or(Space::Linear, |last| steps[last].0),
            Some((space, ..)) => *space,
            None => Space::Encoded,
        };
        let separable = |n: &usize| trace(|c, _| follow(&steps[..*n], c, space_after(*n))).is_separable();
        // Even where there is none, the way into linear light is.
        let on_the_way = steps.first().is_some_and(|(space, ..)| *space != Space::Encoded);
        let count = (1..=most).rev().find(separable).or(on_the_way.then_some(0))?;
        let mut tables = Box::new([[0.0; 256]; 3]);
        for code in 0..256 {
            let colour = follow(&steps[..count], [code as f32 / 255.0; 3], space_after(count));
            (0..3).for_each(|c| tables[c][code] = colour[c]);
        }
        Some(Self { steps: count, space: space_after(count), tables })
    }

    /// What becomes of a channel's code.
    pub fn at(&self, channel: usize, code: usize) -> f32 {
        self.tables[channel][code]
    }

    /// Takes the steps on all pixels, if every value is a code; else nothing is changed.
    pub fn run(&self, p: &mut Planes<'_>) -> bool {
        let all = are_codes(p.r) && are_codes(p.g) && are_codes(p.b);
        if all {
            for (plane, table) in [&mut *p.r, &mut *p.g, &mut *p.b].into_iter().zip(self.tables.iter()) {
                look_up(table, plane);
            }
        }
        all
    }
}

/// Adding it leaves the nearest whole number in the low bits of a float.
const WHOLE: f32 = 8_388_608.0;

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn are_codes(plane: &[f32]) -> bool {
    let other = |v: &f32| {
        let v = v * 255.0;
        let off = ((v + WHOLE) - WHOLE - v).abs();
        // Written so that NaN is none.
        u32::from(!(off <= 2e-5 && (0.0..=255.0).contains(&v)))
    };
    // The first few tell nearly always.
    let (first, rest) = plane.split_at(plane.len().min(16));
    first.iter().fold(0, |sum, v| sum | other(v)) == 0 && rest.iter().fold(0, |sum, v| sum | other(v)) == 0
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma"))]
fn look_up(table: &[f32; 256], plane: &mut [f32]) {
    for v in plane {
        *v = table[((*v * 255.0 + WHOLE).to_bits() & 255) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::super::program::Program;
    use crate::grade::Look;

    #[test]
    fn looked_up_equals_computed() {
        let text = "[[op]]\ntype = \"exposure\"\nstops = 0.7\n[[op]]\ntype = \"cdl\"\nslope = [1.1, 1, 0.9]\npower = [0.9, 1, 1.2]\nsaturation = 1.3\n\
            [[op]]\ntype = \"contrast\"\namount = 1.3\n[[op]]\ntype = \"vibrance\"\namount = 0.5\n";
        let program = Program::new(&[Look::parse("t", text, std::path::Path::new("")).unwrap()], 1.0).unwrap();
        // Exposure and the CDL up to its saturation.
        assert_eq!(program.looked_up(), 2);
        let codes: Vec<[f32; 3]> = (0..3000).map(|i| [i % 256, i * 7 % 256, i * 31 % 256].map(|v| v as f32 / 255.0)).collect();
        let run = |colours: &[[f32; 3]]| {
            let [mut r, mut g, mut b] = [0, 1, 2].map(|c| colours.iter().map(|v| v[c]).collect::<Vec<f32>>());
            program.run(&mut r, &mut g, &mut b);
            (0..r.len()).map(|i| [r[i], g[i], b[i]]).collect::<Vec<_>>()
        };
        let quick = run(&codes);
        for (given, got) in codes.iter().zip(&quick) {
            let want = program.eval(*given);
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{given:?}: {got:?}, not {want:?}");
        }
        // One value between two codes, and its whole portion is computed.
        let mut other = codes.clone();
        other[700] = [0.5001, 0.2, 0.3];
        other[20] = [-0.2, 1.4, f32::NAN];
        let got = run(&other);
        assert!(got.iter().zip(&quick).enumerate().all(|(i, (a, b))| i == 700 || i == 20 || (0..3).all(|c| (a[c] - b[c]).abs() < 1e-5)));
    }
}
