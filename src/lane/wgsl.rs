//! A written-down formula as WGSL.
//!
//! `shaders/pointwise.wgsl` is the frame around it: bindings, look-ups and the loop over pixels. All of our names begin with
//! `lm_`; what a user wrote comes first, so that its lines keep their numbers.

use std::fmt::Write;

use super::trace::{Filter, Formula, Node, One, Two};

/// What stands around every formula.
const FRAME: &str = include_str!("../../shaders/pointwise.wgsl");

/// `filter` is a reserved word of WGSL; this is as long, so that columns in messages are right.
const FILTER: &str = "lm_fil";

impl Filter {
    /// Its text as the shader has it, with the `Params` that its parameters make; a module of its own.
    pub fn module(&self) -> String {
        let mut text = renamed(&self.text);
        let kind = |n: usize| if n == 1 { "f32".to_owned() } else { format!("vec{n}<f32>") };
        // A structure without members is none.
        let none = [("lm_none".to_owned(), vec![0.0])];
        let params = if self.params.is_empty() { &none[..] } else { &self.params };
        let members: Vec<String> = params.iter().map(|(name, v)| format!("{name}: {}", kind(v.len()))).collect();
        let values: Vec<String> = params
            .iter()
            .map(|(_, v)| {
                let list = v.iter().map(|v| literal(*v)).collect::<Vec<_>>().join(", ");
                if v.len() == 1 { list } else { format!("{}({list})", kind(v.len())) }
            })
            .collect();
        let _ = write!(
            text,
            "\nstruct Params {{ {} }}\nfn lm_call(c: vec3<f32>, pos: vec2<f32>) -> vec3<f32> {{ return {FILTER}(c, Params({}), pos); }}\n",
            members.join(", "),
            values.join(", ")
        );
        text
    }

    /// A message of the compiler with the names that the user knows.
    pub fn message(text: &str) -> String {
        text.replace(FILTER, "filter")
    }
}

/// The text with every word `filter` as [`FILTER`].
fn renamed(text: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("filter") {
        let (before, after) = (&rest[..at], &rest[at + 6..]);
        let alone = !(before.ends_with(word) || after.starts_with(word) || before.is_empty() && out.ends_with(word));
        out.push_str(before);
        out.push_str(if alone { FILTER } else { "filter" });
        rest = after;
    }
    out + rest
}

/// A number as WGSL writes it, negative ones in brackets.
fn literal(v: f32) -> String {
    if v.is_sign_negative() { format!("(-{:?}f)", -v) } else { format!("{v:?}f") }
}

impl Formula {
    /// Where each table's samples begin in the buffer that all of them share.
    pub fn table_starts(&self) -> Vec<usize> {
        starts(self.tables().iter().map(|t| t.samples().len()))
    }

    /// The same for the cubes' colours.
    pub fn cube_starts(&self) -> Vec<usize> {
        starts(self.cubes().iter().map(|c| c.size().pow(3)))
    }

    /// A whole compute shader: `lm_main` changes planes of red, green and blue in place, one pixel per invocation.
    pub fn wgsl(&self) -> String {
        let mut text: String = self.filters().iter().map(Filter::module).collect();
        text.push_str(FRAME);
        text.push_str("\nfn lm_look(c: vec3<f32>, at: vec2<f32>) -> vec3<f32> {\n");
        let used = self.used();
        let mut names: Vec<String> = Vec::with_capacity(self.nodes.len());
        let mut count = 0;
        for (i, node) in self.nodes.iter().enumerate() {
            let expression = if used[i] { self.expression(node, &names) } else { String::new() };
            let plain = matches!(node, Node::Colour(_) | Node::Given(_) | Node::Lit(_) | Node::Part(..));
            names.push(if !used[i] || plain {
                expression
            } else {
                let _ = writeln!(text, "    let v{count} = {expression};");
                count += 1;
                format!("v{}", count - 1)
            });
        }
        let [r, g, b] = self.out.map(|i| names[i as usize].as_str());
        let _ = writeln!(text, "    return vec3<f32>({r}, {g}, {b});\n}}");
        text
    }

