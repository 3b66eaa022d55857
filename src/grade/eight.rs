//! 8-bit pixels through a look at once, dithered where that is wanted.
//!
//! What a look does to each channel alone at its beginning is a table of 256 values; what lies between is worked out in floating
//! point, a few hundred pixels at a time; a colour cube at the end is looked up in integers. Results are within one code of
//! the formulas in floating point, and nearly always equal.
//!
//! Over 500 lines because the tests that hold each way against the formulas stand beside the ways.

use bytemuck::cast_ref;
use multiversion::multiversion;

use super::codes::Codes;
use super::dither::dither;
use super::kernel::{Mask, Planes};
use super::op::AnyKernel;
use super::program::{Program, Step, go};
use super::space::Space;
use crate::lane::{Lut3d, Table};

/// Pixels taken at once: what is kept about them stays in the cache next to the processor.
const N: usize = 256;
/// Bits of the share between two grid points.
const FRACTION: u32 = 13;
const ONE: u32 = 1 << FRACTION;
/// What a code of the result is in the grid.
const CODE: f32 = 256.0;
/// Half a code to round, and what four truncated products lose on average.
const ROUND: u16 = 130;

/// A look for 8-bit pixels.
pub struct Eight<'a> {
    begin: Begin,
    /// What is left to work out, and the space that it begins in.
    middle: &'a [Step],
    space: Space,
    /// Curves in front of the cube, where they are not a part of the beginning.
    curves: Option<&'a [Table; 3]>,
    cube: Option<Cube>,
    strength: f32,
}

/// What becomes of a byte.
enum Begin {
    /// The result.
    Codes(Box<[[u8; 256]; 3]>),
    /// A place in the grid for each channel: `offset << FRACTION | share of the next point`.
    Places(Box<[[u32; 256]; 3]>),
    /// The same where it is a multiple of the byte: that many 4096ths of a share.
    Steps(u32),
    /// A number.
    Values(Box<[[f32; 256]; 3]>),
}

/// A colour cube whose points hold 16 bits for each channel, red lowest.
struct Cube {
    size: u32,
    grid: Vec<u64>,
    /// Smallest value and grid steps per unit, for each channel.
    min: [f32; 3],
    scale: [f32; 3],
}

/// Where chunks of pixels are worked on.
struct Desk {
    bytes: [[u8; N]; 3],
    places: [[u32; N]; 3],
    /// The corners of the tetrahedron that a colour lies in, and their shares, 16 bits for each channel.
    corners: [[u64; N]; 4],
    shares: [[u64; N]; 4],
    values: [[f32; N]; 3],
    given: [[f32; N]; 3],
    noise: [[f32; N]; 3],
    /// What is added before the last bits are cut off; red, green, blue and one that is not used.
    round: [[u16; 4]; N],
    out: [[u8; 4]; N],
}

impl<'a> Eight<'a> {
    /// The look for bytes; dithered results need another one than rounded.
    pub fn new(program: &'a Program, dithered: bool) -> Self {
        if let Some((before, cube)) = program.separable()
            && cube.is_none_or(fits)
            && (cube.is_some() || !dithered)
        {
            let table = |c: usize, code: usize| before([code as f32 / 255.0; 3])[c];
            let begin = match cube {
                Some(cube) => match steps(cube, table) {
                    Some(step) => Begin::Steps(step),
                    None => Begin::Places(tables(|c, code| place(cube, c, table(c, code)))),
                },
                None => Begin::Codes(tables(|c, code| (table(c, code).clamp(0.0, 1.0) * 255.0).round() as u8)),
            };
            let cube = cube.map(Cube::new);
            return Self { begin, middle: &[], space: Space::Encoded, curves: None, cube, strength: 1.0 };
        }
        let (codes, steps, strength) = program.parts();
        let (from, space) = codes.map_or((0, Space::Encoded), |c: &Codes| (c.steps, c.space));
        let begin = Begin::Values(tables(|c, code| codes.map_or(code as f32 / 255.0, |k| k.at(c, code))));
        // A cube at the very end may be looked up in integers.
        let (mut middle, mut curves, mut cube) = (&steps[from..], None, None);
        if let Some(((Space::Encoded, Mask::ALL, AnyKernel::LutFile(lut)), rest)) = middle.split_last()
            && let Some(last) = lut.0.cube.as_ref().filter(|c| strength == 1.0 && fits(c) && !lut.0.carries)
        {
            (middle, curves, cube) = (rest, lut.0.curves.as_ref(), Some(Cube::new(last)));
        }
        Self { begin, middle, space, curves, cube, strength }
    }

