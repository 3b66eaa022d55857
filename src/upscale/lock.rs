//! Colour lock: a network's result agrees with its source again when reduced to the source's size.
//!
//! Networks trained for looks shift colours, raise contrast and repaint. With D for antialiased cubic reduction, S the source
//! and N the network's result, the stage gives
//!
//! ```text
//! out = up(a) * N + enlarge(sharpen(S' - a D(N)))
//! ```
//!
//! 1. **Local gain.** `a`, one for all channels, is the slope of the regression of S on D(N) over about 5 x 5 source pixels,
//!    drawn to 1 where there is nothing to learn from (the guided filter of He, Sun, Tang, "Guided Image Filtering", PAMI
//!    2013, with the result as guide). It takes back exaggerated contrast without touching the shape of edges.
//! 2. **Rest.** What still differs, `R = S - (a D(N) + b)`, is corrected except for a `tolerance` in CIEDE2000 units:
//!    S' = a D(N) + b + R * max(0, 1 - tolerance / dE(R)). Differences below it (grain, the network's denoising) stay.
//! 3. **Exactly.** `sharpen` inverts what enlarging and reducing again does to S', so D(out) = S' up to the smoothness of `a`.
//!
//! Everything but 1 to 3's last step happens at the source's size. Rows are computed one at a time from fixed neighbours, so
//! the result does not depend on how the stream is cut. At the picture's border all kernels are cut and renormalised, as
//! resampling does.

mod filter;

use std::collections::VecDeque;

use crate::band::{Band, Sink, Stage};
use crate::error::{Error, Result};
use filter::{Enlarge, Taps};

/// Variance (of nominal 0..1 values) below which the local gain is drawn to 1.
const GAIN_FLOOR: f32 = 1e-4;
/// Largest local gain.
const GAIN_MOST: f32 = 2.0;
/// A band with more rows than this is handed on in parts, so that its memory is free before the next one comes.
const ROWS_HELD: usize = 128;

/// Columns worked on at once, so that what several rows share stays in the first-level cache.
const COLUMNS: usize = 256;

/// Hands out source rows `y0..y1` with the values that the network saw.
pub type SourceRows = Box<dyn FnMut(usize, usize) -> Band + Send>;

/// Rows `first..` of some planes, each a `Vec` of all planes' rows one after the other. Memory of dropped rows is used again.
#[derive(Debug)]
struct Rows {
    first: usize,
    rows: VecDeque<Vec<f32>>,
    spare: Vec<Vec<f32>>,
    length: usize,
}

impl Rows {
    fn new(planes: usize, width: usize) -> Self {
        Self { first: 0, rows: VecDeque::new(), spare: Vec::new(), length: planes * width }
    }

    fn end(&self) -> usize {
        self.first + self.rows.len()
    }

    fn row(&self, y: usize, plane: usize, width: usize) -> &[f32] {
        &self.rows[y - self.first][plane * width..(plane + 1) * width]
    }

    /// Memory for a row, with any content.
    fn blank(&mut self) -> Vec<f32> {
        self.spare.pop().unwrap_or_else(|| vec![0.0; self.length])
    }

    fn drop_above(&mut self, y: usize) {
        while self.first < y
            && let Some(row) = self.rows.pop_front()
        {
            self.spare.push(row);
            self.first += 1;
        }
    }
}

/// Row `y` of channel `c` of consecutive bands that hold it.
fn held(bands: &VecDeque<Band>, c: usize, y: usize) -> &[f32] {
    let band = bands.iter().find(|b| y < b.end()).unwrap_or(&bands[bands.len() - 1]);
    band.row(c, y - band.y)
}

/// The stage; see the module.
pub struct ColourLock {
    width: usize,
    height: usize,
    channels: usize,
    scale: usize,
    tolerance: f32,
    source: SourceRows,
    across: Filters,
    down: Filters,
    /// The network's rows, overwritten by the finished ones (no later row needs them any more); rows pushed.
    result: VecDeque<Band>,
    seen: usize,
    /// D(N) and S, then their blurred-along-the-row moments: D, S per channel, sum of D^2, sum of D S.
    reduced: Rows,
    moments: Rows,
    /// Gain and offset of each row, blurred along the row.
    fits: Rows,
    /// Gain; S' - a D(N), sharpened along the row.
    gains: Rows,
    targets: Rows,
    /// Gain, then corrections per channel, at the result's width.
    enlarged: Rows,
    done: usize,
}

#[derive(Debug)]
struct Filters {
    reduce: Taps,
    blur: Taps,
    sharpen: Taps,
    enlarge: Enlarge,
}

