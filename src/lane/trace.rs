//! A formula written down instead of computed: the [`Lane`] that records what is done to it.
//!
//! [`trace`] runs a formula once over [`Traced`] numbers; what comes out is a [`Formula`], whose text is WGSL. Constants are
//! worked out on the way, and what was computed before is not computed again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Sub};
use std::sync::Arc;

use super::{At, Lane, Lut3d, Rgb, Table};

/// A number of a formula that is being written down, in a call of [`trace`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traced(u32);

/// A function written in WGSL by a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The file, for messages.
    pub file: String,
    /// Its text, with a function `filter`.
    pub text: Arc<str>,
    /// The members of its `Params`: names, and one to four numbers each.
    pub params: Vec<(String, Vec<f32>)>,
}

/// One step; numbers are indices of earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// A channel of the colour that comes in.
    Colour(u8),
    /// One of [`At`]'s numbers, by the name that the shader has for it.
    Given(&'static str),
    /// The bits of a constant.
    Lit(u32),
    One(One, u32),
    Two(Two, u32, u32),
    /// If the first is less than the second then the third, else the fourth.
    IfLess(u32, u32, u32, u32),
    /// The table of that number.
    Table(u32, u32),
    Random(u32, u32, u32),
    /// A colour: the cube of that number.
    Cube(u32, [u32; 3]),
    /// A colour: the user's function.
    Filter(u32, [u32; 3]),
    /// A channel of a colour.
    Part(u32, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum One {
    Abs,
    Floor,
    Sqrt,
    Exp2,
    Log2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Two {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

/// A function of colour and place, written down.
#[derive(Debug, Clone, Default)]
pub struct Formula {
    pub(super) nodes: Vec<Node>,
    known: HashMap<Node, u32>,
    pub(super) out: [u32; 3],
    tables: Vec<Table>,
    cubes: Vec<Lut3d>,
    filters: Vec<Filter>,
}

thread_local! {
    /// What is being written on this thread.
    static TAPE: RefCell<Formula> = RefCell::default();
}

/// Writes down `f`. Within it, numbers of other calls mean nothing.
pub fn trace(f: impl FnOnce(Rgb<Traced>, &At<Traced>) -> Rgb<Traced>) -> Formula {
    let outer = TAPE.take();
    let given = |name| put(Node::Given(name));
    let at = At { x: given("x"), y: given("y"), width: given("width"), height: given("height"), key: given("key") };
    let out = f([0, 1, 2].map(|c| put(Node::Colour(c))), &at);
    let mut formula = TAPE.replace(outer);
    formula.out = out.map(|v| v.0);
    formula
}

impl Formula {
    /// The curves that it looks up, in the order in which the shader numbers them.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The colour cubes that it looks up.
    pub fn cubes(&self) -> &[Lut3d] {
        &self.cubes
    }

    /// The users' functions that it calls.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// The number of `item` in a list that it joins if it is not there.
    fn place<T: PartialEq + Clone>(list: &mut Vec<T>, item: &T) -> u32 {
        let at = list.iter().position(|known| known == item).unwrap_or_else(|| {
            list.push(item.clone());
            list.len() - 1
        });
        at as u32
    }

    fn lit(&self, at: u32) -> Option<f32> {
        match self.nodes[at as usize] {
            Node::Lit(bits) => Some(f32::from_bits(bits)),
            _ => None,
        }
    }
}

fn put(node: Node) -> Traced {
    TAPE.with_borrow_mut(|tape| {
        if let Some(at) = tape.known.get(&node) {
            return Traced(*at);
        }
        let at = tape.nodes.len() as u32;
        tape.nodes.push(node);
        tape.known.insert(node, at);
        Traced(at)
    })
}

fn known(v: Traced) -> Option<f32> {
    TAPE.with_borrow(|tape| tape.lit(v.0))
}

/// The constant, unless it is one that WGSL cannot write.
fn folded(v: f32) -> Option<Traced> {
    v.is_finite().then(|| Traced::lit(v))
}

fn one(op: One, v: Traced) -> Traced {
    let constant = known(v).and_then(|v| {
        folded(match op {
            One::Abs => Lane::abs(v),
            One::Floor => Lane::floor(v),
            One::Sqrt => Lane::sqrt(v),
            One::Exp2 => Lane::exp2(v),
            One::Log2 => Lane::log2(v),
        })
    });
    constant.unwrap_or_else(|| put(Node::One(op, v.0)))
}

fn two(op: Two, a: Traced, b: Traced) -> Traced {
    let (left, right) = (known(a), known(b));
    let constant = left.zip(right).and_then(|(a, b)| {
        folded(match op {
            Two::Add => a + b,
            Two::Sub => a - b,
            Two::Mul => a * b,
            Two::Div => a / b,
            Two::Max => Lane::max(a, b),
            Two::Min => Lane::min(a, b),
        })
    });
    match (op, left, right) {
        _ if constant.is_some() => constant.unwrap_or(a),
        (Two::Mul, Some(1.0), _) => b,
        (Two::Mul | Two::Div, _, Some(1.0)) | (Two::Add | Two::Sub, _, Some(0.0)) => a,
        (Two::Add, Some(0.0), _) => b,
        _ => put(Node::Two(op, a.0, b.0)),
    }
}

fn parts(colour: Traced) -> Rgb<Traced> {
    [0, 1, 2].map(|c| put(Node::Part(colour.0, c)))
}

impl Traced {
    /// A user's function of a colour.
    pub fn filter(c: Rgb<Self>, f: &Filter) -> Rgb<Self> {
        let at = TAPE.with_borrow_mut(|tape| Formula::place(&mut tape.filters, f));
        parts(put(Node::Filter(at, c.map(|v| v.0))))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident,)*) => {$(
        impl $trait for Traced {
            type Output = Self;
            fn $method(self, o: Self) -> Self {
                two(Two::$trait, self, o)
            }
        }
    )*};
}
operators! { Add add, Sub sub, Mul mul, Div div, }

impl Lane for Traced {
    fn lit(v: f32) -> Self {
        put(Node::Lit(v.to_bits()))
    }
    fn max(self, o: Self) -> Self {
        two(Two::Max, self, o)
    }
    fn min(self, o: Self) -> Self {
        two(Two::Min, self, o)
    }
    fn abs(self) -> Self {
        one(One::Abs, self)
    }
    fn floor(self) -> Self {
        one(One::Floor, self)
    }
    fn sqrt(self) -> Self {
        one(One::Sqrt, self)
    }
    fn exp2(self) -> Self {
        one(One::Exp2, self)
    }
    fn log2(self) -> Self {
        one(One::Log2, self)
    }
    fn if_less(self, o: Self, yes: Self, no: Self) -> Self {
        match known(self).zip(known(o)) {
            Some((a, b)) => {
                if a < b {
                    yes
                } else {
                    no
                }
            }
            None if yes == no => yes,
            None => put(Node::IfLess(self.0, o.0, yes.0, no.0)),
        }
    }
    fn table(self, t: &Table) -> Self {
        let at = TAPE.with_borrow_mut(|tape| Formula::place(&mut tape.tables, t));
        put(Node::Table(at, self.0))
    }
    fn lut3d(c: Rgb<Self>, t: &Lut3d) -> Rgb<Self> {
        let at = TAPE.with_borrow_mut(|tape| Formula::place(&mut tape.cubes, t));
        parts(put(Node::Cube(at, c.map(|v| v.0))))
    }
    fn random(self, y: Self, key: Self) -> Self {
        put(Node::Random(self.0, y.0, key.0))
    }
}