    /// Changes encoded sRGB pixels in place, each result rounded; `channels` is 3, or 4 with alpha, which stays.
    pub fn run(&self, pixels: &mut [u8], channels: usize) {
        self.rows(pixels, channels, 0, None);
    }

    /// The same for whole rows of `width` pixels from row `y` of a picture on, dithered.
    pub fn run_dithered(&self, pixels: &mut [u8], channels: usize, width: usize, y: usize) {
        self.rows(pixels, channels, y, Some(width));
    }

    fn rows(&self, pixels: &mut [u8], channels: usize, y: usize, width: Option<usize>) {
        match channels {
            4 => self.each_row(pixels.as_chunks_mut::<4>().0, y, width),
            _ => self.each_row(pixels.as_chunks_mut::<3>().0, y, width),
        }
    }

    fn each_row<const C: usize>(&self, pixels: &mut [[u8; C]], y: usize, width: Option<usize>) {
        if let Begin::Codes(tables) = &self.begin {
            return curves(tables, pixels);
        }
        let mut desk = Desk::new();
        let dithered = width.is_some();
        let width = width.unwrap_or(pixels.len()).max(1);
        for (row, pixels) in pixels.chunks_mut(width).enumerate() {
            for (i, pixels) in pixels.chunks_mut(N).enumerate() {
                if dithered {
                    desk.shake(i * N, y + row, self.cube.is_some());
                }
                self.chunk(&mut desk, pixels);
            }
        }
    }

    fn chunk<const C: usize>(&self, desk: &mut Desk, pixels: &mut [[u8; C]]) {
        split(pixels, &mut desk.bytes);
        let [x, y, z] = &mut desk.places;
        let [r, g, b] = &desk.bytes;
        match &self.begin {
            Begin::Codes(_) => return,
            Begin::Places(t) => (0..3).for_each(|c| look_up(&t[c], &desk.bytes[c], &mut desk.places[c])),
            Begin::Steps(step) => {
                let size = self.cube.as_ref().map_or(0, |c| c.size);
                stepped(*step, 1, r, x);
                stepped(*step, size, g, y);
                stepped(*step, size * size, b, z);
            }
            Begin::Values(t) => {
                for c in 0..3 {
                    look_up(&t[c], &desk.bytes[c], &mut desk.values[c]);
                    if self.strength < 1.0 {
                        desk.given[c] = desk.bytes[c].map(|v| f32::from(v) / 255.0);
                    }
                }
                self.work(desk, pixels.len());
            }
        }
        let Some(cube) = &self.cube else {
            (0..3).for_each(|c| quantise(&desk.values[c], &desk.noise[c], &mut desk.bytes[c]));
            return join(&desk.bytes, pixels);
        };
        if matches!(self.begin, Begin::Values(_)) {
            for c in 0..3 {
                let stride = cube.size.pow(c as u32);
                placed(cube.min[c], cube.scale[c], cube.size - 1, stride, &desk.values[c], &mut desk.places[c]);
            }
        }
        corners(cube, &desk.places, &mut desk.corners, &mut desk.shares);
        sum(&desk.corners, &desk.shares, &desk.round, &mut desk.out);
        take(&desk.out, pixels);
    }

    /// What is worked out in floating point, on the first `n` values; they end up encoded.
    fn work(&self, desk: &mut Desk, n: usize) {
        let [r, g, b] = &mut desk.values;
        let mut planes = Planes { r: &mut r[..n], g: &mut g[..n], b: &mut b[..n] };
        let mut now = self.space;
        for (space, mask, kernel) in self.middle {
            go(&mut now, *space, &mut planes);
            kernel.run(*space, mask, &mut planes);
        }
        go(&mut now, Space::Encoded, &mut planes);
        if self.strength < 1.0 {
            for (v, was) in desk.values.iter_mut().flatten().zip(desk.given.iter().flatten()) {
                *v = was + (*v - was) * self.strength;
            }
        }
        if let Some(tables) = self.curves {
            (0..3).for_each(|c| curved(&tables[c], &mut desk.values[c]));
        }
    }
}

impl Cube {
    fn new(cube: &Lut3d) -> Self {
        let entry = |[r, g, b]: [f32; 3]| {
            let part = |v: f32| (v.clamp(0.0, 1.0) * 255.0 * CODE).round() as u64;
            part(r) | part(g) << 16 | part(b) << 32
        };
        let last = (cube.size() - 1) as f32;
        let scale = [0, 1, 2].map(|c| last / (cube.max()[c] - cube.min()[c]));
        Self { size: cube.size() as u32, grid: cube.colours().map(entry).collect(), min: cube.min(), scale }
    }
}

