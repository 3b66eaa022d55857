//! What tiling has to know about a network, read off its graph: scale, sizes it takes, and how far it sees.
//!
//! Each layer passes on, for every row and column, which input rows and columns it depends on (`layers`); a walk over the
//! graph at a concrete input size (`walk`) does that for the whole network. Walks at several sizes tell what holds for all
//! of them: the radius away from borders, the stride after which everything repeats, the sizes that are refused, and
//! operations whose parameters change with the picture. The result is an upper bound that is reached by networks whose
//! channels are fully connected.

mod layers;
mod value;
mod walk;

use std::collections::{BTreeMap, HashMap};

pub(super) use value::gcd;
use value::{Axis, Data, Dim, Ratio, Span, Value};
use walk::{Walk, walk};

use crate::upscale::graph::elem_type;
use crate::upscale::model::{Dtype, Layout};
use crate::upscale::onnx;
use crate::upscale::onnx::{GraphProto, ModelProto, ValueInfoProto};

/// Networks that see further than this are blended: the margin around a tile would cost more than the tile.
pub const DEEP_PX: u32 = 96;

/// Sizes at which networks are walked are multiples of this, so that every usual size rule holds: 2^6 * 3.
const UNIT: usize = 192;
/// The largest one; networks that see further than a third of it count as unbounded.
const LARGEST: usize = 3072;
/// The largest stride that blended tiles are aligned to. It is a matter of looks there, so it must stay cheap.
const ALIGNED: usize = 64;

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    /// ONNX element type, e.g. 1 for `f32`.
    pub elem_type: i32,
    /// Dimensions; `None` is a free one. Nothing at all if the file does not say.
    pub shape: Option<Vec<Option<i64>>>,
}

/// How far a network sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receptive {
    /// An output pixel depends on input pixels at most this far (in input pixels per side) from the one it lies in.
    Radius(u32),
    /// There is no such distance, or it cannot be told; [`Analysis::blockers`] says why.
    Unbounded,
}

/// What a graph says about its network.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// What has to be fed (constants that old files list as inputs are left out).
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Element type of the first input; nothing if it is no float type that can be fed.
    pub dtype: Option<Dtype>,
    /// Order of the first input's dimensions; nothing if it is not 4-D with 1 or 3 channels.
    pub layout: Option<Layout>,
    /// Channels of the first input; nothing if neither its shape nor the first convolution says.
    pub channels: Option<u32>,
    /// `[width, height]` if the first input's size is fixed.
    pub fixed: Option<[u32; 2]>,
    pub receptive: Receptive,
    /// A shift by this many input pixels shifts every layer by whole elements; 1 if unknown.
    pub stride: u32,
    /// Output size over input size; nothing if it cannot be told or is no whole number.
    pub scale: Option<u32>,
    /// Smallest side the layers take; nothing if it cannot be told.
    pub minimum: Option<u32>,
    /// Sides must be multiples of this; nothing if it cannot be told.
    pub multiple_of: Option<u32>,
    /// How often each operation occurs.
    pub ops: BTreeMap<String, usize>,
    /// Why the network is not a sum of local steps, in words; empty if it is or if that cannot be told.
    pub blockers: Vec<String>,
    /// Operations that lastmile cannot follow; nothing but a trial tells how far a network with such sees.
    pub foreign: Vec<String>,
}

impl Analysis {
    /// Why there is no exact radius, as one sentence; empty if there is one.
    pub fn reason(&self) -> String {
        let foreign = (!self.foreign.is_empty()).then(|| format!("lastmile cannot follow {}", self.foreign.join(", ")));
        self.blockers.iter().cloned().chain(foreign).collect::<Vec<_>>().join("; ")
    }

    fn is_open(&self) -> bool {
        self.blockers.is_empty() && self.foreign.is_empty()
    }
}