impl Filters {
    fn new(n: usize, scale: usize) -> Self {
        Self { reduce: Taps::reduce(n, scale), blur: Taps::blur(n), sharpen: Taps::sharpen(n, scale), enlarge: Enlarge::new(n, scale) }
    }
}

impl ColourLock {
    /// Differences left alone, CIEDE2000: leaves a mean below 0.5 on pictures of every kind.
    pub const TOLERANCE: f32 = 0.3;

    /// A lock for results of `scale` times the source's size. `channels` is 1 (grey) or 3 (RGB, display-encoded); the
    /// difference is measured as if the values were sRGB.
    ///
    /// # Errors
    /// [`Error::Internal`] for an empty picture, other channels or a scale below 1.
    pub fn new(source_w: usize, source_h: usize, channels: usize, scale: usize, source_rows: SourceRows) -> Result<Self> {
        if source_w == 0 || source_h == 0 || scale == 0 || !matches!(channels, 1 | 3) {
            return Err(Error::Internal(format!("colour lock of {source_w}x{source_h} x{scale} with {channels} channels")));
        }
        Ok(Self {
            width: source_w,
            height: source_h,
            channels,
            scale,
            tolerance: Self::TOLERANCE,
            source: source_rows,
            across: Filters::new(source_w, scale),
            down: Filters::new(source_h, scale),
            result: VecDeque::new(),
            seen: 0,
            reduced: Rows::new(2 * channels, source_w),
            moments: Rows::new(2 * channels + 2, source_w),
            fits: Rows::new(channels + 1, source_w),
            gains: Rows::new(1, source_w),
            targets: Rows::new(channels, source_w),
            enlarged: Rows::new(channels + 1, source_w * scale),
            done: 0,
        })
    }

    /// Leaves differences up to `delta_e` (CIEDE2000) alone instead of [`ColourLock::TOLERANCE`]. Around 3, little more than
    /// the local gain and offset acts: softer on what the network repainted, and further from the source.
    pub fn tolerance(mut self, delta_e: f32) -> Self {
        self.tolerance = delta_e.max(0.0);
        self
    }

    /// Computes every row whose context is there, one kind of row after the other.
    fn advance(&mut self, next: &mut Sink<'_>) -> Result<()> {
        loop {
            let before = (self.reduced.end(), self.fits.end(), self.targets.end(), self.enlarged.end(), self.done);
            self.reduce()?;
            self.fit();
            self.target();
            self.enlarge();
            self.emit(next)?;
            if before == (self.reduced.end(), self.fits.end(), self.targets.end(), self.enlarged.end(), self.done) {
                return Ok(());
            }
        }
    }

    /// Rows of D(N) and S, and of the moments.
    fn reduce(&mut self) -> Result<()> {
        let (w, n, large) = (self.width, self.channels, self.width * self.scale);
        let (mut high, mut products) = (vec![0.0; large], vec![0.0; 2 * w]);
        while self.moments.end() < self.height && self.down.reduce.end(self.moments.end()) <= self.seen {
            let y = self.moments.end();
            let source = (self.source)(y, y + 1);
            if (source.width, source.rows, source.channels) != (w, 1, n) {
                return Err(Error::Internal(format!("colour lock: source row {y} is {}x{}", source.width, source.channels)));
            }
            let mut row = self.reduced.blank();
            let (start, end) = (self.down.reduce.at(y).0, self.down.reduce.end(y));
            for c in 0..n {
                let rows: Vec<&[f32]> = (start..end).map(|y| held(&self.result, c, y)).collect();
                self.down.reduce.rows(y, &rows, &mut high);
                self.across.reduce.line(&high, &mut row[c * w..(c + 1) * w]);
            }
            row[n * w..].copy_from_slice(&source.data);
            products.fill(0.0);
            let (squares, mixed) = products.split_at_mut(w);
            for c in 0..n {
                let (d, s) = (&row[c * w..(c + 1) * w], &row[(n + c) * w..(n + c + 1) * w]);
                for (((q, m), d), s) in squares.iter_mut().zip(&mut *mixed).zip(d).zip(s) {
                    *q += d * d;
                    *m += d * s;
                }
            }
            let mut moments = self.moments.blank();
            for (from, to) in row.chunks_exact(w).chain(products.chunks_exact(w)).zip(moments.chunks_exact_mut(w)) {
                self.across.blur.line(from, to);
            }
            self.reduced.rows.push_back(row);
            self.moments.rows.push_back(moments);
        }
        Ok(())
    }

