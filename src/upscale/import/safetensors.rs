//! Reader for safetensors: an 8-byte little-endian header length, a JSON header, then the raw tensors.
//!
//! Format: <https://huggingface.co/docs/safetensors/index>. As there, a header must begin with `{`, no key may repeat, and the
//! tensors must cover the data exactly: no hole and no overlap.

use std::collections::HashSet;
use std::fmt;
use std::io::{Read, Seek, SeekFrom};

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use super::Refusal;
use super::weights::{DType, Strided};

/// 5,000 tensors need about half a megabyte.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// One tensor of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub dtype: DType,
    pub view: Strided,
    /// Position of its first byte in the file.
    pub at: u64,
}

/// Reads and checks the header; tensors come in file order.
pub fn read_header<R: Read + Seek>(reader: &mut R) -> Result<Vec<Tensor>, Refusal> {
    let file_bytes = reader.seek(SeekFrom::End(0)).map_err(|e| damaged(e.to_string()))?;
    reader.rewind().map_err(|e| damaged(e.to_string()))?;
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(|_| damaged(format!("it has only {file_bytes} bytes")))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > file_bytes.saturating_sub(8) {
        return Err(damaged(format!(
            "its header is said to have {length} bytes, the file has {file_bytes} (headers: at most {MAX_HEADER_BYTES})"
        )));
    }
    let mut json = vec![0; length as usize];
    reader.read_exact(&mut json).map_err(|e| damaged(e.to_string()))?;
    if json.first() != Some(&b'{') {
        return Err(damaged("its header is no JSON object"));
    }
    let header: Header = serde_json::from_slice(&json).map_err(|e| damaged(format!("its header is wrong: {e}")))?;
    let data_at = 8 + length;
    let data_bytes = file_bytes - data_at;

    let mut entries = header.0;
    entries.sort_by_key(|(_, e)| e.data_offsets);
    let mut end = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let [from, to] = entry.data_offsets;
        if from != end || to < from || to > data_bytes {
            return Err(damaged(format!("tensor {name:?} lies at {from}..{to}; it must begin at {end} and end by {data_bytes}")));
        }
        end = to;
        let dtype = DType::from_safetensors(&entry.dtype).ok_or_else(|| {
            let what = format!("tensor {name:?} has the type {:?}; F32, F16, BF16 and F64 weights are read", entry.dtype);
            Refusal::new(what, "save it in one of these types")
        })?;
        let values = (to - from) / dtype.bytes() as u64;
        let view = Strided::contiguous(&entry.shape, values).map_err(|what| damaged(format!("tensor {name:?}: {what}")))?;
        if view.len() as u64 * dtype.bytes() as u64 != to - from {
            return Err(damaged(format!(
                "tensor {name:?} has {} bytes, its shape {:?} needs {}",
                to - from,
                entry.shape,
                view.len() * dtype.bytes()
            )));
        }
        tensors.push(Tensor { name, dtype, view, at: data_at + from });
    }
    if end != data_bytes {
        return Err(damaged(format!("its tensors end at byte {end} of {data_bytes}")));
    }
    Ok(tensors)
}

fn damaged(what: impl Into<String>) -> Refusal {
    Refusal::new(
        format!("it is no sound safetensors file: {}", what.into()),
        "fetch the file again, or save it again with safetensors.torch.save_file",
    )
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header's tensors; `__metadata__` is passed over, a repeated key is an error.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: de::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut seen = HashSet::new();
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("the key {key:?} is there twice")));
                    }
                    if key == "__metadata__" {
                        map.next_value::<de::IgnoredAny>()?;
                    } else {
                        entries.push((key, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        d.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn file(header: &str, data: usize) -> Cursor<Vec<u8>> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        Cursor::new(bytes)
    }

    fn refused(header: &str, data: usize) -> String {
        read_header(&mut file(header, data)).unwrap_err().what
    }

    #[test]
    fn reads_tensors_in_file_order() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let tensors = read_header(&mut file(header, 20)).unwrap();
        assert_eq!(tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((tensors[1].dtype, tensors[1].view.shape(), tensors[1].at), (DType::F16, &[2, 3][..], 16 + header.len() as u64));
    }

    #[test]
    fn refuses_wrong_sizes_offsets_and_overlaps() {
        let one = |shape: &str, offsets: &str| format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        assert!(refused(&one("[2]", "[0,8]"), 12).contains("end at byte 8 of 12"));
        assert!(refused(&one("[2]", "[0,8]"), 4).contains("0..8"));
        assert!(refused(&one("[2]", "[4,12]"), 12).contains("must begin at 0"));
        assert!(refused(&one("[2]", "[8,0]"), 8).contains("8..0"));
        assert!(refused(&one("[3]", "[0,8]"), 8).contains("storage of 2 values"));
        assert!(refused(&one("[1]", "[0,8]"), 8).contains("needs 4"));
        assert!(refused(&one("[4294967296,4294967296,4294967296]", "[0,8]"), 8).contains("values"));
        assert!(refused(&one("[-1]", "[0,8]"), 8).contains("wrong"));
        assert!(
            refused(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8)
                .contains("must begin at 8")
        );
        assert!(
            refused(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8)
                .contains("twice")
        );
        assert!(refused(r#"{"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}}"#, 8).contains("Q4"));
        assert!(refused("[1]", 0).contains("no JSON object"));
        // Neither depth nor length of what is passed over costs anything.
        let deep = format!("{{\"__metadata__\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read_header(&mut file(&deep, 0)).unwrap(), []);
    }

    #[test]
    fn refuses_huge_and_cut_headers() {
        assert!(read_header(&mut Cursor::new(vec![0xff; 64])).unwrap_err().what.contains("18446744073709551615"));
        assert!(read_header(&mut Cursor::new(vec![1, 0, 0])).unwrap_err().what.contains("3 bytes"));
    }
}
