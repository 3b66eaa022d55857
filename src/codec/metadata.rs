//! What a file carries beside its pixels.

/// Everything beside the pixels, in container-neutral form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// ICC profile bytes.
    pub icc: Option<Vec<u8>>,
    /// EXIF as a TIFF block (without `Exif\0\0`); MakerNote bytes and offsets untouched.
    pub exif: Option<Vec<u8>>,
    /// XMP packet (the RDF/XML text).
    pub xmp: Option<Vec<u8>>,
    /// IPTC-IIM records.
    pub iptc: Option<Vec<u8>>,
    /// PNG text chunks, in order.
    pub text: Vec<Text>,
    /// JPEG comment.
    pub comment: Option<Vec<u8>>,
    /// Pixels per inch, horizontal and vertical.
    pub dpi: Option<(f64, f64)>,
}

/// A PNG text chunk (tEXt, zTXt or iTXt).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub keyword: String,
    pub value: String,
}