    /// What the result depends on.
    fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.nodes.len()];
        let mut left: Vec<u32> = self.out.to_vec();
        while let Some(i) = left.pop() {
            if std::mem::replace(&mut used[i as usize], true) {
                continue;
            }
            match self.nodes[i as usize] {
                Node::Colour(_) | Node::Given(_) | Node::Lit(_) => {}
                Node::One(_, a) | Node::Table(_, a) | Node::Part(a, _) => left.push(a),
                Node::Two(_, a, b) => left.extend([a, b]),
                Node::Random(a, b, c) | Node::Cube(_, [a, b, c]) | Node::Filter(_, [a, b, c]) => left.extend([a, b, c]),
                Node::IfLess(a, b, c, d) => left.extend([a, b, c, d]),
            }
        }
        used
    }

    fn expression(&self, node: &Node, names: &[String]) -> String {
        let n = |i: u32| names[i as usize].as_str();
        let rgb = |[r, g, b]: [u32; 3]| format!("vec3<f32>({}, {}, {})", n(r), n(g), n(b));
        let of3 = |v: [f32; 3]| format!("vec3<f32>({})", v.map(literal).join(", "));
        match *node {
            Node::Colour(c) => format!("c.{}", channel(c)),
            Node::Given("x") => "at.x".into(),
            Node::Given("y") => "at.y".into(),
            Node::Given(name) => format!("lm_frame.{name}"),
            Node::Lit(bits) => literal(f32::from_bits(bits)),
            Node::One(op, a) => match op {
                One::Abs => format!("abs({})", n(a)),
                One::Floor => format!("floor({})", n(a)),
                One::Sqrt => format!("sqrt({})", n(a)),
                One::Exp2 => format!("lm_exp2({})", n(a)),
                One::Log2 => format!("lm_log2({})", n(a)),
            },
            Node::Two(op, a, b) => {
                let (a, b) = (n(a), n(b));
                match op {
                    Two::Add => format!("{a} + {b}"),
                    Two::Sub => format!("{a} - {b}"),
                    Two::Mul => format!("{a} * {b}"),
                    Two::Div => format!("{a} / {b}"),
                    Two::Max => format!("max({a}, {b})"),
                    Two::Min => format!("min({a}, {b})"),
                }
            }
            Node::IfLess(a, b, yes, no) => format!("select({}, {}, {} < {})", n(no), n(yes), n(a), n(b)),
            Node::Table(t, a) => {
                let (table, start) = (&self.tables()[t as usize], self.table_starts()[t as usize]);
                let last = table.samples().len() - 1;
                format!("lm_table({}, {start}u, {last}u, {}, {})", n(a), literal(table.min()), literal(table.scale()))
            }
            Node::Random(x, y, key) => format!("lm_random({}, {}, {})", n(x), n(y), n(key)),
            Node::Cube(t, c) => {
                let (cube, start) = (&self.cubes()[t as usize], self.cube_starts()[t as usize]);
                format!("lm_cube({}, {start}u, {}u, {}, {})", rgb(c), cube.size(), of3(cube.min()), of3(cube.scale()))
            }
            // The middle of the pixel.
            Node::Filter(_, c) => format!("lm_call({}, at + vec2<f32>(0.5f, 0.5f))", rgb(c)),
            Node::Part(colour, c) => format!("{}.{}", n(colour), channel(c)),
        }
    }
}

fn channel(c: u8) -> char {
    ['x', 'y', 'z'][usize::from(c)]
}

fn starts(sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    sizes
        .scan(0, |next, size| {
            let start = *next;
            *next += size;
            Some(start)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Traced, trace};
    use super::super::{Lane, Table};
    use super::*;

    fn body(text: &str) -> Vec<&str> {
        let at = text.find("fn lm_look").unwrap();
        text[at..].lines().skip(1).map(str::trim).take_while(|l| *l != "}").collect()
    }

    #[test]
    fn what_is_computed_is_written_once_and_constants_are_worked_out() {
        let f = trace(|c, _| {
            let two = Traced::lit(0.5) + Traced::lit(1.5);
            let same = |v: Traced| v * two - Traced::lit(-0.25);
            let _unused = c[1].sqrt();
            [same(c[0]), same(c[0]) * Traced::lit(1.0), c[1].if_less(c[2], c[0], c[1])]
        });
        let text = f.wgsl();
        assert_eq!(
            body(&text),
            ["let v0 = c.x * 2.0f;", "let v1 = v0 - (-0.25f);", "let v2 = select(c.y, c.x, c.y < c.z);", "return vec3<f32>(v1, v1, v2);"]
        );
    }

    #[test]
    fn tables_share_one_buffer() {
        let (a, b) = (Table::new(0.0, 1.0, &[0.0, 1.0, 4.0]).unwrap(), Table::new(-1.0, 1.0, &[3.0, 2.0]).unwrap());
        let f = trace(|c, _| [c[0].table(&a), c[1].table(&b), c[2].table(&a)]);
        assert_eq!((f.tables().len(), f.table_starts()), (2, vec![0, 3]));
        assert!(f.wgsl().contains("lm_table(c.y, 3u, 1u, (-1.0f), 0.5f)"), "{}", f.wgsl());
    }

    #[test]
    fn the_reserved_word_is_replaced_and_nothing_else() {
        let given = "fn filter(c: vec3<f32>) { let prefilter = filters + filter2; }  // filter";
        assert_eq!(renamed(given), "fn lm_fil(c: vec3<f32>) { let prefilter = filters + filter2; }  // lm_fil");
        assert_eq!(renamed("filterfilter filter"), "filterfilter lm_fil");
    }
}
