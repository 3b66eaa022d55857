//! How single layers pass dependence on: convolution, pooling, resizing, padding, along one dimension at a time.

use super::value::{Dim, Fault, Ratio, Span, check_len, mismatch, unknown};

/// A sliding window along one dimension.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub before: i64,
    pub after: i64,
    /// Whether a last window that sticks out counts (pooling).
    pub ceil: bool,
}

impl Window {
    fn reach(&self) -> Result<i64, Fault> {
        if self.kernel == 0 || self.stride == 0 || self.dilation == 0 || self.kernel > 4096 || self.dilation > 4096 || self.stride > 4096 {
            return unknown("a window of absurd size");
        }
        if !(-65536..=65536).contains(&self.before) || !(-65536..=65536).contains(&self.after) {
            return unknown("a window with absurd padding");
        }
        Ok(((self.kernel - 1) * self.dilation + 1) as i64)
    }

    /// Convolution and pooling.
    pub fn slide(&self, dim: &Dim) -> Result<Dim, Fault> {
        let (n, reach, stride) = (dim.len as i64, self.reach()?, self.stride as i64);
        let room = n + self.before + self.after - reach;
        if room < 0 {
            return mismatch(format!("a window of {reach} does not fit into {n}"));
        }
        let mut count = room / stride + 1;
        if self.ceil && room % stride != 0 && count * stride < n + self.before {
            count += 1; // the extra window must begin inside the data or its leading padding
        }
        let spans = (0..check_len(count as usize)? as i64)
            .map(|i| {
                (0..self.kernel as i64).fold(Span::EMPTY, |span, k| {
                    let at = i * stride - self.before + k * self.dilation as i64;
                    span.and(if (0..n).contains(&at) { dim.span(at as usize) } else { Span::PADDING })
                })
            })
            .collect();
        dim.with(spans, Ratio::new(1, self.stride)?)
    }

    /// Transposed convolution; `extra` is the output padding.
    pub fn spread(&self, dim: &Dim, extra: i64) -> Result<Dim, Fault> {
        let (n, reach, stride) = (dim.len as i64, self.reach()?, self.stride as i64);
        let len = stride * (n - 1) + extra + reach - self.before - self.after;
        if len <= 0 {
            return mismatch("a transposed convolution leaves nothing");
        }
        let spans = (0..check_len(len as usize)? as i64)
            .map(|o| {
                (0..self.kernel as i64).fold(Span::EMPTY, |span, k| {
                    let from = o + self.before - k * self.dilation as i64;
                    match (from.rem_euclid(stride), from.div_euclid(stride)) {
                        (0, i) if (0..n).contains(&i) => span.and(dim.span(i as usize)),
                        (0, _) => span.and(Span::PADDING),
                        _ => span,
                    }
                })
            })
            .collect();
        dim.with(spans, Ratio::new(self.stride, 1)?)
    }
}

/// How a `Resize` node samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampling<'a> {
    pub mode: &'a str,
    pub coordinates: &'a str,
    pub nearest: &'a str,
    pub antialias: bool,
}

impl Sampling<'_> {
    /// Resizes to `len` elements; `factor` is the one given, or `len / dim.len` if sizes were given.
    pub fn resize(&self, dim: &Dim, len: usize, factor: f64) -> Result<Dim, Fault> {
        check_len(len)?;
        if dim.len == len && (factor - 1.0).abs() < 1e-9 {
            return Ok(dim.clone());
        }
        let (n, l) = (dim.len as f64, len as f64);
        if !(factor.is_finite() && factor > 0.0) {
            return unknown("Resize by a factor that is no positive number");
        }
        let position = |i: f64| match self.coordinates {
            "half_pixel" => Ok((i + 0.5) / factor - 0.5),
            "pytorch_half_pixel" => Ok(if len > 1 { (i + 0.5) / factor - 0.5 } else { 0.0 }),
            "asymmetric" => Ok(i / factor),
            "tf_half_pixel_for_nn" => Ok((i + 0.5) / factor),
            "align_corners" => Ok(if len > 1 { i * (n - 1.0) / (l - 1.0) } else { 0.0 }),
            "half_pixel_symmetric" => Ok(n / 2.0 * (1.0 - l / (factor * n)) + (i + 0.5) / factor - 0.5),
            other => unknown(format!("Resize with coordinates `{other}`")),
        };
        let shrink = if self.antialias && factor < 1.0 { 1.0 / factor } else { 1.0 };
        let mut spans = Vec::with_capacity(len);
        for i in 0..len {
            let x = position(i as f64)?;
            // f32 arithmetic may fall on either side of a boundary: within this distance both sides count.
            let slack = if is_dyadic(factor) { 0.0 } else { 1e-4 };
            let (from, to) = match self.mode {
                "nearest" => {
                    let round = |v: f64| match self.nearest {
                        "floor" => v.floor(),
                        "ceil" => v.ceil(),
                        "round_prefer_ceil" => (v + 0.5).floor(),
                        _ => (v - 0.5).ceil(),
                    };
                    (round(x - slack), round(x + slack))
                }
                "linear" | "cubic" => {
                    let support = if self.mode == "linear" { shrink } else { 2.0 * shrink };
                    // Samples strictly closer than the support have weight.
                    ((x - support + 1e-6).ceil(), (x + support - 1e-6).floor())
                }
                other => return unknown(format!("Resize with mode `{other}`")),
            };
            let mut span = Span::EMPTY;
            for at in from as i64..=to as i64 {
                let inside = at.clamp(0, dim.len as i64 - 1);
                span = span.and(dim.span(inside as usize));
                span.edge |= inside != at;
            }
            spans.push(span);
        }
        dim.with(spans, Ratio::of_float(factor)?)
    }
}

