//! A pickle reader that builds data and never runs anything.
//!
//! A pickle is a program for a stack machine. The opcodes that torch.save writes (pickle protocols 2 to 5, [PEP 307], [PEP 574])
//! are interpreted here into an arena of plain values; the only callables known are the ones that describe tensors and ordered
//! dictionaries, and they are not called but pattern-matched. Every other opcode or global is refused by name.
//!
//! Hostile input is bounded: memory is linear in the pickle's length (values are arena indices, so sharing costs four bytes and
//! cycles cannot make a recursion), nesting is limited, and all counts are checked against the bytes that are there.
//!
//! Longer than 500 lines because the table of opcodes is one `match` and every refusal has its test here.
//!
//! [PEP 307]: https://peps.python.org/pep-0307/
//! [PEP 574]: https://peps.python.org/pep-0574/

use std::collections::HashMap;
use std::ops::Range;

use super::Refusal;
use super::weights::{DType, Strided};

/// More values than any checkpoint has (a full training state of a large network: some 10,000).
const MAX_VALUES: usize = 1 << 20;
/// Containers inside containers. A training state nests about 8 deep.
const MAX_DEPTH: u8 = 32;
/// Open marks (unfinished tuples, lists and dictionaries).
const MAX_MARKS: usize = 64;

/// Index of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// What a checkpoint may hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Text, as the range of its bytes (checked to be UTF-8).
    Text(Range<usize>),
    Bytes(Range<usize>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(Tensor),
}

/// The callables and types that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageType(DType),
}

/// A block of values in the file, by its name: in a zip container the entry `data/KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub key: String,
    pub dtype: DType,
    /// How many values, not bytes.
    pub len: u64,
}

/// A view into a storage; `view` is checked to lie inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub storage: Storage,
    pub view: Strided,
}

/// A parsed pickle.
#[derive(Debug)]
pub struct Pickle<'a> {
    data: &'a [u8],
    values: Vec<Value>,
    root: Id,
    end: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the first pickle in `data`, up to its STOP opcode; what follows is not looked at.
    pub fn parse(data: &'a [u8]) -> Result<Self, Refusal> {
        Machine { data, at: 0, values: Vec::new(), depths: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }.run()
    }

    /// The object that was pickled.
    pub fn root(&self) -> Id {
        self.root
    }

    /// How many bytes of the data it takes.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Every storage that it names.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.values.iter().filter_map(|v| match v {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// A value.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    /// A value's text, if it is one.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(range) => std::str::from_utf8(&self.data[range.clone()]).ok(),
            _ => None,
        }
    }
}