    /// Rows of gain and offset.
    fn fit(&mut self) {
        let (w, n) = (self.width, self.channels);
        let (mut m, mut fit) = (vec![0.0; (2 * n + 2) * w], vec![0.0; (n + 1) * w]);
        while self.fits.end() < self.height && self.down.blur.end(self.fits.end()) <= self.moments.end() {
            let y = self.fits.end();
            down(&self.down.blur, y, &self.moments, w, &mut m);
            let (means, products) = m.split_at_mut(2 * n * w);
            let (d, s) = means.split_at_mut(n * w);
            let (squares, mixed) = products.split_at_mut(w);
            let (gain, offsets) = fit.split_at_mut(w);
            for c in 0..n {
                let (d, s) = (&d[c * w..(c + 1) * w], &s[c * w..(c + 1) * w]);
                for (((q, m), d), s) in squares.iter_mut().zip(&mut *mixed).zip(d).zip(s) {
                    *q -= d * d;
                    *m -= d * s;
                }
            }
            let floor = GAIN_FLOOR * n as f32;
            for ((a, q), m) in gain.iter_mut().zip(&*squares).zip(&*mixed) {
                *a = ((m + floor) / (q.max(0.0) + floor)).clamp(0.0, GAIN_MOST);
            }
            for c in 0..n {
                let means = d[c * w..(c + 1) * w].iter().zip(&s[c * w..(c + 1) * w]);
                for ((b, a), (d, s)) in offsets[c * w..(c + 1) * w].iter_mut().zip(&*gain).zip(means) {
                    *b = s - a * d;
                }
            }
            let mut blurred = self.fits.blank();
            for (from, to) in fit.chunks_exact(w).zip(blurred.chunks_exact_mut(w)) {
                self.across.blur.line(from, to);
            }
            self.fits.rows.push_back(blurred);
            if y + 1 < self.height {
                self.moments.drop_above(self.down.blur.at(y + 1).0);
            }
        }
    }

