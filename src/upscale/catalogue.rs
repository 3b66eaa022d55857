//! The models that ship inside the program.
//!
//! To add one: put `<id>.toml` and `<id>.onnx` into `models/` and add one line to [`EMBEDDED`].

/// A manifest and the network it describes.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    pub id: &'static str,
    /// The manifest, TOML.
    pub manifest: &'static str,
    /// The ONNX file.
    pub onnx: &'static [u8],
}

macro_rules! embedded {
    ($($id:literal),+ $(,)?) => {
        &[$(Embedded {
            id: $id,
            manifest: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $id, ".toml")),
            onnx: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $id, ".onnx")),
        }),+]
    };
}

/// Every embedded model; the first one is the default.
pub static EMBEDDED: &[Embedded] = embedded!["lastmile-start-x4"];