impl Desk {
    fn new() -> Self {
        Self {
            bytes: [[0; N]; 3],
            places: [[0; N]; 3],
            corners: [[0; N]; 4],
            shares: [[0; N]; 4],
            values: [[0.0; N]; 3],
            given: [[0.0; N]; 3],
            noise: [[0.0; N]; 3],
            round: [[ROUND; 4]; N],
            out: [[0; 4]; N],
        }
    }

    /// Noise for the pixels from column `x` of row `y` on.
    fn shake(&mut self, x: usize, y: usize, whole: bool) {
        for (c, noise) in self.noise.iter_mut().enumerate() {
            noise.fill(0.0);
            dither(noise, x, y, c);
        }
        if whole {
            rounding(&self.noise, &mut self.round);
        }
    }
}

/// Whether a cube may be held in 16 bits: no larger than its indices may be, and nothing beyond black and white, which must not
/// be clipped before it is mixed.
fn fits(cube: &Lut3d) -> bool {
    cube.size() <= 80 && cube.colours().flatten().all(|v| (0.0..=1.0).contains(&v))
}

fn tables<T: Copy + Default>(f: impl Fn(usize, usize) -> T) -> Box<[[T; 256]; 3]> {
    let mut tables = Box::new([[T::default(); 256]; 3]);
    for (c, table) in tables.iter_mut().enumerate() {
        table.iter_mut().enumerate().for_each(|(code, v)| *v = f(c, code));
    }
    tables
}

/// Where a value lies on an axis of a cube, in shares of a grid step.
fn along(cube: &Lut3d, axis: usize, v: f32) -> f32 {
    let last = (cube.size() - 1) as f32;
    ((v - cube.min()[axis]) * (last / (cube.max()[axis] - cube.min()[axis]))).max(0.0).min(last) * ONE as f32
}

fn place(cube: &Lut3d, axis: usize, v: f32) -> u32 {
    let p = along(cube, axis, v).round() as u32;
    ((p >> FRACTION) * cube.size().pow(axis as u32) as u32 * ONE) | (p & (ONE - 1))
}

/// The places of all codes as multiples of one number, if they are.
fn steps(cube: &Lut3d, table: impl Fn(usize, usize) -> f32) -> Option<u32> {
    let step = ((cube.size() - 1) as f64 * f64::from(ONE) * 4096.0 / 255.0).round() as u32;
    let near = |c: usize, code: usize| (along(cube, c, table(c, code)) - (code as u32 * step) as f32 / 4096.0).abs() < 0.6;
    (0..3).all(|c| (0..256).all(|code| near(c, code))).then_some(step)
}