fn is_dyadic(factor: f64) -> bool {
    let power = if factor < 1.0 { 1.0 / factor } else { factor };
    power.fract() == 0.0 && (power as u64).is_power_of_two()
}

/// Padding (positive) or cropping (negative) at both ends; `mode` is that of the `Pad` node.
pub(super) fn pad(dim: &Dim, before: i64, after: i64, mode: &str) -> Result<Dim, Fault> {
    let n = dim.len as i64;
    if before == 0 && after == 0 {
        return Ok(dim.clone());
    }
    if before.abs() > 65536 || after.abs() > 65536 {
        return unknown("Pad by an absurd amount");
    }
    if n + before + after <= 0 || (mode == "reflect" && (before >= n || after >= n)) {
        return mismatch(format!("Pad by {before} and {after} does not fit {n}"));
    }
    let spans = (-before..n + after)
        .map(|at| {
            if (0..n).contains(&at) {
                return dim.span(at as usize);
            }
            let from = match mode {
                "reflect" if n == 1 => 0,
                "reflect" => (n - 1) - ((at.rem_euclid(2 * (n - 1))) - (n - 1)).abs(),
                "edge" => at.clamp(0, n - 1),
                "wrap" => at.rem_euclid(n),
                _ => return Span::PADDING,
            };
            Span { edge: true, ..dim.span(from as usize) }
        })
        .collect();
    dim.with(spans, Ratio::ONE)
}

/// Regroups dimensions as `Reshape` does: `from` become dimensions of lengths `to`, in row-major order.
pub(super) fn reshape(from: &[Dim], to: &[usize]) -> Result<Vec<Dim>, Fault> {
    let mut out = Vec::with_capacity(to.len());
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        // The smallest groups of old and new dimensions that hold equally many elements.
        let (i0, j0) = (i, j);
        let (mut a, mut b) = (1usize, 1usize);
        loop {
            let next = if i < from.len() && (a < b || (a == b && i == i0)) {
                i += 1;
                Some((&mut a, from[i - 1].len))
            } else {
                j += 1;
                to.get(j - 1).map(|&len| (&mut b, len))
            };
            let Some((side, len)) = next else { return mismatch("Reshape to another number of elements") };
            *side = side.saturating_mul(len);
            if a == b && (i > i0 || i == from.len()) && (j > j0 || j == to.len()) {
                break;
            }
            if a.max(b) > 1 << 40 {
                return unknown("Reshape of absurd size");
            }
        }
        out.extend(regroup(&from[i0..i], &to[j0..j])?);
    }
    Ok(out)
}

/// One group of [`reshape`]: the dependence of the old elements, in order, spread over the new dimensions.
fn regroup(from: &[Dim], to: &[usize]) -> Result<Vec<Dim>, Fault> {
    let mut over_picture = from.iter().enumerate().filter(|(_, d)| d.axis.is_some());
    let Some((at, dim)) = over_picture.next() else { return Ok(to.iter().map(|&len| Dim::plain(len)).collect()) };
    if over_picture.next().is_some() {
        return unknown("Reshape runs rows and columns together");
    }
    if to.is_empty() {
        return unknown("Reshape drops a dimension of the picture");
    }
    let inner: usize = from[at + 1..].iter().map(|d| d.len).product();
    let count: usize = from.iter().map(|d| d.len).product();
    if count > 1 << 24 {
        return unknown("Reshape of absurd size");
    }
    // For each new dimension: what an element of it depends on, whatever the other indices are. The one that stays closest
    // to single pixels is taken as running over the picture.
    let mut best: Option<(i64, usize, Vec<Span>)> = None;
    for (d, &len) in to.iter().enumerate() {
        let step: usize = to[d + 1..].iter().product();
        let mut spans = vec![Span::EMPTY; len];
        for flat in 0..count {
            let k = flat / step % len;
            spans[k] = spans[k].and(dim.span(flat / inner % dim.len));
        }
        let width = spans.iter().map(|s| i64::from(s.hi) - i64::from(s.lo)).max().unwrap_or(0);
        if best.as_ref().is_none_or(|(w, ..)| width < *w) {
            best = Some((width, d, spans));
        }
    }
    let Some((_, chosen, spans)) = best else { return unknown("Reshape to nothing") };
    let picture = dim.with(spans, Ratio::new(to[chosen], dim.len)?)?;
    Ok(to.iter().enumerate().map(|(d, &len)| if d == chosen { picture.clone() } else { Dim::plain(len) }).collect())
}