struct Machine<'a> {
    data: &'a [u8],
    at: usize,
    values: Vec<Value>,
    /// For each value, how many levels of containers it holds.
    depths: Vec<u8>,
    stack: Vec<Id>,
    /// Stack heights at open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Pickle<'a>, Refusal> {
        loop {
            let op = self.byte()?;
            match op {
                0x80 => match self.byte()? {
                    2..=5 => {}
                    v => return Err(broken(format!("pickle protocol {v} (2 to 5 are read)"))),
                },
                // FRAME: only a hint for buffering.
                0x95 => drop(self.take(8)?),
                b'.' => {
                    let root = self.pop()?;
                    return Ok(Pickle { data: self.data, values: self.values, root, end: self.at });
                }
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'J' => {
                    let v = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(v.into()))?;
                }
                b'K' => {
                    let v = self.byte()?;
                    self.push(Value::Int(v.into()))?;
                }
                b'M' => {
                    let v = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(v.into()))?;
                }
                0x8a => {
                    let n = self.byte()?;
                    self.long(n.into())?;
                }
                0x8b => {
                    let n = u32::from_le_bytes(self.array()?);
                    self.long(n.into())?;
                }
                b'G' => {
                    let v = f64::from_be_bytes(self.array()?);
                    self.push(Value::Float(v))?;
                }
                b'X' | b'T' => {
                    let n = u32::from_le_bytes(self.array()?);
                    self.string(n.into())?;
                }
                0x8c | b'U' => {
                    let n = self.byte()?;
                    self.string(n.into())?;
                }
                0x8d => {
                    let n = u64::from_le_bytes(self.array()?);
                    self.string(n)?;
                }
                b'B' => {
                    let n = u32::from_le_bytes(self.array()?);
                    self.bytes(n.into())?;
                }
                b'C' => {
                    let n = self.byte()?;
                    self.bytes(n.into())?;
                }
                0x8e => {
                    let n = u64::from_le_bytes(self.array()?);
                    self.bytes(n)?;
                }
                b'(' => {
                    if self.marks.len() >= MAX_MARKS {
                        return Err(broken(format!("more than {MAX_MARKS} values are open inside each other")));
                    }
                    self.marks.push(self.stack.len());
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b']' => self.push(Value::List(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                0x85..=0x87 => {
                    let n = usize::from(op - 0x84);
                    let items = self.pop_many(n)?;
                    self.container(Value::Tuple(items))?;
                }
                b't' => {
                    let items = self.pop_mark()?;
                    self.container(Value::Tuple(items))?;
                }
                b'l' => {
                    let items = self.pop_mark()?;
                    self.container(Value::List(items))?;
                }
                b'd' => {
                    let items = pairs(&self.pop_mark()?)?;
                    self.container(Value::Dict(items))?;
                }
                b'a' => {
                    let item = self.pop_many(1)?;
                    self.extend_list(&item)?;
                }
                b'e' => {
                    let items = self.pop_mark()?;
                    self.extend_list(&items)?;
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.extend_dict(&items)?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.extend_dict(&items)?;
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'q' => {
                    let slot = self.byte()?;
                    self.remember(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.remember(slot)?;
                }
                0x94 => {
                    let slot = u32::try_from(self.memo.len()).map_err(|_| broken("the memo is full"))?;
                    self.remember(slot)?;
                }
                b'h' => {
                    let slot = self.byte()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.push(Value::Global(global(module, name)?))?;
                }
                0x93 => {
                    let parts = self.pop_many(2)?;
                    let (Some(module), Some(name)) = (self.text(parts[0]), self.text(parts[1])) else {
                        return Err(broken("STACK_GLOBAL without two names"));
                    };
                    self.push(Value::Global(global(module, name)?))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(Value::Storage(storage))?;
                }
                b'R' => {
                    let parts = self.pop_many(2)?;
                    self.reduce(parts[0], parts[1])?;
                }
                b'b' => self.build()?,
                other => {
                    return Err(Refusal::new(
                        format!("its pickle uses the opcode {} at byte {}, which tensors do not need", opcode_name(other), self.at - 1),
                        "save only the weights: torch.save(model.state_dict(), FILE)",
                    ));
                }
            }
        }
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Refusal> {
        let left = self.data.len() - self.at;
        match usize::try_from(n) {
            Ok(n) if n <= left => {
                self.at += n;
                Ok(&self.data[self.at - n..self.at])
            }
            _ => Err(broken(format!("it ends at byte {} where {n} more are announced", self.data.len()))),
        }
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    fn line(&mut self) -> Result<&'a str, Refusal> {
        let rest = &self.data[self.at..];
        let end = rest.iter().take(256).position(|&b| b == b'\n').ok_or_else(|| broken("a global's name does not end"))?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| broken("a global's name is not UTF-8"))
    }

    fn push(&mut self, value: Value) -> Result<(), Refusal> {
        self.push_at(value, 0)
    }

    fn push_at(&mut self, value: Value, depth: u8) -> Result<(), Refusal> {
        if self.values.len() >= MAX_VALUES {
            return Err(broken(format!("it holds more than {MAX_VALUES} values")));
        }
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
        self.depths.push(depth);
        Ok(())
    }

    /// Pushes a container that was made with its items.
    fn container(&mut self, value: Value) -> Result<(), Refusal> {
        let depth = match &value {
            Value::Tuple(items) | Value::List(items) => self.depth_of(items)?,
            Value::Dict(items) => items.iter().try_fold(0, |d, &(k, v)| Ok::<_, Refusal>(d.max(self.depth_of(&[k, v])?)))?,
            _ => 0,
        };
        self.push_at(value, depth)
    }

    /// The depth of a container of these items.
    fn depth_of(&self, items: &[Id]) -> Result<u8, Refusal> {
        let depth = items.iter().map(|i| self.depths[i.0 as usize] + 1).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(broken(format!("containers are nested more than {MAX_DEPTH} deep")));
        }
        Ok(depth)
    }

    /// Items may not be popped from below an open mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Refusal> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => Err(broken("it takes a value from an empty stack")),
        }
    }

    fn pop(&mut self) -> Result<Id, Refusal> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_many(&mut self, n: usize) -> Result<Vec<Id>, Refusal> {
        if self.stack.len() < self.floor() + n {
            return Err(broken("it takes a value from an empty stack"));
        }
        Ok(self.stack.split_off(self.stack.len() - n))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Refusal> {
        let mark = self.marks.pop().ok_or_else(|| broken("it closes a value that was never opened"))?;
        Ok(self.stack.split_off(mark))
    }

    fn text(&self, id: Id) -> Option<&'a str> {
        match &self.values[id.0 as usize] {
            Value::Text(range) => std::str::from_utf8(&self.data[range.clone()]).ok(),
            _ => None,
        }
    }

    fn string(&mut self, n: u64) -> Result<(), Refusal> {
        let bytes = self.take(n)?;
        if std::str::from_utf8(bytes).is_err() {
            return Err(broken(format!("the text before byte {} is not UTF-8", self.at)));
        }
        self.push(Value::Text(self.at - bytes.len()..self.at))
    }

    fn bytes(&mut self, n: u64) -> Result<(), Refusal> {
        let len = self.take(n)?.len();
        self.push(Value::Bytes(self.at - len..self.at))
    }

    /// A two's-complement little-endian integer of `n` bytes.
    fn long(&mut self, n: u64) -> Result<(), Refusal> {
        let bytes = self.take(n)?;
        if bytes.len() > 8 {
            return Err(broken(format!("an integer of {n} bytes (8 at most)")));
        }
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut full = [sign; 8];
        full[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(full)))
    }

    fn remember(&mut self, slot: u32) -> Result<(), Refusal> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), Refusal> {
        let id = *self.memo.get(&slot).ok_or_else(|| broken(format!("it recalls memo {slot}, which was never stored")))?;
        self.stack.push(id);
        Ok(())
    }

    fn extend_list(&mut self, items: &[Id]) -> Result<(), Refusal> {
        let target = self.top()?;
        self.deepen(target, items)?;
        match &mut self.values[target.0 as usize] {
            Value::List(list) => list.extend_from_slice(items),
            _ => return Err(broken("it appends to something that is no list")),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<(), Refusal> {
        let target = self.top()?;
        self.deepen(target, items)?;
        let items = pairs(items)?;
        match &mut self.values[target.0 as usize] {
            Value::Dict(dict) => dict.extend(items),
            _ => return Err(broken("it sets an item of something that is no dictionary")),
        }
        Ok(())
    }

    fn deepen(&mut self, target: Id, items: &[Id]) -> Result<(), Refusal> {
        if items.contains(&target) {
            return Err(broken("a container holds itself"));
        }
        let depth = self.depth_of(items)?;
        let slot = &mut self.depths[target.0 as usize];
        *slot = (*slot).max(depth);
        Ok(())
    }

    /// The persistent id of a storage: `("storage", TYPE, key, location, length)`; the format before 1.6 adds what it is a view of: None.
    fn storage(&self, id: Id) -> Result<Storage, Refusal> {
        let fault = || {
            Refusal::new("its pickle refers to outside data that is no tensor storage", "save it again with torch.save(state_dict, FILE)")
        };
        let Value::Tuple(parts) = &self.values[id.0 as usize] else { return Err(fault()) };
        let [tag, kind, key, _location, len, ref view @ ..] = parts[..] else { return Err(fault()) };
        if view.len() > 1 || view.iter().any(|v| self.values[v.0 as usize] != Value::None) {
            return Err(fault());
        }
        if self.text(tag) != Some("storage") {
            return Err(fault());
        }
        let (Value::Global(Global::StorageType(dtype)), Some(key), Value::Int(len)) =
            (&self.values[kind.0 as usize], self.text(key), &self.values[len.0 as usize])
        else {
            return Err(fault());
        };
        if key.is_empty() || key.len() > 64 || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(broken(format!("the storage name {key:?} is not a plain name")));
        }
        let len = u64::try_from(*len).map_err(|_| broken(format!("storage {key} has {len} values")))?;
        Ok(Storage { key: key.to_owned(), dtype: *dtype, len })
    }

    /// Understands `callable(*args)` for the callables known.
    fn reduce(&mut self, callable: Id, args: Id) -> Result<(), Refusal> {
        let Value::Global(callable) = self.values[callable.0 as usize] else {
            return Err(broken("REDUCE calls something that is no known global"));
        };
        let Value::Tuple(args) = &self.values[args.0 as usize] else {
            return Err(broken("REDUCE without a tuple of arguments"));
        };
        let args = args.clone();
        match callable {
            Global::OrderedDict => match args[..] {
                [] => self.push(Value::Dict(Vec::new())),
                [items] => {
                    let items = self.ordered_items(items)?;
                    self.container(Value::Dict(items))
                }
                _ => Err(broken(format!("OrderedDict with {} arguments", args.len()))),
            },
            Global::RebuildTensor => {
                let tensor = self.tensor(&args)?;
                self.push(Value::Tensor(tensor))
            }
            Global::RebuildParameter => match args.first().map(|a| &self.values[a.0 as usize]) {
                Some(Value::Tensor(tensor)) => {
                    let tensor = tensor.clone();
                    self.push(Value::Tensor(tensor))
                }
                _ => Err(broken("a parameter without a tensor")),
            },
            Global::StorageType(_) => Err(broken("a storage type is called")),
        }
    }

    /// The list of pairs in `OrderedDict([[key, value], ...])`.
    fn ordered_items(&self, items: Id) -> Result<Vec<(Id, Id)>, Refusal> {
        let fault = || broken("OrderedDict from something that is no list of pairs");
        let (Value::List(list) | Value::Tuple(list)) = &self.values[items.0 as usize] else { return Err(fault()) };
        list.iter()
            .map(|&item| match &self.values[item.0 as usize] {
                Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
                _ => Err(fault()),
            })
            .collect()
    }

    /// `(storage, offset, shape, stride[, requires_grad, hooks[, metadata]])`.
    fn tensor(&self, args: &[Id]) -> Result<Tensor, Refusal> {
        let [storage, offset, shape, stride, ..] = args else {
            return Err(broken(format!("a tensor from {} arguments", args.len())));
        };
        let (Value::Storage(storage), Value::Int(offset)) = (&self.values[storage.0 as usize], &self.values[offset.0 as usize]) else {
            return Err(broken("a tensor without storage and offset"));
        };
        let view = Strided::new(*offset, &self.integers(*shape)?, &self.integers(*stride)?, storage.len)
            .map_err(|what| broken(format!("a tensor in storage {}: {what}", storage.key)))?;
        Ok(Tensor { storage: storage.clone(), view })
    }

    fn integers(&self, id: Id) -> Result<Vec<i64>, Refusal> {
        let (Value::Tuple(items) | Value::List(items)) = &self.values[id.0 as usize] else {
            return Err(broken("a tensor's shape or stride is no tuple"));
        };
        if items.len() > Strided::MAX_DIMS {
            return Err(broken(format!("a tensor with {} dimensions", items.len())));
        }
        items
            .iter()
            .map(|i| match self.values[i.0 as usize] {
                Value::Int(v) => Ok(v),
                _ => Err(broken("a tensor's shape or stride is no integer")),
            })
            .collect()
    }

    /// BUILD sets attributes. A state dictionary has one, `_metadata`, which says nothing about the weights: it is dropped.
    fn build(&mut self) -> Result<(), Refusal> {
        let state = self.pop()?;
        let target = self.top()?;
        match (&self.values[target.0 as usize], &self.values[state.0 as usize]) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            _ => Err(Refusal::new(
                "its pickle uses the opcode BUILD on something that is no dictionary",
                "save only the weights: torch.save(model.state_dict(), FILE)",
            )),
        }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Refusal> {
    let pairs = items.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(broken("a dictionary has a key without a value"));
    }
    Ok(pairs.map(|p| (p[0], p[1])).collect())
}