fn curves<const C: usize>(tables: &[[u8; 256]; 3], pixels: &mut [[u8; C]]) {
    for p in pixels {
        for c in 0..3 {
            p[c] = tables[c][usize::from(p[c])];
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn split<const C: usize>(pixels: &[[u8; C]], [r, g, b]: &mut [[u8; N]; 3]) {
    for (((p, r), g), b) in pixels.iter().zip(r).zip(g).zip(b) {
        (*r, *g, *b) = (p[0], p[1], p[2]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn join<const C: usize>([r, g, b]: &[[u8; N]; 3], pixels: &mut [[u8; C]]) {
    for (((p, r), g), b) in pixels.iter_mut().zip(r).zip(g).zip(b) {
        [p[0], p[1], p[2]] = [*r, *g, *b];
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn take<const C: usize>(out: &[[u8; 4]; N], pixels: &mut [[u8; C]]) {
    for (p, o) in pixels.iter_mut().zip(out) {
        [p[0], p[1], p[2]] = [o[0], o[1], o[2]];
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma"))]
fn look_up<T: Copy>(table: &[T; 256], bytes: &[u8; N], out: &mut [T; N]) {
    for (v, o) in bytes.iter().zip(out) {
        *o = table[usize::from(*v)];
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn stepped(step: u32, stride: u32, bytes: &[u8; N], places: &mut [u32; N]) {
    for (v, o) in bytes.iter().zip(places) {
        let p = (u32::from(*v) * step + 2048) >> 12;
        *o = ((p >> FRACTION) * stride * ONE) | (p & (ONE - 1));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn placed(min: f32, scale: f32, last: u32, stride: u32, values: &[f32; N], places: &mut [u32; N]) {
    let most = (last * ONE) as f32;
    let scale = scale * ONE as f32;
    for (v, o) in values.iter().zip(places) {
        // Adding 2^23 leaves the nearest whole number in the low bits.
        let p = (((v - min) * scale).max(0.0).min(most) + 8_388_608.0).to_bits() & 0x7f_ffff;
        *o = ((p >> FRACTION) * stride * ONE) | (p & (ONE - 1));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn curved(table: &Table, values: &mut [f32; N]) {
    for v in values {
        *v = table.eval(*v);
    }
}

/// `noise` is what [`dither`] adds, or 0.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn quantise(values: &[f32; N], noise: &[f32; N], bytes: &mut [u8; N]) {
    for ((v, noise), o) in values.iter().zip(noise).zip(bytes) {
        // NaN becomes black.
        let v = (v + noise).max(0.0);
        *o = (v.min(1.0) * 255.0 + 8_388_608.0).to_bits() as u8;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn rounding([r, g, b]: &[[f32; N]; 3], round: &mut [[u16; 4]; N]) {
    // Never below 0: the noise is less than half a code.
    let all = |v: f32| (v * (255.0 * CODE) + (8_388_608.0 + f32::from(ROUND))).to_bits() as u16;
    for (((round, r), g), b) in round.iter_mut().zip(r).zip(g).zip(b) {
        *round = [all(*r), all(*g), all(*b), ROUND];
    }
}

/// As [`Lut3d::eval`]. Processors without fast gathers are quicker with one pixel at a time, which is what no target means.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma"))]
fn corners(cube: &Cube, [xs, ys, zs]: &[[u32; N]; 3], corners: &mut [[u64; N]; 4], shares: &mut [[u64; N]; 4]) {
    let (green, blue) = (cube.size, cube.size * cube.size);
    let all = 1 + green + blue;
    let grid = cube.grid.as_slice();
    let [o, a, b, w] = corners;
    let [so, sa, sb, sw] = shares;
    for i in 0..N {
        let (px, py, pz) = (xs[i], ys[i], zs[i]);
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
        (o[i], a[i], b[i], w[i]) = (at(base), at(base + first), at(base + all - last), at(base + all));
        // 65535 for all of it, four times side by side.
        let wide = |w: u32| {
            let w = (w << 3) - (w >> FRACTION);
            let two = w | w << 16;
            u64::from(two) | u64::from(two) << 32
        };
        (so[i], sa[i], sb[i], sw[i]) = (wide(ONE - high), wide(high - middle), wide(middle - low), wide(low));
    }
}

/// Corners times shares, added up for each channel and cut to 8 bits.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn sum(corners: &[[u64; N]; 4], shares: &[[u64; N]; 4], round: &[[u16; 4]; N], out: &mut [[u8; 4]; N]) {
    const ALL: usize = 4 * N;
    let [ca, cb, cc, cd]: [&[u16; ALL]; 4] = [cast_ref(&corners[0]), cast_ref(&corners[1]), cast_ref(&corners[2]), cast_ref(&corners[3])];
    let [sa, sb, sc, sd]: [&[u16; ALL]; 4] = [cast_ref(&shares[0]), cast_ref(&shares[1]), cast_ref(&shares[2]), cast_ref(&shares[3])];
    let (round, out) = (round.as_flattened(), out.as_flattened_mut());
    for (i, (o, round)) in out.iter_mut().zip(round).enumerate() {
        let part = |c: u16, s: u16| ((u32::from(c) * u32::from(s)) >> 16) as u16;
        let ends = part(ca[i], sa[i]).wrapping_add(part(cd[i], sd[i]));
        let sum = part(cb[i], sb[i]).wrapping_add(part(cc[i], sc[i])).wrapping_add(ends);
        *o = (sum.wrapping_add(*round) >> 8) as u8;
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

    const BEFORE: &str = "[[op]]\ntype = \"exposure\"\nstops = 0.4\n[[op]]\ntype = \"curves\"\nred = [[0, 0.1], [1, 0.9]]\n";
    const MIXED: &str = "[[op]]\ntype = \"cdl\"\npower = [0.9, 1, 1.1]\nsaturation = 1.3\n[[op]]\ntype = \"vibrance\"\namount = 0.4\n\
        [[op]]\ntype = \"exposure\"\nstops = 0.5\nluma = [0.2, 0.6]\nluma_softness = 0.2\nopacity = 0.7\n";

    /// Every kind of look there is a way for: cubes of several sizes, with and without something before them, and formulas.
    fn programs(folder: &std::path::Path) -> Vec<Program> {
        for (name, n) in [("a", 33), ("b", 65), ("c", 2)] {
            let f = |[r, g, b]: [f32; 3]| [r * r * (3.0 - 2.0 * r), 0.9 * g + 0.1 * b, (b * 0.8 + r * 0.2).sqrt()];
            let lut = Lut::from_cube("", Lut3d::from_fn(n, f).unwrap());
            std::fs::write(folder.join(format!("{name}.cube")), lut.to_cube().unwrap()).unwrap();
        }
        let lut = |name: &str| format!("[[op]]\ntype = \"lut\"\nfile = \"{name}.cube\"\n");
        let wide = Lut3d::from_fn(17, |[r, g, b]| [r * 1.4 - 0.2, g, b * b]).unwrap();
        std::fs::write(folder.join("wide.cube"), Lut::from_cube("", wide).to_cube().unwrap()).unwrap();
        let texts = [lut("a"), lut("b"), lut("c"), BEFORE.to_owned(), BEFORE.to_owned() + &lut("a"), MIXED.to_owned()];
        let more = [MIXED.to_owned() + &lut("a"), lut("wide"), lut("a") + MIXED, MIXED.to_owned() + BEFORE + &lut("b")];
        let mut all: Vec<Program> = texts.iter().chain(&more).map(|t| program(folder, t)).collect();
        all.push(Program::new(&[Look::parse("t", &(MIXED.to_owned() + &lut("a")), folder).unwrap()], 0.6).unwrap());
        all
    }

    fn given() -> Vec<u8> {
        let mut pixels: Vec<u8> = (0..15_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        pixels.extend([0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0]);
        pixels
    }

    #[test]
    fn codes_equal_the_formulas() {
        let folder = tempfile::tempdir().unwrap();
        for (k, program) in programs(folder.path()).iter().enumerate() {
            let eight = Eight::new(program, false);
            let (given, mut pixels, mut differ) = (given(), given(), 0);
            eight.run(&mut pixels, 3);
            for (got, was) in pixels.chunks(3).zip(given.chunks(3)) {
                let want = program.colour([0, 1, 2].map(|c| f32::from(was[c]) / 255.0));
                for c in 0..3 {
                    let want = want[c].clamp(0.0, 1.0) * 255.0;
                    assert!((f32::from(got[c]) - want).abs() < 0.53, "{k} {was:?}: {got:?}, not {want}");
                    differ += usize::from(f32::from(got[c]) != want.round());
                }
            }
            assert!(differ < 150, "{k}: {differ} of 15000 codes differ");
            // Alpha stays.
            let mut with: Vec<u8> = given.chunks(3).flat_map(|p| [p[0], p[1], p[2], 77]).collect();
            eight.run(&mut with, 4);
            assert!(with.chunks(4).zip(pixels.chunks(3)).all(|(a, b)| a[..3] == *b && a[3] == 77));
        }
    }

    /// As when values are dithered and rounded one after the other, but for what lies on the edge.
    #[test]
    fn dithered_codes_equal_dithered_values() {
        let folder = tempfile::tempdir().unwrap();
        for (k, program) in programs(folder.path()).iter().enumerate() {
            let (width, first) = (301, 5);
            // Sixteen rows of more than one chunk each.
            let given = &given()[..3 * width * 16];
            let mut pixels = given.to_vec();
            Eight::new(program, true).run_dithered(&mut pixels, 3, width, first);
            let mut differ = 0;
            for (y, (got, was)) in pixels.chunks(3 * width).zip(given.chunks(3 * width)).enumerate() {
                let colours: Vec<[f32; 3]> = was.chunks(3).map(|p| program.colour([0, 1, 2].map(|c| f32::from(p[c]) / 255.0))).collect();
                for c in 0..3 {
                    let mut row: Vec<f32> = colours.iter().map(|v| v[c]).collect();
                    dither(&mut row, 0, first + y, c);
                    for (x, v) in row.iter().enumerate() {
                        let (want, got) = (v.clamp(0.0, 1.0) * 255.0, f32::from(got[3 * x + c]));
                        assert!((got - want).abs() < 0.53, "{k} {x} {y} {c}: {got}, not {want}");
                        differ += usize::from(got != want.round());
                    }
                }
            }
            assert!(differ < 320, "{k}: {differ} of 14448 codes differ");
        }
        // What is on a code stays there, wherever it is.
        let same = Lut::from_cube("", Lut3d::from_fn(33, |c| c).unwrap());
        std::fs::write(folder.path().join("same.cube"), same.to_cube().unwrap()).unwrap();
        let program = program(folder.path(), "[[op]]\ntype = \"lut\"\nfile = \"same.cube\"\n");
        let mut pixels = given();
        pixels.truncate(15_000);
        Eight::new(&program, true).run_dithered(&mut pixels, 3, 200, 0);
        assert_eq!(pixels, given()[..15_000]);
    }
}
