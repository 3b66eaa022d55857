//! Named tensors of a checkpoint, read on demand as f32.
//!
//! Over 500 lines because where trainers put weights, and how they are read from there, is one subject, told with its tests.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};

use half::{bf16, f16};

use super::pickle::{Id, Pickle, Value};
use super::torch_legacy::{self, TorchLegacy};
use super::torch_zip::TorchZip;
use super::{Refusal, pickle, safetensors};

/// Where checkpoints keep their weights, best first: averaged weights before raw ones.
const CONTAINERS: [&str; 20] = [
    "params_ema",
    "params-ema",
    "g_ema",
    "net_g_ema",
    "netG_ema",
    "model_ema",
    "model-ema",
    "state_dict_ema",
    "sd-ema",
    "ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net_g",
    "netG",
    "generator",
    "network",
    "net",
    "sd",
];
/// How deep a container may lie in other containers.
const MAX_CONTAINER_DEPTH: usize = 3;
/// What wrappers put before every key.
const PREFIXES: [&str; 6] = ["module.", "_orig_mod.", "net_g.", "netG.", "generator.", "params_ema."];
/// What stands before the keys of one network among others, best first. Old ESRGAN keys begin with `model.` themselves, so these are
/// tried only where the names as they are tell nothing.
const PARTS: [&str; 18] = [
    "params_ema.",
    "params-ema.",
    "g_ema.",
    "net_g_ema.",
    "netG_ema.",
    "model_ema.",
    "ema_model.",
    "ema.",
    "params.",
    "net_g.",
    "netG.",
    "generator.",
    "module.",
    "_orig_mod.",
    "state_dict.",
    "model.",
    "network.",
    "net.",
];
/// Largest tensor; the largest of a large RRDBNet has 37,000 values.
const MAX_VALUES: u64 = 1 << 28;

/// Reading and seeking, as one trait object.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// How a stored value is encoded, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl DType {
    /// The type of a storage class in module `torch`.
    pub fn from_storage(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// The type of that name in a safetensors header.
    pub fn from_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "I16" => Self::I16,
            "I8" => Self::I8,
            "U64" => Self::U64,
            "U32" => Self::U32,
            "U16" => Self::U16,
            "U8" => Self::U8,
            "BOOL" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether weights are of this type; counters and flags of a training are not.
    fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// The value at the beginning of `b`, if the type is a floating-point one and the bytes are there.
    fn value(self, b: &[u8]) -> Option<f32> {
        Some(match self {
            Self::F64 => f64::from_le_bytes(b.get(..8)?.try_into().ok()?) as f32,
            Self::F32 => f32::from_le_bytes(b.get(..4)?.try_into().ok()?),
            Self::F16 => f16::from_le_bytes(b.get(..2)?.try_into().ok()?).to_f32(),
            Self::BF16 => bf16::from_le_bytes(b.get(..2)?.try_into().ok()?).to_f32(),
            _ => return None,
        })
    }
}

/// A strided view that is known to lie inside its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strided {
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
    len: usize,
}

impl Strided {
    /// Most dimensions a tensor may have.
    pub const MAX_DIMS: usize = 8;

    /// Checks a view into a storage of `storage_len` values. Views that repeat values (stride 0) may not name more than the
    /// storage has.
    pub fn new(offset: i64, shape: &[i64], stride: &[i64], storage_len: u64) -> Result<Self, String> {
        let describe = || format!("shape {shape:?}, stride {stride:?}, offset {offset}");
        if shape.len() != stride.len() || shape.len() > Self::MAX_DIMS {
            return Err(format!("{} does not fit together", describe()));
        }
        let whole = |v: i64| u64::try_from(v).map_err(|_| format!("{} has a negative number", describe()));
        let offset_u = whole(offset)?;
        let (mut len, mut last) = (1u64, offset_u);
        let (mut dims, mut steps) = (Vec::new(), Vec::new());
        for (&n, &step) in shape.iter().zip(stride) {
            let (n, step) = (whole(n)?, whole(step)?);
            len = len.checked_mul(n).filter(|&l| l <= MAX_VALUES).ok_or_else(|| format!("{} has too many values", describe()))?;
            last = n
                .saturating_sub(1)
                .checked_mul(step)
                .and_then(|reach| last.checked_add(reach))
                .ok_or_else(|| format!("{} leads out of its storage of {storage_len} values", describe()))?;
            dims.push(n as usize);
            // A step that is never taken may be any number.
            steps.push(if n > 1 { usize::try_from(step).map_err(|e| e.to_string())? } else { 0 });
        }
        if len > storage_len || (len > 0 && last >= storage_len) {
            return Err(format!("{} leads out of its storage of {storage_len} values", describe()));
        }
        let offset = if len == 0 { 0 } else { usize::try_from(offset_u).map_err(|e| e.to_string())? };
        Ok(Self { offset, shape: dims, stride: steps, len: len as usize })
    }