/// Reads off a graph what tiling has to know. Never panics; what cannot be told is left out and explained in `blockers`.
pub fn analyse(model: &ModelProto) -> Analysis {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let constants: HashMap<&str, Value> = graph.initializer.iter().map(|t| (t.name.as_str(), Value::of_tensor(t))).collect();
    let inputs: Vec<Port> = graph.input.iter().filter(|i| !constants.contains_key(i.name.as_str())).map(port).collect();
    let outputs: Vec<Port> = graph.output.iter().map(port).collect();
    let mut ops = BTreeMap::new();
    for node in &graph.node {
        *ops.entry(node.op_type.clone()).or_insert(0) += 1;
    }
    let mut analysis = Analysis {
        dtype: inputs.first().and_then(|i| dtype(i.elem_type)),
        layout: None,
        channels: None,
        fixed: None,
        receptive: Receptive::Unbounded,
        stride: 1,
        scale: None,
        minimum: None,
        multiple_of: None,
        ops,
        blockers: Vec::new(),
        foreign: Vec::new(),
        inputs,
        outputs,
    };
    let (Some(input), Some(output)) = (analysis.inputs.first().cloned(), analysis.outputs.first().cloned()) else {
        analysis.blockers.push("it has no input or no output".into());
        return analysis;
    };
    let Some((layout, channels)) = picture(graph, &input) else {
        analysis.blockers.push("its input is no picture".into());
        return analysis;
    };
    (analysis.layout, analysis.channels) = (Some(layout), Some(channels));
    let (rows_at, columns_at) = if layout == Layout::Nchw { (2, 3) } else { (1, 2) };
    let given = |at: usize| input.shape.as_ref().and_then(|s| *s.get(at)?).and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0);
    let order = match topological_order(graph, &output.name) {
        Ok(order) => order,
        Err(reason) => {
            analysis.blockers.push(reason);
            return analysis;
        }
    };
    let plan = Plan { model, order, constants, input: &input.name, output: &output.name, layout, channels: channels as usize };
    match (given(rows_at), given(columns_at)) {
        (Some(rows), Some(columns)) => {
            analysis.fixed = Some([columns, rows]);
            plan.fixed_size(&mut analysis, rows as usize, columns as usize);
        }
        _ => plan.free_size(&mut analysis),
    }
    analysis
}

fn port(value: &ValueInfoProto) -> Port {
    let shape = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()?.shape.as_ref());
    let dim = |d: &onnx::DimensionProto| match d.value {
        Some(onnx::Dim::Value(n)) if n > 0 => Some(n),
        _ => None,
    };
    Port { name: value.name.clone(), elem_type: elem_type(value).unwrap_or(0), shape: shape.map(|s| s.dim.iter().map(dim).collect()) }
}

fn dtype(elem_type: i32) -> Option<Dtype> {
    match elem_type {
        onnx::FLOAT => Some(Dtype::F32),
        onnx::FLOAT16 => Some(Dtype::F16),
        _ => None,
    }
}

/// Layout and channels of a picture input: by the dimension that is 1 or 3, else by the convolution that reads it.
fn picture(graph: &GraphProto, input: &Port) -> Option<(Layout, u32)> {
    let shape = input.shape.as_ref()?;
    let &[batch, a, _, c] = shape.as_slice() else { return None };
    if batch.is_some_and(|n| n != 1) {
        return None;
    }
    let is_channels = |d: Option<i64>| d.and_then(|n| u32::try_from(n).ok()).filter(|&n| n == 1 || n == 3);
    match (is_channels(a), is_channels(c)) {
        (Some(channels), _) => Some((Layout::Nchw, channels)),
        (None, Some(channels)) => Some((Layout::Nhwc, channels)),
        _ if a.is_some() => None,
        _ => {
            // Free dimensions only: the first convolution that reads the input says how many channels it takes.
            let conv = graph.node.iter().find(|n| n.op_type == "Conv" && n.input.first() == Some(&input.name))?;
            let weights = graph.initializer.iter().find(|t| Some(&t.name) == conv.input.get(1))?;
            let channels = weights.dims.get(1)?.checked_mul(conv.int("group").unwrap_or(1))?;
            is_channels(Some(channels)).map(|n| (Layout::Nchw, n))
        }
    }
}

/// The nodes that the output needs, each after those it reads; files need not list them in order.
fn topological_order(graph: &GraphProto, output: &str) -> Result<Vec<usize>, String> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            maker.insert(name, at);
        }
    }
    let mut order = Vec::with_capacity(graph.node.len());
    let mut state = vec![0u8; graph.node.len()]; // 1 = being visited, 2 = done
    let mut stack: Vec<(usize, usize)> = maker.get(output).map(|&at| (at, 0)).into_iter().collect();
    while let Some((at, next)) = stack.pop() {
        state[at] = state[at].max(1);
        match graph.node[at].input.get(next) {
            None => {
                state[at] = 2;
                order.push(at);
            }
            Some(name) => {
                stack.push((at, next + 1));
                match maker.get(name.as_str()) {
                    Some(&before) if state[before] == 1 => return Err(format!("its nodes form a cycle at `{name}`")),
                    Some(&before) if state[before] == 0 => stack.push((before, 0)),
                    _ => {}
                }
            }
        }
    }
    Ok(order)
}

