//! 8-bit pixels through a look at once.
//!
//! What a look does to each channel alone is a table of 256 values; what follows may be one colour cube, in integers. Results are
//! within one code of the formulas in floating point, and nearly always equal. Looks that are more than that have no such way.

use multiversion::multiversion;

use super::program::Program;
use crate::lane::Lut3d;

/// A look for 8-bit pixels.
pub struct Eight {
    /// For each channel and code: the result, or its place in the grid as `offset << FRACTION | share of the next point`.
    tables: Box<[[u32; 256]; 3]>,
    cube: Option<Cube>,
}

/// A colour cube whose points hold 15 bits for each channel, 16 apart, red lowest. So few that processors may multiply them as
/// signed 16-bit numbers, several at once.
struct Cube {
    size: u32,
    grid: Vec<u64>,
}

/// Bits of the share between two grid points.
const FRACTION: u32 = 13;
/// What a code of the result is in the grid.
const CODE: f32 = 128.0;

impl Eight {
    /// The look as tables, if it can be: channels on their own, then at most one cube of up to 80 points within 0..=1.
    pub fn new(program: &Program) -> Option<Self> {
        let (before, cube) = program.separable()?;
        let cube = match cube {
            // Points beyond black and white must not be clipped before the mix.
            Some(cube) if cube.size() > 80 || cube.colours().flatten().any(|v| !(0.0..=1.0).contains(&v)) => return None,
            cube => cube,
        };
        let mut tables = Box::new([[0; 256]; 3]);
        for code in 0..256 {
            let colour = before([code as f32 / 255.0; 3]);
            for c in 0..3 {
                tables[c][code] = match cube {
                    Some(cube) => place(cube, c, colour[c]),
                    None => (colour[c].clamp(0.0, 1.0) * 255.0).round() as u32,
                };
            }
        }
        let entry = |[r, g, b]: [f32; 3]| {
            let part = |v: f32| (v.clamp(0.0, 1.0) * 255.0 * CODE).round() as u64;
            part(r) | part(g) << 16 | part(b) << 32
        };
        let cube = cube.map(|cube| Cube { size: cube.size() as u32, grid: cube.colours().map(entry).collect() });
        Some(Self { tables, cube })
    }

    /// Changes encoded sRGB pixels in place; `channels` is 3, or 4 with alpha, which stays.
    pub fn run(&self, pixels: &mut [u8], channels: usize) {
        match (&self.cube, channels) {
            (Some(cube), 4) => tetrahedral(&self.tables, cube, pixels.as_chunks_mut::<4>().0),
            (Some(cube), _) => tetrahedral(&self.tables, cube, pixels.as_chunks_mut::<3>().0),
            (None, 4) => curves(&self.tables, pixels.as_chunks_mut::<4>().0),
            (None, _) => curves(&self.tables, pixels.as_chunks_mut::<3>().0),
        }
    }
}

/// Where a value lies on an axis of a cube.
fn place(cube: &Lut3d, axis: usize, v: f32) -> u32 {
    let last = (cube.size() - 1) as f32;
    let p = ((v - cube.min()[axis]) * (last / (cube.max()[axis] - cube.min()[axis]))).max(0.0).min(last);
    let p = (p * (1 << FRACTION) as f32).round() as u32;
    let stride = cube.size().pow(axis as u32) as u32;
    ((p >> FRACTION) * stride) << FRACTION | p & ((1 << FRACTION) - 1)
}

fn curves<const N: usize>(tables: &[[u32; 256]; 3], pixels: &mut [[u8; N]]) {
    for p in pixels {
        for c in 0..3 {
            p[c] = tables[c][usize::from(p[c])] as u8;
        }
    }
}