    /// A dense row-major view of a storage of `storage_len` values.
    pub fn contiguous(shape: &[u64], storage_len: u64) -> Result<Self, String> {
        let signed = |v: u64| i64::try_from(v).map_err(|_| format!("shape {shape:?} has too many values"));
        let shape: Vec<i64> = shape.iter().map(|&n| signed(n)).collect::<Result<_, _>>()?;
        let mut stride = vec![1i64; shape.len()];
        for d in (1..shape.len()).rev() {
            stride[d - 1] = stride[d].checked_mul(shape[d]).ok_or_else(|| format!("shape {shape:?} has too many values"))?;
        }
        Self::new(0, &shape, &stride, storage_len)
    }

    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many values it has.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The view's values in row-major order, as f32; `None` if the type is not a floating-point one.
    fn gather(&self, bytes: &[u8], dtype: DType) -> Option<Vec<f32>> {
        let mut out = Vec::with_capacity(self.len);
        let mut index = vec![0usize; self.shape.len()];
        let mut at = self.offset;
        for _ in 0..self.len {
            out.push(dtype.value(bytes.get(at * dtype.bytes()..)?)?);
            // Counts up like an odometer, last dimension first.
            for d in (0..index.len()).rev() {
                index[d] += 1;
                at += self.stride[d];
                if index[d] < self.shape[d] {
                    break;
                }
                at -= index[d] * self.stride[d];
                index[d] = 0;
            }
        }
        Some(out)
    }
}

enum Source {
    Torch(TorchZip<Box<dyn ReadSeek>>),
    TorchLegacy(TorchLegacy<Box<dyn ReadSeek>>),
    Safetensors(Box<dyn ReadSeek>),
}

#[derive(Debug, Clone)]
enum Place {
    Torch(pickle::Tensor),
    Safetensors(safetensors::Tensor),
}

impl Place {
    fn view(&self) -> &Strided {
        match self {
            Self::Torch(t) => &t.view,
            Self::Safetensors(t) => &t.view,
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Self::Torch(t) => t.storage.dtype,
            Self::Safetensors(t) => t.dtype,
        }
    }
}