    /// Rows of gain and of S' - a D(N).
    fn target(&mut self) {
        let (w, n) = (self.width, self.channels);
        let (mut fit, mut rest, mut share) = (vec![0.0; (n + 1) * w], vec![0.0; n * w], vec![0.0; w]);
        while self.targets.end() < self.height && self.down.blur.end(self.targets.end()) <= self.fits.end() {
            let y = self.targets.end();
            down(&self.down.blur, y, &self.fits, w, &mut fit);
            let (gain, offsets) = fit.split_at_mut(w);
            for c in 0..n {
                let (d, s) = (self.reduced.row(y, c, w), self.reduced.row(y, n + c, w));
                let row = rest[c * w..(c + 1) * w].iter_mut().zip(&offsets[c * w..(c + 1) * w]);
                for ((((r, b), a), d), s) in row.zip(&*gain).zip(d).zip(s) {
                    *r = s - (a * d + b);
                }
            }
            let source: Vec<&[f32]> = (0..n).map(|c| self.reduced.row(y, n + c, w)).collect();
            let parts: Vec<&[f32]> = rest.chunks_exact(w).collect();
            // Grey is R = G = B.
            let rgb = |v: &[&'_ [f32]], c: usize| -> usize { c.min(v.len() - 1) };
            let (s, r) = (|c| source[rgb(&source, c)], |c| parts[rgb(&parts, c)]);
            shares([s(0), s(1), s(2)], [r(0), r(1), r(2)], self.tolerance, &mut share);
            let mut sharp = self.targets.blank();
            for c in 0..n {
                let target = &mut offsets[c * w..(c + 1) * w];
                for ((b, r), k) in target.iter_mut().zip(&rest[c * w..(c + 1) * w]).zip(&share) {
                    *b += r * k;
                }
                self.across.sharpen.line(target, &mut sharp[c * w..(c + 1) * w]);
            }
            let mut row = self.gains.blank();
            row.copy_from_slice(gain);
            self.gains.rows.push_back(row);
            self.targets.rows.push_back(sharp);
            self.reduced.drop_above(y + 1);
            if y + 1 < self.height {
                self.fits.drop_above(self.down.blur.at(y + 1).0);
            }
        }
    }

    /// Rows of gain and correction at the result's width.
    fn enlarge(&mut self) {
        let (w, n, large) = (self.width, self.channels, self.width * self.scale);
        let mut sharp = vec![0.0; n * w];
        while self.enlarged.end() < self.height && self.down.sharpen.end(self.enlarged.end()) <= self.targets.end() {
            // No more than one kernel's worth is kept ahead of the output.
            if self.enlarged.rows.len() > 8 {
                break;
            }
            let y = self.enlarged.end();
            let mut row = self.enlarged.blank();
            self.across.enlarge.line(self.gains.row(y, 0, w), &mut row[..large]);
            down(&self.down.sharpen, y, &self.targets, w, &mut sharp);
            for (from, to) in sharp.chunks_exact(w).zip(row[large..].chunks_exact_mut(large)) {
                self.across.enlarge.line(from, to);
            }
            self.enlarged.rows.push_back(row);
            self.gains.drop_above(y + 1);
            if y + 1 < self.height {
                self.targets.drop_above(self.down.sharpen.at(y + 1).0);
            }
        }
    }

    /// Finished rows of the result, in the memory of the network's.
    fn emit(&mut self, next: &mut Sink<'_>) -> Result<()> {
        let (n, large, total) = (self.channels, self.width * self.scale, self.height * self.scale);
        let enlarge = &self.down.enlarge;
        while self.done < total && enlarge.end(self.done) <= self.enlarged.end() {
            let Some(band) = self.result.front_mut() else { break };
            // All rows of the band between the same rows of gain and correction.
            let from = self.done;
            let start = enlarge.row(from).0;
            let to = (from + 1..band.end()).find(|j| enlarge.row(*j).0 != start).unwrap_or(band.end());
            // Rows past the last have weight zero.
            let near = |plane: usize| [0, 1, 2, 3].map(|k| self.enlarged.row((start + k).min(self.height - 1), plane, large));
            let gains = near(0);
            let parts: Vec<_> = (1..=n).map(near).collect();
            for left in (0..large).step_by(COLUMNS) {
                let columns = left..(left + COLUMNS).min(large);
                for j in from..to {
                    let weights = enlarge.row(j).1;
                    let mut gain = [0.0; COLUMNS];
                    let gain = &mut gain[..columns.len()];
                    mix(gains.map(|row| &row[columns.clone()]), weights, |i, v| gain[i] = v);
                    for (plane, rows) in parts.iter().enumerate() {
                        let row = &mut band.row_mut(plane, j - band.y)[columns.clone()];
                        let gain = &gain[..row.len()];
                        mix(rows.map(|row| &row[columns.clone()]), weights, |i, v| row[i] = gain[i] * row[i] + v);
                    }
                }
            }
            self.done = to;
            if to < total {
                self.enlarged.drop_above(enlarge.row(to).0);
            }
            if self.done == band.end()
                && let Some(band) = self.result.pop_front()
            {
                next(band)?;
            }
        }
        Ok(())
    }

    /// Hands on the finished rows of a large band.
    fn release(&mut self, next: &mut Sink<'_>) -> Result<()> {
        if let Some(mut band) = self.result.pop_front_if(|b| b.rows > ROWS_HELD && self.done > b.y) {
            let (rows, keep, w) = (band.rows, self.done - band.y, band.width);
            self.result.push_front(band.slice(self.done, band.end()));
            for c in 1..band.channels {
                band.data.copy_within(c * rows * w..(c * rows + keep) * w, c * keep * w);
            }
            band.data.truncate(band.channels * keep * w);
            band.rows = keep;
            next(band)?;
        }
        Ok(())
    }
}

/// Calls `each` with every index and the weighted sum of the rows there.
#[inline(always)]
fn mix([a, b, c, d]: [&[f32]; 4], weights: [f32; 4], mut each: impl FnMut(usize, f32)) {
    for (i, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
        each(i, (weights[0] * a + weights[1] * b) + (weights[2] * c + weights[3] * d));
    }
}

/// Output row `y` of `filter` over all planes held in `rows`.
fn down(filter: &Taps, y: usize, rows: &Rows, width: usize, out: &mut [f32]) {
    let (start, end) = (filter.at(y).0, filter.end(y));
    for (plane, to) in out.chunks_exact_mut(width).enumerate() {
        let near: Vec<&[f32]> = (start..end).map(|y| rows.row(y, plane, width)).collect();
        filter.rows(y, &near, to);
    }
}

/// How much of a difference `rest` to make up for at colour `source` (sRGB), so that `tolerance` of its CIEDE2000 is left:
/// `max(0, 1 - tolerance / dE)`.
///
/// The difference is a first-order one at `source`, without CIEDE2000's hue rotation and with its hue term's mean weight; the
/// sRGB curve is a cubic. Together within a fifth of the exact value for small differences.
fn shares(source: [&[f32]; 3], rest: [&[f32]; 3], tolerance: f32, out: &mut [f32]) {
    let n = out.len();
    let [r, g, b] = source.map(|row| &row[..n]);
    let [dr, dg, db] = rest.map(|row| &row[..n]);
    for i in 0..n {
        let (x, dx) = light(r[i], dr[i]);
        let (y, dy) = light(g[i], dg[i]);
        let (z, dz) = light(b[i], db[i]);
        // Linear sRGB to XYZ over the white D65.
        let (x, dx, y, dy, z, dz) = (
            0.433_95 * x + 0.376_21 * y + 0.189_83 * z,
            0.433_95 * dx + 0.376_21 * dy + 0.189_83 * dz,
            0.212_67 * x + 0.715_16 * y + 0.072_17 * z,
            0.212_67 * dx + 0.715_16 * dy + 0.072_17 * dz,
            0.017_76 * x + 0.109_47 * y + 0.872_77 * z,
            0.017_76 * dx + 0.109_47 * dy + 0.872_77 * dz,
        );
        let ((fx, dfx), (fy, dfy), (fz, dfz)) = (root(x, dx), root(y, dy), root(z, dz));
        let l = 116.0 * fy - 16.0;
        let (a, da) = (500.0 * (fx - fy), 500.0 * (dfx - dfy));
        let (b, db) = (200.0 * (fy - fz), 200.0 * (dfy - dfz));
        let c2 = a * a + b * b;
        let c7 = c2 * c2 * c2 * c2.sqrt();
        let stretch = 1.5 - 0.5 * (c7 / (c7 + 6.103_515_6e9)).sqrt();
        let (a, da) = (a * stretch, da * stretch);
        let c2 = a * a + b * b;
        let c = c2.sqrt();
        let dc = (a * da + b * db) / (c + 1e-3);
        let dh2 = (da * da + db * db - dc * dc).max(0.0);
        let from_50 = (l - 50.0) * (l - 50.0);
        let dl = 116.0 * dfy / (1.0 + 0.015 * from_50 / (20.0 + from_50).sqrt());
        let dc = dc / (1.0 + 0.045 * c);
        let sh = 1.0 + 0.013 * c;
        let e = (dl * dl + dc * dc + dh2 / (sh * sh)).sqrt();
        out[i] = (1.0 - tolerance / e.max(1e-6)).max(0.0);
    }
}

/// Linear light of an sRGB value, and how it changes with `d`: the cubic that is closest over 0..1 (within 0.002).
#[inline(always)]
fn light(v: f32, d: f32) -> (f32, f32) {
    let v = v.clamp(0.0, 1.0);
    (v * (v * (v * 0.305_306 + 0.682_171_1) + 0.012_522_88), d * (v * (v * 0.915_918 + 1.364_342_2) + 0.012_522_88))
}

/// CIELAB's f and how it changes with `d`; the cube root by Newton steps from a guess in the exponent.
#[inline(always)]
fn root(t: f32, d: f32) -> (f32, f32) {
    const KNEE: f32 = 216.0 / 24389.0;
    const SLOPE: f32 = 24389.0 / 27.0 / 116.0;
    let u = t.max(KNEE);
    // A third of the exponent, 0x2a51_19f2 being two thirds of the bits of 1.0, balanced for the smallest error. ROUND makes
    // an integer of a float without a checked cast.
    const ROUND: f32 = 12_582_912.0;
    let third = ((u.to_bits() >> 9) as i32 as f32 * (1.0 / 3.0) + ROUND).to_bits().wrapping_sub(ROUND.to_bits());
    let guess = f32::from_bits((third << 9).wrapping_add(0x2a51_19f2));
    let once = (2.0 * guess + u / (guess * guess)) * (1.0 / 3.0);
    let f = (2.0 * once + u / (once * once)) * (1.0 / 3.0);
    let low = t < KNEE;
    (if low { SLOPE * t + 16.0 / 116.0 } else { f }, if low { SLOPE * d } else { d * f / (3.0 * u) })
}

impl Stage for ColourLock {
    fn push(&mut self, band: Band, next: &mut Sink<'_>) -> Result<()> {
        if band.y != self.seen
            || band.end() > self.height * self.scale
            || band.width != self.width * self.scale
            || band.channels != self.channels
        {
            return Err(Error::Internal(format!("colour lock: rows {}..{} do not follow row {}", band.y, band.end(), self.seen)));
        }
        if band.rows == 0 {
            return Ok(());
        }
        self.seen = band.end();
        self.result.push_back(band);
        self.advance(next)?;
        self.release(next)
    }

    fn finish(&mut self, next: &mut Sink<'_>) -> Result<()> {
        self.advance(next)?;
        if self.done != self.height * self.scale {
            return Err(Error::Internal(format!("colour lock: {} of {} rows done", self.done, self.height * self.scale)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