/// As [`Lut3d::eval`]. Processors without fast gathers are quicker with one pixel at a time, which is what no target means.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma"))]
fn tetrahedral<const N: usize>(tables: &[[u32; 256]; 3], cube: &Cube, pixels: &mut [[u8; N]]) {
    const ONE: u32 = 1 << FRACTION;
    let (green, blue) = (cube.size, cube.size * cube.size);
    let all = 1 + green + blue;
    let grid = cube.grid.as_slice();
    for p in pixels {
        let [px, py, pz] = [tables[0][usize::from(p[0])], tables[1][usize::from(p[1])], tables[2][usize::from(p[2])]];
        let (x, y, z) = (px & (ONE - 1), py & (ONE - 1), pz & (ONE - 1));
        let base = (px >> FRACTION) + (py >> FRACTION) + (pz >> FRACTION);
        let (high, low) = (x.max(y).max(z), x.min(y).min(z));
        let middle = x.max(y).min(x.min(y).max(z));
        let first = if x >= high {
            1
        } else if y >= high {
            green
        } else {
            blue
        };
        let last = if z <= low {
            blue
        } else if y <= low {
            green
        } else {
            1
        };
        // Beyond the last point only where the share is 0.
        let at = |i: u32| grid.get(i as usize).copied().unwrap_or(0);
        let (o, a, b, w) = (at(base), at(base + first), at(base + all - last), at(base + all));
        // Cut so that the compiler sees how small they are.
        let small = |w: u32| w & (2 * ONE - 1);
        let (po, pa, pb, pw) = (small(ONE - high), small(high - middle), small(middle - low), low);
        let channel = |shift: u32| {
            let part = |v: u64| (v >> shift) as u32 & 0x7fff;
            let sum = part(o) * po + part(a) * pa + part(b) * pb + part(w) * pw;
            ((sum + (1 << (FRACTION + 6))) >> (FRACTION + 7)) as u8
        };
        [p[0], p[1], p[2]] = [channel(0), channel(16), channel(32)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::Look;
    use crate::grade::lut::Lut;

    fn program(folder: &std::path::Path, text: &str) -> Program {
        Program::new(&[Look::parse("t", text, folder).unwrap()], 1.0).unwrap()
    }

    #[test]
    fn codes_equal_the_formulas() {
        let folder = tempfile::tempdir().unwrap();
        for (name, n) in [("a", 33), ("b", 65), ("c", 2)] {
            let f = |[r, g, b]: [f32; 3]| [r * r * (3.0 - 2.0 * r), 0.9 * g + 0.1 * b, (b * 0.8 + r * 0.2).sqrt()];
            let lut = Lut::from_cube("", Lut3d::from_fn(n, f).unwrap());
            std::fs::write(folder.path().join(format!("{name}.cube")), lut.to_cube().unwrap()).unwrap();
        }
        let before = "[[op]]\ntype = \"exposure\"\nstops = 0.4\n[[op]]\ntype = \"curves\"\nred = [[0, 0.1], [1, 0.9]]\n";
        let lut = |name: &str| format!("[[op]]\ntype = \"lut\"\nfile = \"{name}.cube\"\n");
        for text in [lut("a"), lut("b"), lut("c"), before.to_owned(), before.to_owned() + &lut("a")] {
            let program = program(folder.path(), &text);
            let eight = Eight::new(&program).unwrap();
            let mut pixels: Vec<u8> = (0..60_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            pixels.extend([0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0]);
            let (given, mut differ) = (pixels.clone(), 0);
            eight.run(&mut pixels, 3);
            for (got, was) in pixels.chunks(3).zip(given.chunks(3)) {
                let want = program.colour([0, 1, 2].map(|c| f32::from(was[c]) / 255.0));
                for c in 0..3 {
                    let want = want[c].clamp(0.0, 1.0) * 255.0;
                    assert!((f32::from(got[c]) - want).abs() < 0.53, "{was:?}: {got:?}, not {want}");
                    differ += usize::from(f32::from(got[c]) != want.round());
                }
            }
            assert!(differ < 600, "{differ} of 60000 codes differ");
            // Alpha stays.
            let mut with: Vec<u8> = given.chunks(3).flat_map(|p| [p[0], p[1], p[2], 77]).collect();
            eight.run(&mut with, 4);
            assert!(with.chunks(4).zip(pixels.chunks(3)).all(|(a, b)| a[..3] == *b && a[3] == 77));
        }
    }

    #[test]
    fn what_mixes_channels_has_no_such_way() {
        let none = std::path::Path::new("");
        assert!(Eight::new(&program(none, "[[op]]\ntype = \"saturation\"\namount = 0.5\n")).is_none());
        assert!(Eight::new(&program(none, "[[op]]\ntype = \"exposure\"\nstops = 1\nluma = [0, 0.5]\n")).is_none());
        assert!(Eight::new(&program(none, "[[op]]\ntype = \"exposure\"\nstops = 1\n")).is_some());
    }
}
