//! What torch.save wrote before version 1.6, and what `_use_new_zipfile_serialization=False` still writes: pickles one after another (a magic
//! number, a version, facts about the machine, the object, the names of its storages), then the storages in that order, each behind
//! the number of its values. Many ESRGAN checkpoints are of that time.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::Refusal;
use super::pickle::{Pickle, Storage, Value};
use super::torch_zip::{MAX_PICKLE_BYTES, MAX_READ_BYTES, MAX_STORAGE_BYTES};

/// The pickled magic number at the beginning.
pub const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
/// The version of the format, unchanged since it began.
const VERSION: i64 = 1001;

/// An open checkpoint.
#[derive(Debug)]
pub struct TorchLegacy<R> {
    file: R,
    /// Where the values of each storage begin.
    places: HashMap<String, u64>,
    read_bytes: u64,
    /// The storage read last: tensors of one storage follow each other.
    last: Option<(String, Vec<u8>)>,
}

impl<R: Read + Seek> TorchLegacy<R> {
    /// Opens a file that begins with [`MAGIC`] and returns it with the bytes of its object's pickle.
    pub fn open(mut file: R) -> Result<(Self, Vec<u8>), Refusal> {
        let failed = |e: std::io::Error| damaged(format!("it cannot be read ({e})"));
        let whole = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(failed)?;
        let mut data = Vec::new();
        (&mut file).take(MAX_PICKLE_BYTES).read_to_end(&mut data).map_err(failed)?;

        let version = Pickle::parse(&data)?;
        if *version.get(version.root()) != Value::Int(VERSION) {
            return Err(damaged("the version of its format is unknown"));
        }
        let mut at = version.end();
        let machine = Pickle::parse(&data[at..])?;
        if let Value::Dict(items) = machine.get(machine.root())
            && items.iter().any(|(k, v)| machine.text(*k) == Some("little_endian") && *machine.get(*v) == Value::Bool(false))
        {
            return Err(Refusal::new("its byte order is big; little is read", "load and save it again on a little-endian machine"));
        }
        at += machine.end();
        let object = Pickle::parse(&data[at..])?;
        let pickle = data[at..at + object.end()].to_vec();
        at += object.end();
        let names = Pickle::parse(&data[at..])?;
        at += names.end();

        let mut stored: HashMap<&str, &Storage> = HashMap::new();
        for storage in object.storages() {
            if stored.insert(&storage.key, storage).is_some_and(|before| before != storage) {
                return Err(damaged(format!("storage {} is said to be of two kinds", storage.key)));
            }
        }
        let Value::List(order) = names.get(names.root()) else { return Err(damaged("the names of its storages are no list")) };
        let mut places = HashMap::new();
        let mut from = (MAGIC.len() + at) as u64;
        for id in order {
            let key = names.text(*id).ok_or_else(|| damaged("the name of a storage is no text"))?;
            let storage = stored.get(key).ok_or_else(|| damaged(format!("storage {key} belongs to no tensor")))?;
            let mut count = [0; 8];
            file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(&mut count)).map_err(|_| cut_short(whole))?;
            if u64::from_le_bytes(count) != storage.len {
                let what = format!("storage {key} has {} values where {} belong", u64::from_le_bytes(count), storage.len);
                return Err(damaged(what));
            }
            let end = storage.len.checked_mul(storage.dtype.bytes() as u64).and_then(|n| n.checked_add(from + 8));
            let end = end.filter(|end| *end <= whole).ok_or_else(|| cut_short(whole))?;
            if places.insert(key.to_owned(), from + 8).is_some() {
                return Err(damaged(format!("storage {key} is there twice")));
            }
            from = end;
        }
        Ok((Self { file, places, read_bytes: 0, last: None }, pickle))
    }

    /// The bytes of a storage.
    pub fn storage(&mut self, storage: &Storage) -> Result<&[u8], Refusal> {
        let Storage { key, dtype, len } = storage;
        if self.last.as_ref().is_none_or(|(last, _)| last != key) {
            self.last = None;
            let at = *self.places.get(key).ok_or_else(|| damaged(format!("storage {key} is missing")))?;
            let need = len.checked_mul(dtype.bytes() as u64).filter(|n| *n <= MAX_STORAGE_BYTES);
            let need = need.ok_or_else(|| damaged(format!("storage {key} has more than {MAX_STORAGE_BYTES} bytes")))?;
            self.read_bytes += need;
            if self.read_bytes > MAX_READ_BYTES {
                return Err(damaged(format!("more than {MAX_READ_BYTES} bytes would have to be read")));
            }
            let mut bytes = Vec::new();
            let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| (&mut self.file).take(need).read_to_end(&mut bytes));
            if read.map_err(|e| damaged(format!("storage {key} cannot be read ({e})")))? as u64 != need {
                return Err(damaged(format!("storage {key} is cut short")));
            }
            self.last = Some((key.clone(), bytes));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, bytes)| bytes))
    }
}

fn cut_short(whole: u64) -> Refusal {
    damaged(format!("it is cut short: {whole} bytes are less than its storages take"))
}

fn damaged(what: impl Into<String>) -> Refusal {
    Refusal::new(what, "fetch the file again")
}