/// One graph, ready to be walked at any size.
struct Plan<'a> {
    model: &'a ModelProto,
    order: Vec<usize>,
    constants: HashMap<&'a str, Value>,
    input: &'a str,
    output: &'a str,
    layout: Layout,
    channels: usize,
}

/// The two dimensions of a walk's output that run over the picture.
struct Reached {
    rows: Axis,
    columns: Axis,
}

impl Plan<'_> {
    fn walk(&self, rows: usize, columns: usize) -> Result<Walk, String> {
        let axis = |which: usize, len: usize| {
            let spans = (0..len as i32).map(|i| Span { lo: i, hi: i, edge: false }).collect();
            Dim { len, axis: Some(Axis { which, scale: Ratio::ONE, spans }) }
        };
        let (one, channels, y, x) = (Dim::plain(1), Dim::plain(self.channels), axis(0, rows), axis(1, columns));
        let dims = match self.layout {
            Layout::Nchw => vec![one, channels, y, x],
            Layout::Nhwc => vec![one, y, x, channels],
        };
        walk(self.model, &self.order, &self.constants, (self.input, Data { dims }), self.output)
    }

    /// The output's two picture dimensions, if they lie where they should.
    fn reached(&self, walk: &Walk) -> Option<Reached> {
        let dims = &walk.output.as_ref()?.dims;
        let (y, x) = if self.layout == Layout::Nchw { (2, 3) } else { (1, 2) };
        let axis = |at: usize, which: usize| dims.get(at).and_then(|d| d.axis.clone()).filter(|a| a.which == which);
        (dims.len() == 4).then_some(())?;
        Some(Reached { rows: axis(y, 0)?, columns: axis(x, 1)? })
    }

    /// Output size over input size, if it is the same whole number along both axes.
    fn scale(&self, walk: &Walk, rows: usize, columns: usize) -> Option<u32> {
        let dims = &walk.output.as_ref()?.dims;
        let (y, x) = if self.layout == Layout::Nchw { (2, 3) } else { (1, 2) };
        let (out_rows, out_columns) = (dims.get(y)?.len, dims.get(x)?.len);
        let scale = out_rows / rows;
        let whole = scale >= 1 && out_rows == scale * rows && out_columns == scale * columns;
        whole.then(|| u32::try_from(scale).ok()).flatten()
    }

    fn fixed_size(&self, analysis: &mut Analysis, rows: usize, columns: usize) {
        if rows > LARGEST || columns > LARGEST {
            analysis.blockers.push(format!("its fixed size {columns}x{rows} is too large to be followed"));
            return;
        }
        match self.walk(rows, columns) {
            Err(reason) => analysis.blockers.push(reason),
            Ok(walk) => {
                analysis.scale = self.scale(&walk, rows, columns);
                analysis.blockers.extend(walk.blockers.iter().cloned());
                analysis.foreign.clone_from(&walk.foreign);
                self.judge(analysis, &walk);
            }
        }
        (analysis.minimum, analysis.multiple_of) = (Some(1), Some(1));
    }

    fn free_size(&self, analysis: &mut Analysis) {
        let mut size = UNIT;
        loop {
            let (a, b) = ((size, size + UNIT), (size + 2 * UNIT, size + 3 * UNIT));
            let (first, second) = match (self.walk(a.0, a.1), self.walk(b.0, b.1)) {
                (Ok(first), Ok(second)) => (first, second),
                (Err(reason), _) | (_, Err(reason)) => {
                    analysis.blockers.push(format!("it refuses {}x{} pixels: {reason}", a.1, a.0));
                    return;
                }
            };
            let mut blockers = first.blockers.clone();
            blockers.extend(second.blockers.iter().filter(|b| !first.blockers.contains(b)).cloned());
            for (&(node, axis), factor) in &first.factors {
                if second.factors.get(&(node, axis)) != Some(factor) || self.other_axis_differs(&first, node, axis, *factor) {
                    let reason = "Resize to a computed size: its factor changes with the picture".to_owned();
                    if !blockers.contains(&reason) {
                        blockers.push(reason);
                    }
                }
            }
            let scales = (self.scale(&first, a.0, a.1), self.scale(&second, b.0, b.1));
            let mut found = Analysis { blockers, foreign: first.foreign.clone(), ..analysis.clone() };
            found.scale = scales.0.filter(|_| scales.0 == scales.1);
            if found.scale.is_none() && found.is_open() {
                found.blockers.push("its output is no whole multiple of its input".into());
            }
            let (lost, mut other) = (found.clone(), found.clone());
            self.judge(&mut found, &first);
            self.judge(&mut other, &second);
            let settled = !lost.is_open() || found.receptive != Receptive::Unbounded;
            if !settled && 2 * size <= LARGEST - 3 * UNIT {
                size *= 2;
                continue;
            }
            if found.receptive != other.receptive && found.blockers.is_empty() {
                found.receptive = Receptive::Unbounded;
                found.blockers.push("what it sees changes with the picture's size".into());
            }
            if found.receptive == Receptive::Unbounded && found.is_open() {
                found.blockers.push(format!("it sees further than {} pixels", size / 3));
            }
            *analysis = found;
            self.size_rule(analysis);
            return;
        }
    }

    /// Whether rows and columns are resized by different factors although both lengths are multiples of every usual stride.
    fn other_axis_differs(&self, walk: &Walk, node: usize, axis: usize, factor: Ratio) -> bool {
        axis == 0 && walk.factors.get(&(node, 1)).is_some_and(|&other| other != factor)
    }

    /// Sets radius and stride from one walk, or says why there is none.
    fn judge(&self, analysis: &mut Analysis, walk: &Walk) {
        let [rows_stride, columns_stride] = walk.stride;
        let stride = usize::try_from(rows_stride / value::gcd(rows_stride, columns_stride) * columns_stride).unwrap_or(usize::MAX);
        if !analysis.is_open() {
            // Tiles that keep to the grid of the strided layers differ less from the whole, even where no halo makes them equal.
            analysis.stride = if stride <= ALIGNED { stride as u32 } else { 1 };
            return;
        }
        let Some(reached) = self.reached(walk) else {
            analysis.blockers.push("its output cannot be followed back to its input".into());
            return;
        };
        let Some(scale) = analysis.scale.map(|s| s as usize) else {
            analysis.blockers.push("its output is no whole multiple of its input".into());
            return;
        };
        if stride > 1024 {
            analysis.blockers.push("its layers line up again only after more than 1024 pixels".into());
            return;
        }
        analysis.stride = stride as u32;
        match (radius(&reached.rows, scale, stride), radius(&reached.columns, scale, stride)) {
            (Reach::Px(a), Reach::Px(b)) => analysis.receptive = Receptive::Radius(a.max(b)),
            (Reach::Irregular, _) | (_, Reach::Irregular) => {
                analysis.blockers.push("what an output pixel sees depends on where it lies".into());
            }
            (Reach::Border, _) | (_, Reach::Border) => {}
        }
    }

    /// Which sizes the layers take, by trying: the walk refuses what the network would refuse.
    fn size_rule(&self, analysis: &mut Analysis) {
        let Some(scale) = analysis.scale else { return };
        let takes = |n: usize| self.walk(n, n).is_ok_and(|w| self.scale(&w, n, n) == Some(scale));
        const MULTIPLES: [usize; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32, 48, 64];
        let multiple = MULTIPLES.into_iter().find(|m| {
            let base = UNIT.next_multiple_of(*m);
            (1..=3).all(|k| takes(base + k * m)) && takes(base + 5 * m)
        });
        let Some(multiple) = multiple else { return };
        let minimum = (1..=256usize.div_ceil(multiple)).map(|k| k * multiple).find(|&n| takes(n) && takes(n + multiple));
        analysis.multiple_of = Some(multiple as u32);
        analysis.minimum = minimum.map(|n| n as u32);
    }
}