/// The weights of a checkpoint by name. Shapes are known at once, values are read when asked for.
pub struct Weights {
    source: Source,
    /// In the order of the file.
    names: Vec<String>,
    places: HashMap<String, Place>,
    used: HashSet<String>,
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The weight and bias of a convolution, `weight[output][input][row][column]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub outputs: usize,
    pub inputs: usize,
    pub height: usize,
    pub width: usize,
}

impl Weights {
    /// Opens a checkpoint; its format is told by its first bytes, not by its name.
    pub fn open(mut reader: Box<dyn ReadSeek>) -> Result<Self, Refusal> {
        let mut head = Vec::new();
        (&mut reader).take(32).read_to_end(&mut head).map_err(|e| Refusal::new(format!("it cannot be read ({e})"), ""))?;
        reader.rewind().map_err(|e| Refusal::new(format!("it cannot be read ({e})"), ""))?;
        let torch = |source: Source, pickle: &[u8]| {
            let found = find_weights(&Pickle::parse(pickle)?)?;
            Self::named(source, found.into_iter().map(|(name, tensor)| (name, Place::Torch(tensor))).collect())
        };
        if head.starts_with(b"PK") {
            let (zip, pickle) = TorchZip::open(reader)?;
            return torch(Source::Torch(zip), &pickle);
        }
        if head.starts_with(torch_legacy::MAGIC) {
            let (file, pickle) = TorchLegacy::open(reader)?;
            return torch(Source::TorchLegacy(file), &pickle);
        }
        if let Some(refusal) = other_format(&head) {
            return Err(refusal);
        }
        let tensors = safetensors::read_header(&mut reader)?;
        let found = tensors.into_iter().map(|t| (t.name.clone(), Place::Safetensors(t))).collect();
        Self::named(Source::Safetensors(reader), found)
    }

    fn named(source: Source, mut found: Vec<(String, Place)>) -> Result<Self, Refusal> {
        if found.is_empty() {
            return Err(Refusal::new("it holds no tensors", "give a checkpoint of a super-resolution network"));
        }
        while let Some(prefix) = PREFIXES.iter().find(|p| found.iter().all(|(name, _)| name.starts_with(**p))) {
            for (name, _) in &mut found {
                name.drain(..prefix.len());
            }
        }
        let names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
        let places: HashMap<String, Place> = found.into_iter().collect();
        if places.len() != names.len() {
            return Err(Refusal::new("two of its tensors have the same name", "save the weights again"));
        }
        Ok(Self { source, names, places, used: HashSet::new() })
    }

    /// Leaves only one network of several, the best one for which `known` holds: what stood before its names, and how many
    /// tensors were left out; `None` if there is none.
    pub fn narrow(&mut self, known: &dyn Fn(&Self) -> bool) -> Option<(String, usize)> {
        for part in PARTS {
            let of_it = |name: &String| name.strip_prefix(part).map(|inner| (inner.to_owned(), self.places[name].clone()));
            let inner: Vec<(String, Place)> = self.names.iter().filter_map(of_it).collect();
            if inner.is_empty() {
                continue;
            }
            let left_out = self.names.len() - inner.len();
            let names = inner.iter().map(|(name, _)| name.clone()).collect();
            let all = (std::mem::replace(&mut self.names, names), std::mem::replace(&mut self.places, inner.into_iter().collect()));
            if known(self) {
                return Some((part.to_owned(), left_out));
            }
            // Wrappers wrap each other.
            if let Some((within, more)) = self.narrow(known) {
                return Some((format!("{part}{within}"), left_out + more));
            }
            (self.names, self.places) = all;
        }
        None
    }

    /// The names in file order, without the prefix of wrappers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Those of tensors that could be weights: a training counts in whole numbers.
    pub fn float_names(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|n| self.places.get(*n).is_some_and(|p| p.dtype().is_float()))
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The dimensions of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.places.get(name).map(|p| p.view().shape())
    }

    /// The shape `[outputs, inputs, height, width]` of a convolution's weight.
    pub fn conv_shape(&self, name: &str) -> Result<[usize; 4], Refusal> {
        let name = format!("{name}.weight");
        let shape = self.shape(&name).ok_or_else(|| missing(&name))?;
        <[usize; 4]>::try_from(shape).ok().filter(|s| !s.contains(&0)).ok_or_else(|| {
            Refusal::new(format!("{name} has the shape {shape:?}; a 2-D convolution has four dimensions, none of them 0"), "")
        })
    }

    /// How many numbered parts there are: the `N` of `before{first}after`, `before{first+1}after` ... that are all present.
    pub fn count(&self, before: &str, after: &str, first: usize) -> usize {
        (first..).take_while(|n| self.has(&format!("{before}{n}{after}"))).count()
    }

    /// The values of a tensor, row-major.
    pub fn load(&mut self, name: &str) -> Result<Vec<f32>, Refusal> {
        let place = self.places.get(name).ok_or_else(|| missing(name))?;
        let not_float = |dtype: DType| Refusal::new(format!("{name} holds {dtype:?} values; weights are F32, F16, BF16 or F64"), "");
        let values = match (&mut self.source, place) {
            (Source::Torch(zip), Place::Torch(t)) => {
                let bytes = zip.storage(&t.storage)?;
                t.view.gather(bytes, t.storage.dtype).ok_or_else(|| not_float(t.storage.dtype))?
            }
            (Source::TorchLegacy(file), Place::Torch(t)) => {
                let bytes = file.storage(&t.storage)?;
                t.view.gather(bytes, t.storage.dtype).ok_or_else(|| not_float(t.storage.dtype))?
            }
            (Source::Safetensors(file), Place::Safetensors(t)) => {
                let mut bytes = vec![0; t.view.len() * t.dtype.bytes()];
                file.seek(SeekFrom::Start(t.at))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(|e| Refusal::new(format!("{name} cannot be read ({e})"), "fetch the file again"))?;
                t.view.gather(&bytes, t.dtype).ok_or_else(|| not_float(t.dtype))?
            }
            _ => return Err(missing(name)),
        };
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            return Err(Refusal::new(format!("{name} holds {bad}: the training of this network failed"), "use another checkpoint"));
        }
        self.used.insert(name.to_owned());
        Ok(values)
    }

    /// A convolution's weight and bias.
    pub fn kernel(&mut self, name: &str) -> Result<Kernel, Refusal> {
        let [outputs, inputs, height, width] = self.conv_shape(name)?;
        let weight = self.load(&format!("{name}.weight"))?;
        let bias_name = format!("{name}.bias");
        let bias = self.load(&bias_name)?;
        if bias.len() != outputs {
            return Err(Refusal::new(format!("{bias_name} has {} values where {name}.weight has {outputs} outputs", bias.len()), ""));
        }
        Ok(Kernel { weight, bias, outputs, inputs, height, width })
    }

    /// Says that a tensor is known and not needed.
    pub fn ignore(&mut self, name: &str) {
        self.used.insert(name.to_owned());
    }

    /// Names of the tensors that could be weights and were neither loaded nor ignored.
    pub fn unused(&self) -> Vec<&str> {
        self.float_names().filter(|n| !self.used.contains(*n)).collect()
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(format!("the tensor {name} is missing"), "the file may be incomplete or a variant of the architecture")
}

/// Formats that people take for checkpoints.
fn other_format(head: &[u8]) -> Option<Refusal> {
    let (what, hint) = if head.is_empty() {
        ("it is empty", "fetch the file again")
    } else if head.first() == Some(&0x80) && head.get(1).is_some_and(|v| *v <= 5) && head.get(8) != Some(&b'{') {
        ("it is a bare Python pickle, not a checkpoint that torch.save wrote", "save it with torch.save(state_dict, FILE)")
    } else if head.starts_with(b"version https://git-lfs") {
        ("it is a Git LFS pointer instead of the file", "fetch the file itself: git lfs pull")
    } else if head.trim_ascii_start().starts_with(b"<") {
        ("it is a web page instead of the file", "download the file itself")
    } else if head.starts_with(b"\x08") && head.get(8) != Some(&b'{') {
        ("it looks like an ONNX file", "register it with `lastmile models add FILE`")
    } else if [&b"\x89PNG"[..], b"\xff\xd8\xff", b"RIFF", b"GIF8", b"II*\0", b"MM\0*"].iter().any(|magic| head.starts_with(magic)) {
        ("it is a picture, not a checkpoint", "the .pth or .safetensors file of a network")
    } else if head.starts_with(b"7767517") {
        ("it is an ncnn parameter file", "get the PyTorch or ONNX file of this network")
    } else if head.get(8) != Some(&b'{') && head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        ("it is a text, not a checkpoint", "the .pth or .safetensors file of a network")
    } else {
        return None;
    };
    Some(Refusal::new(what, hint))
}

/// The dictionary of tensors in a pickled object, with its tensors in order.
fn find_weights(pickle: &Pickle<'_>) -> Result<Vec<(String, pickle::Tensor)>, Refusal> {
    let Value::Dict(items) = pickle.get(pickle.root()) else {
        return Err(Refusal::new("it holds no dictionary of weights", "save the weights: torch.save(model.state_dict(), FILE)"));
    };
    tensors_in(pickle, pickle.root(), 0, &mut HashSet::new()).ok_or_else(|| {
        let keys: Vec<&str> = items.iter().filter_map(|(k, _)| pickle.text(*k)).take(8).collect();
        let keys = if keys.is_empty() { "it is an empty dictionary".to_owned() } else { format!("its keys are {}", keys.join(", ")) };
        Refusal::new(
            format!("it holds no weights, or several and none under {}, {MAX_CONTAINER_DEPTH} deep at most; {keys}", CONTAINERS.join(", ")),
            "save the weights alone: torch.save(model.state_dict(), FILE)",
        )
    })
}

/// The tensors in the best container of a dictionary that holds any, else those in the dictionary itself, else those in its only dictionary
/// that holds any. What was `seen` is not looked
/// at again: dictionaries may be shared.
fn tensors_in(pickle: &Pickle<'_>, at: Id, depth: usize, seen: &mut HashSet<Id>) -> Option<Vec<(String, pickle::Tensor)>> {
    let Value::Dict(items) = pickle.get(at) else { return None };
    if !seen.insert(at) {
        return None;
    }
    // A key that is set twice counts as in Python: the last one.
    let by_name: HashMap<&str, Id> = items.iter().filter_map(|(k, v)| Some((pickle.text(*k)?, *v))).collect();
    if depth < MAX_CONTAINER_DEPTH {
        let containers = CONTAINERS.iter().filter_map(|c| by_name.get(c));
        // Settings go by the same names; weights are where tensors are.
        if let Some(found) = containers.into_iter().find_map(|v| tensors_in(pickle, *v, depth + 1, seen)) {
            return Some(found);
        }
    }
    let mut order = Vec::new();
    let mut tensors = HashMap::new();
    for (key, value) in items {
        if let (Some(key), Value::Tensor(tensor)) = (pickle.text(*key), pickle.get(*value))
            && tensors.insert(key, tensor).is_none()
        {
            order.push(key);
        }
    }
    let found: Vec<_> = order.into_iter().filter_map(|key| Some((key.to_owned(), (*tensors.get(key)?).clone()))).collect();
    // Counters and rates of a training are single numbers.
    let weights = |t: &pickle::Tensor| t.storage.dtype.is_float() && !t.view.shape().is_empty();
    if found.iter().any(|(_, t)| weights(t)) {
        return Some(found);
    }
    // Under any other name, if there is only one.
    let others: Vec<Id> = if depth < MAX_CONTAINER_DEPTH { by_name.into_values().collect() } else { Vec::new() };
    let mut inner = others.into_iter().filter_map(|v| tensors_in(pickle, v, depth + 1, seen));
    inner.next().filter(|_| inner.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_checked_and_gathered() {
        let bytes: Vec<u8> = (0..12).flat_map(|v| (v as f32).to_le_bytes()).collect();
        // The transpose of a 3x4 matrix, without its first row.
        let t = Strided::new(4, &[4, 2], &[1, 4], 12).unwrap();
        assert_eq!(t.gather(&bytes, DType::F32).unwrap(), [4., 8., 5., 9., 6., 10., 7., 11.]);
        let scalar = Strided::new(11, &[], &[], 12).unwrap();
        assert_eq!(scalar.gather(&bytes, DType::F32).unwrap(), [11.]);
        assert_eq!(Strided::new(0, &[0, 3], &[3, 1], 0).unwrap().gather(&[], DType::F32).unwrap(), [0f32; 0]);
        for (offset, shape, stride) in [
            (0, &[13][..], &[1][..]),
            (1, &[12], &[1]),
            (12, &[1], &[1]),
            (-1, &[1], &[1]),
            (0, &[2], &[-1]),
            (0, &[-2], &[1]),
            (0, &[3], &[6]),
            (0, &[2], &[i64::MAX]),
            (i64::MAX, &[2], &[i64::MAX]),
            (0, &[1 << 40, 1 << 40], &[0, 0]),
            (0, &[1 << 20], &[0]),
            (0, &[2, 2], &[1]),
            (0, &[1; 9], &[1; 9]),
        ] {
            assert!(Strided::new(offset, shape, stride, 12).is_err(), "{offset} {shape:?} {stride:?}");
        }
    }

    #[test]
    fn all_float_types_decode() {
        assert_eq!(DType::F64.value(&1.5f64.to_le_bytes()), Some(1.5));
        assert_eq!(DType::F16.value(&[0x00, 0x3e]), Some(1.5));
        assert_eq!(DType::BF16.value(&[0xc0, 0x3f]), Some(1.5));
        assert_eq!(DType::I64.value(&[0; 8]), None);
        assert_eq!(DType::F32.value(&[0; 3]), None);
    }

    #[test]
    fn other_formats_are_named() {
        let say = |head: &[u8]| other_format(head).map(|r| r.what).unwrap_or_default();
        assert!(say(b"").contains("empty"));
        assert!(say(b"\x80\x04\x95").contains("bare Python pickle"));
        assert!(say(b"version https://git-lfs.github.com").contains("LFS"));
        assert!(say(b"  <!DOCTYPE html>").contains("web page"));
        assert!(say(b"\x80\x01\0\0\0\0\0\0{\"a\"").is_empty());
        assert!(say(b"\x89PNG\r\n\x1a\n").contains("a picture") && say(b"Dear all,\nhere is").contains("a text"));
        assert!(say(b"7767517\n3 4").contains("ncnn"));
    }
}
