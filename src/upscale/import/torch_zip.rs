//! The zip container that torch.save writes: `NAME/data.pkl` and one entry `NAME/data/KEY` for each storage.
//!
//! Nothing is unpacked to disk and storages are read one at a time, when a tensor in them is asked for.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use super::Refusal;
use super::pickle::Storage;

/// A training state of a large network has some hundred kilobytes.
pub(super) const MAX_PICKLE_BYTES: u64 = 16 << 20;
/// Largest storage read.
pub(super) const MAX_STORAGE_BYTES: u64 = 1 << 30;
/// All that is read from one file, so that many views of one storage cannot keep the reader busy for hours.
pub(super) const MAX_READ_BYTES: u64 = 8 << 30;
/// Entries in the container; a training state has some thousands.
const MAX_ENTRIES: usize = 1 << 16;
/// Floating-point weights shrink by some 10 % when deflated; entries past this ratio (and past 1 MiB) are bombs.
const MAX_RATIO: u64 = 100;

/// An open checkpoint.
#[derive(Debug)]
pub struct TorchZip<R> {
    zip: ZipArchive<R>,
    /// `NAME/`, the folder all entries are in.
    root: String,
    read_bytes: u64,
    /// The storage read last: tensors of one storage follow each other.
    last: Option<(String, Vec<u8>)>,
}

impl<R: Read + Seek> TorchZip<R> {
    /// Opens the container and returns it with the bytes of its pickle.
    pub fn open(reader: R) -> Result<(Self, Vec<u8>), Refusal> {
        let mut zip = ZipArchive::new(reader).map_err(|e| damaged(format!("it is no complete zip container ({e})")))?;
        if zip.len() > MAX_ENTRIES {
            return Err(damaged(format!("it has {} entries, more than {MAX_ENTRIES}", zip.len())));
        }
        if zip.has_duplicate_names() {
            return Err(damaged("two entries of its zip container have the same name"));
        }
        if zip.has_overlapping_files().map_err(|e| damaged(e.to_string()))? {
            return Err(damaged("entries of its zip container overlap"));
        }
        let names: Vec<String> =
            zip.file_names().map(|n| n.map(|n| n.into_owned())).collect::<Result<_, _>>().map_err(|e| damaged(e.to_string()))?;
        for name in &names {
            if name.starts_with('/') || name.contains(['\\', '\0', ':']) || name.split('/').any(|part| part == "..") {
                return Err(damaged(format!("the entry name {name:?} leads out of the container")));
            }
        }
        let pickles: Vec<&String> =
            names.iter().filter(|n| *n == "data.pkl" || n.ends_with("/data.pkl") && n.matches('/').count() == 1).collect();
        let root = match pickles[..] {
            [one] => one.trim_end_matches("data.pkl").to_owned(),
            [] => {
                return Err(Refusal::new(
                    "it is a zip file without a data.pkl",
                    "give a checkpoint saved by torch.save, a .safetensors file, or `models add` an .onnx file",
                ));
            }
            _ => return Err(damaged(format!("it has {} entries named data.pkl", pickles.len()))),
        };
        if names.iter().any(|n| n.strip_prefix(&root).is_some_and(|n| n == "constants.pkl" || n.starts_with("code/"))) {
            return Err(Refusal::new(
                "it is a TorchScript program, not a checkpoint",
                "save its weights alone: torch.save(torch.jit.load(FILE, map_location='cpu').state_dict(), 'weights.pth')",
            ));
        }
        let mut this = Self { zip, root, read_bytes: 0, last: None };
        if names.contains(&format!("{}byteorder", this.root)) {
            let order = this.entry("byteorder", 16)?;
            if order != b"little" {
                return Err(Refusal::new(
                    format!("its byte order is {:?}; little is read", String::from_utf8_lossy(&order)),
                    "load and save it again on a little-endian machine",
                ));
            }
        }
        let pickle = this.entry("data.pkl", MAX_PICKLE_BYTES)?;
        Ok((this, pickle))
    }

    /// The bytes of a storage; their number is exactly what its type and length say.
    pub fn storage(&mut self, storage: &Storage) -> Result<&[u8], Refusal> {
        let need = storage.len.checked_mul(storage.dtype.bytes() as u64).filter(|&n| n <= MAX_STORAGE_BYTES).ok_or_else(|| {
            damaged(format!("storage {} is said to hold {} values, more than {MAX_STORAGE_BYTES} bytes", storage.key, storage.len))
        })?;
        if self.last.as_ref().is_none_or(|(key, bytes)| *key != storage.key || bytes.len() as u64 != need) {
            self.last = None;
            let bytes = self.entry(&format!("data/{}", storage.key), need)?;
            if bytes.len() as u64 != need {
                return Err(damaged(format!("storage {} has {} bytes where {need} belong", storage.key, bytes.len())));
            }
            self.last = Some((storage.key.clone(), bytes));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, bytes)| bytes))
    }

    /// The bytes of an entry, if they are at most `most`.
    fn entry(&mut self, name: &str, most: u64) -> Result<Vec<u8>, Refusal> {
        let full = format!("{}{name}", self.root);
        let entry = self.zip.by_name(&full).map_err(|e| match e {
            ZipError::FileNotFound => damaged(format!("its entry {full} is missing")),
            e => damaged(format!("its entry {full} cannot be read ({e})")),
        })?;
        let (size, packed) = (entry.size(), entry.compressed_size());
        if size > most {
            return Err(damaged(format!("its entry {full} has {size} bytes where at most {most} belong")));
        }
        if size > 1 << 20 && size / packed.max(1) > MAX_RATIO {
            return Err(damaged(format!("its entry {full} grows from {packed} to {size} bytes, which weights never do (a zip bomb)")));
        }
        self.read_bytes += size;
        if self.read_bytes > MAX_READ_BYTES {
            return Err(damaged(format!("more than {MAX_READ_BYTES} bytes would have to be read")));
        }
        // Room is taken as data arrives, not as the header claims.
        let mut bytes = Vec::new();
        entry.take(most + 1).read_to_end(&mut bytes).map_err(|e| damaged(format!("its entry {full} cannot be read ({e})")))?;
        if bytes.len() as u64 != size {
            return Err(damaged(format!("its entry {full} has {} bytes, its directory says {size}", bytes.len())));
        }
        Ok(bytes)
    }
}

fn damaged(what: impl Into<String>) -> Refusal {
    Refusal::new(what, "fetch the file again, or save it again with torch.save(state_dict, FILE)")
}
