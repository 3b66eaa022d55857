//! What is known about a value of a graph at one input size: numbers, a shape, or which input pixels it depends on.

use std::rc::Rc;

use crate::upscale::graph;
use crate::upscale::onnx::{INT32, INT64, TensorProto};

/// Constants of at most this many elements are read; larger ones are weights of which only the shape matters.
const SMALL: usize = 4096;
/// No dimension is followed beyond this length.
pub(super) const MAX_LEN: usize = 1 << 17;

/// Why an operation could not be followed.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The walk does not know what comes out; the reason, for a person.
    Unknown(String),
    /// The walk does not know the operation.
    Foreign(String),
    /// The operation refuses this input size.
    Mismatch(String),
}

pub(super) fn unknown<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unknown(reason.into()))
}

pub(super) fn mismatch<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Mismatch(reason.into()))
}

/// A positive fraction in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ratio {
    pub num: u64,
    pub den: u64,
}

impl Ratio {
    pub const ONE: Ratio = Ratio { num: 1, den: 1 };

    pub fn new(num: usize, den: usize) -> Result<Self, Fault> {
        if num == 0 || den == 0 {
            return mismatch("a dimension becomes empty");
        }
        let g = gcd(num as u64, den as u64);
        Ok(Self { num: num as u64 / g, den: den as u64 / g })
    }

    pub fn times(self, other: Ratio) -> Result<Self, Fault> {
        let (g, h) = (gcd(self.num, other.den), gcd(other.num, self.den));
        let (num, den) = ((self.num / g) * (other.num / h), (self.den / h) * (other.den / g));
        if num > 1 << 24 || den > 1 << 24 { unknown("its accumulated scale is no simple fraction") } else { Ok(Self { num, den }) }
    }

    /// The simple fraction that a float stands for.
    pub fn of_float(value: f64) -> Result<Self, Fault> {
        (1..=64u64)
            .map(|den| (value * den as f64, den))
            .find(|(num, den)| (num - num.round()).abs() < 1e-4 * *den as f64 && num.round() >= 1.0 && num.round() < 1e6)
            .map_or_else(
                || unknown(format!("Resize by {value}, which is no simple fraction")),
                |(num, den)| Self::new(num.round() as usize, den as usize),
            )
    }
}

pub(in crate::upscale) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The input rows (or columns) that one row of a value depends on, inclusive; empty if `hi < lo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub lo: i32,
    pub hi: i32,
    /// Whether padding or clamping at the border of any layer took part.
    pub edge: bool,
}

impl Span {
    pub const EMPTY: Span = Span { lo: i32::MAX, hi: i32::MIN, edge: false };
    /// A row made of padding alone.
    pub const PADDING: Span = Span { edge: true, ..Span::EMPTY };

    pub fn and(self, other: Span) -> Span {
        Span { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi), edge: self.edge || other.edge }
    }
}

/// A dimension that runs over rows (0) or columns (1) of the picture.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub which: usize,
    /// Elements per input pixel.
    pub scale: Ratio,
    /// One span per element.
    pub spans: Rc<[Span]>,
}

/// One dimension of a value that depends on the picture.
#[derive(Debug, Clone)]
pub(super) struct Dim {
    pub len: usize,
    pub axis: Option<Axis>,
}

impl Dim {
    pub fn plain(len: usize) -> Self {
        Self { len, axis: None }
    }

    /// A dimension made from `self` whose elements have the given spans, its scale multiplied by `factor`.
    pub fn with(&self, spans: Vec<Span>, factor: Ratio) -> Result<Self, Fault> {
        check_len(spans.len())?;
        let Some(axis) = &self.axis else { return Ok(Self::plain(spans.len())) };
        Ok(Self { len: spans.len(), axis: Some(Axis { which: axis.which, scale: axis.scale.times(factor)?, spans: spans.into() }) })
    }

    /// The span of an element; nothing if the dimension does not run over the picture.
    pub fn span(&self, at: usize) -> Span {
        self.axis.as_ref().map_or(Span::EMPTY, |a| a.spans[at])
    }
}

pub(super) fn check_len(len: usize) -> Result<usize, Fault> {
    match len {
        0 => mismatch("a dimension becomes empty"),
        n if n > MAX_LEN => unknown("a dimension becomes absurdly long"),
        n => Ok(n),
    }
}

/// A value that depends on the picture.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub dims: Vec<Dim>,
}

impl Data {
    pub fn has_axis(&self, dim: usize) -> bool {
        self.dims[dim].axis.is_some()
    }
}

/// Small numeric constants (shapes, scales, indices).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    pub dims: Vec<usize>,
    pub values: Vec<f64>,
    pub integer: bool,
}

impl Numbers {
    pub fn list(values: Vec<f64>, integer: bool) -> Self {
        Self { dims: vec![values.len()], values, integer }
    }

    pub fn ints(&self) -> Vec<i64> {
        self.values.iter().map(|&v| v as i64).collect()
    }
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Numbers(Rc<Numbers>),
    /// A constant of which only the shape is known.
    Weight(Vec<usize>),
    Data(Data),
    Unknown,
}

impl Value {
    pub fn numbers(numbers: Numbers) -> Self {
        Self::Numbers(Rc::new(numbers))
    }

    /// A constant of the file.
    pub fn of_tensor(tensor: &TensorProto) -> Self {
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let (Some(dims), Some(count)) = (dims, graph::element_count(&tensor.dims)) else { return Self::Unknown };
        if count > SMALL {
            return Self::Weight(dims);
        }
        let integer = matches!(tensor.data_type, INT32 | INT64);
        let values: Option<Vec<f64>> = if integer {
            graph::integers(tensor).map(|v| v.into_iter().map(|i| i as f64).collect())
        } else {
            graph::floats(tensor).map(|v| v.into_iter().map(f64::from).collect())
        };
        values.map_or(Self::Weight(dims.clone()), |values| Self::numbers(Numbers { dims, values, integer }))
    }

    pub fn shape(&self) -> Option<Vec<usize>> {
        match self {
            Self::Numbers(n) => Some(n.dims.clone()),
            Self::Weight(dims) => Some(dims.clone()),
            Self::Data(data) => Some(data.dims.iter().map(|d| d.len).collect()),
            Self::Unknown => None,
        }
    }

    pub fn as_ints(&self) -> Option<Vec<i64>> {
        match self {
            Self::Numbers(n) => Some(n.ints()),
            _ => None,
        }
    }
}

/// The shape two shapes broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |k| dims[k]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (x, y) => mismatch(format!("sizes {x} and {y} meet")),
        })
        .collect()
}

/// Applies `f` element by element to broadcast constants.
pub(super) fn zip_numbers(a: &Numbers, b: &Numbers, integer: bool, f: impl Fn(f64, f64) -> f64) -> Result<Numbers, Fault> {
    let dims = broadcast(&a.dims, &b.dims)?;
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= SMALL);
    let Some(count) = count else { return unknown("a constant becomes too large") };
    let pick = |n: &Numbers, index: usize| {
        let (mut rest, mut offset, mut step) = (index, 0, 1);
        for i in (0..dims.len()).rev() {
            let k = rest % dims[i];
            rest /= dims[i];
            if let Some(d) = (i + n.dims.len()).checked_sub(dims.len()) {
                offset += if n.dims[d] == 1 { 0 } else { k * step };
                step *= n.dims[d];
            }
        }
        n.values[offset]
    };
    let values = (0..count).map(|i| f(pick(a, i), pick(b, i))).collect();
    Ok(Numbers { dims, values, integer })
}