enum Reach {
    Px(u32),
    /// The borders reach everywhere: the walk's size was too small.
    Border,
    /// Elements a whole period apart see different things.
    Irregular,
}

/// The radius along one axis, in input pixels, from the output elements that no border reaches.
fn radius(axis: &Axis, scale: usize, stride: usize) -> Reach {
    let (spans, period) = (&axis.spans, scale * stride);
    let middle = spans.len() / 2 / period * period;
    let inside = |i: usize| !spans[i].edge;
    let from = (0..middle).rev().take_while(|&i| inside(i)).last().unwrap_or(middle);
    let to = (middle..spans.len()).take_while(|&i| inside(i)).last().map_or(middle, |i| i + 1);
    if to - from < 2 * period {
        return Reach::Border;
    }
    let mut radius = 0;
    for i in from..to {
        let (span, at) = (spans[i], (i / scale) as i32);
        if span.lo > span.hi {
            continue; // depends on nothing
        }
        radius = radius.max(at - span.lo).max(span.hi - at);
        if i + period < to {
            let later = spans[i + period];
            let step = (scale * stride / scale) as i32;
            if (later.lo - step, later.hi - step) != (span.lo, span.hi) {
                return Reach::Irregular;
            }
        }
    }
    Reach::Px(radius.max(0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upscale::graph::decode;
    use crate::upscale::model::Model;

    fn embedded() -> ModelProto {
        decode("m", &Model::embedded_default().unwrap().bytes).unwrap()
    }

    fn facts(a: &Analysis) -> (Receptive, u32, Option<u32>, Option<u32>, Option<u32>) {
        (a.receptive, a.stride, a.scale, a.minimum, a.multiple_of)
    }

    #[test]
    fn the_embedded_network_is_read_right_in_any_order_of_nodes() {
        let mut model = embedded();
        let expected = (Receptive::Radius(20), 1, Some(4), Some(1), Some(1));
        let found = analyse(&model);
        assert_eq!((facts(&found), found.reason()), (expected, String::new()));
        assert_eq!((found.layout, found.channels, found.dtype, found.fixed), (Some(Layout::Nchw), Some(3), Some(Dtype::F32), None));
        assert_eq!(found.ops["Conv"], 21);
        model.graph.as_mut().unwrap().node.reverse();
        assert_eq!(facts(&analyse(&model)), expected);
    }

    #[test]
    fn cycles_and_missing_values_are_reported() {
        let mut model = embedded();
        model.graph.as_mut().unwrap().node[0].input[0] = "output".into();
        assert!(analyse(&model).reason().contains("cycle"));
        let mut model = embedded();
        model.graph.as_mut().unwrap().node[3].input[0] = "nowhere".into();
        let found = analyse(&model);
        assert_eq!(found.receptive, Receptive::Unbounded);
        assert!(!found.reason().is_empty());
    }

    #[test]
    fn absurd_parameters_end_the_walk() {
        for (name, values) in
            [("pads", vec![i64::MAX; 4]), ("strides", vec![i64::MAX, 0]), ("dilations", vec![i64::MIN, 1]), ("pads", vec![-900; 4])]
        {
            let mut model = embedded();
            let node = model.graph.as_mut().unwrap().node.iter_mut().find(|n| n.op_type == "Conv").unwrap();
            node.attribute.retain(|a| a.name != name);
            node.attribute.push(onnx::AttributeProto { name: name.into(), ints: values, r#type: onnx::ATTR_INTS, ..Default::default() });
            let found = analyse(&model);
            assert_eq!(found.receptive, Receptive::Unbounded, "{name}");
            assert!(!found.reason().is_empty());
        }
        let mut model = embedded();
        let shuffle = model.graph.as_mut().unwrap().node.iter_mut().find(|n| n.op_type == "DepthToSpace").unwrap();
        shuffle.attribute[0].i = i64::MAX;
        assert!(!analyse(&model).reason().is_empty());
    }

    #[test]
    fn reshape_regroups_dimensions() {
        let spans = |n: i32| (0..n).map(|i| Span { lo: i, hi: i, edge: false }).collect();
        let rows = Dim { len: 6, axis: Some(Axis { which: 0, scale: Ratio::ONE, spans: spans(6) }) };
        let lens = |dims: &[Dim]| dims.iter().map(|d| d.len).collect::<Vec<_>>();
        // 6 rows as 3 x 2: the first runs over the picture, two rows each.
        let split = layers::reshape(&[Dim::plain(1), rows.clone()], &[1, 3, 2, 1]).unwrap();
        assert_eq!(lens(&split), [1, 3, 2, 1]);
        assert_eq!((split[1].span(2).lo, split[1].span(2).hi), (4, 5));
        assert!(split[2].axis.is_none());
        // Rows and a factor of 2 become 12 rows, twice each.
        let joined = layers::reshape(&[rows.clone(), Dim::plain(2)], &[12]).unwrap();
        assert_eq!((joined[0].span(5).lo, joined[0].span(5).hi), (2, 2));
        assert!(layers::reshape(&[rows.clone(), rows.clone()], &[36]).is_err());
        assert!(layers::reshape(std::slice::from_ref(&rows), &[7]).is_err());
        assert_eq!(lens(&layers::reshape(&[rows], &[6, 1, 1]).unwrap()), [6, 1, 1]);
    }
}