fn broken(what: impl Into<String>) -> Refusal {
    Refusal::new(
        format!("its pickle is not a checkpoint's: {}", what.into()),
        "fetch the file again, or save it again with torch.save(state_dict, FILE)",
    )
}

fn global(module: &str, name: &str) -> Result<Global, Refusal> {
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch", storage) if DType::from_storage(storage).is_some() => {
            DType::from_storage(storage).map(Global::StorageType).ok_or_else(|| broken("an unknown storage type"))
        }
        _ => Err(Refusal::new(
            format!(
                "its pickle names the global {:?}; only tensors, dictionaries, lists, numbers and text are read, and nothing is run",
                format!("{module}.{name}")
            ),
            "save only the weights: torch.save(model.state_dict(), FILE), or use a .safetensors file",
        )),
    }
}

/// The name pickletools gives an opcode that is not interpreted here.
fn opcode_name(op: u8) -> String {
    let name = match op {
        b'I' => "INT",
        b'L' => "LONG",
        b'F' => "FLOAT",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'P' => "PERSID",
        b'g' => "GET",
        b'p' => "PUT",
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x92 => "NEWOBJ_EX",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return format!("0x{op:02x} (unknown)"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(data: &[u8]) -> String {
        Pickle::parse(data).map(|p| p.get(p.root()).clone()).unwrap_err().what
    }

    #[test]
    fn reads_plain_values() {
        // pickle.dumps({'a': [1, 2.5, True, None, 'x', (3, -4), 2**40]}, 2)
        let data = b"\x80\x02}q\0X\x01\0\0\0aq\x01]q\x02(K\x01G@\x04\0\0\0\0\0\0\x88NX\x01\0\0\0xq\x03K\x03J\xfc\xff\xff\xff\x86q\x04\x8a\x06\0\0\0\0\0\x01es.";
        let p = Pickle::parse(data).unwrap();
        let Value::Dict(items) = p.get(p.root()) else { panic!() };
        assert_eq!(p.text(items[0].0), Some("a"));
        let Value::List(list) = p.get(items[0].1) else { panic!() };
        let seen: Vec<_> = list.iter().map(|&i| p.get(i).clone()).collect();
        assert_eq!(seen[..4], [Value::Int(1), Value::Float(2.5), Value::Bool(true), Value::None]);
        assert_eq!(p.text(list[4]), Some("x"));
        let Value::Tuple(pair) = &seen[5] else { panic!() };
        assert_eq!((p.get(pair[0]), p.get(pair[1])), (&Value::Int(3), &Value::Int(-4)));
        assert_eq!(seen[6], Value::Int(1 << 40));
    }

    #[test]
    fn names_what_it_refuses() {
        assert!(refused(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.").contains("\"os.system\""));
        assert!(refused(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.").contains("\"builtins.eval\""));
        assert!(refused(b"(S'id'\nios\nsystem\n.").contains("STRING"));
        assert!(refused(b"\x80\x02K\x01K\x01o.").contains("OBJ"));
        assert!(refused(b"\x80\x02)\x81.").contains("NEWOBJ"));
        assert!(refused(b"\x80\x02\x82\x01.").contains("EXT1"));
        assert!(refused(b"\x80\x02]}b.").contains("BUILD"));
        assert!(refused(b"\x80\x02\xfe.").contains("0xfe"));
    }

    #[test]
    fn limits_hold() {
        assert!(refused(&[&b"\x80\x02"[..], &[b'('; 100_000]].concat()).contains("open inside each other"));
        // Tuples in tuples, built from the inside: no recursion anywhere.
        assert!(refused(&[&b"\x80\x02)"[..], &[0x85; 100_000], b"."].concat()).contains("nested more than"));
        assert!(refused(&[&b"\x80\x02"[..], &vec![b'N'; MAX_VALUES + 1], b"."].concat()).contains("more than 1048576 values"));
        assert!(refused(b"\x80\x02]q\0h\0a.").contains("holds itself"));
        assert!(refused(b"\x80\x02j\xff\xff\xff\xff.").contains("4294967295"));
        assert!(refused(b"\x80\x02X\xff\xff\xff\x7fabc").contains("2147483647"));
        assert!(refused(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc").contains("18446744073709551615"));
        assert!(refused(b"\x80\x02\x8b\xff\xff\xff\xff").contains("announced"));
        assert!(refused(b"\x80\x02K\x01").contains("ends at byte 4"));
        assert!(refused(b"\x80\x02.").contains("empty stack"));
        assert!(refused(b"\x80\x02K\x01(0.").contains("empty stack"));
        assert!(refused(b"").contains("ends at byte 0"));
        // Sharing doubles at every level (a "billion laughs"), but the arena grows by one value a level and depth stops it.
        assert!(refused(&[&b"\x80\x02)"[..], &b"2\x86".repeat(1000), b"."].concat()).contains("nested more than"));
    }

    #[test]
    fn persistent_ids_must_be_storages() {
        assert!(refused(b"\x80\x02X\x01\0\0\0aQ.").contains("outside data"));
        assert!(
            refused(b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x09\0\0\0../../etcX\x03\0\0\0cpuK\x04tQ.")
                .contains("not a plain name")
        );
        assert!(
            refused(b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpuJ\xff\xff\xff\xfftQ.")
                .contains("has -1 values")
        );
        assert!(refused(b"\x80\x02Pabc\n.").contains("PERSID"));
    }

    #[test]
    fn truncation_never_panics() {
        let data = b"\x80\x02}q\0X\x01\0\0\0aq\x01]q\x02(K\x01G@\x04\0\0\0\0\0\0\x88NX\x01\0\0\0xq\x03K\x03J\xfc\xff\xff\xff\x86q\x04es.";
        for n in 0..data.len() {
            assert!(Pickle::parse(&data[..n]).is_err(), "cut at {n}");
        }
    }
}
