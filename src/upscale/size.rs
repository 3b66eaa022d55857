//! How large the result shall be, and by which passes a network gets there.

use serde::{Deserialize, Serialize};

/// The size that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// The model's own factor.
    #[default]
    Model,
    /// A factor, decimals allowed.
    Scale(f64),
    /// Pixels of the longer side.
    LongEdge(u32),
    /// A box in pixels; [`Fit`] says how to fill it.
    Box { width: u32, height: u32 },
    /// Megapixels (millions of pixels).
    Megapixels(f64),
    /// A print size in inches at so many pixels per inch; the box is turned to match the picture's orientation.
    Print { width_in: f64, height_in: f64, dpi: f64 },
}

/// How a picture fills a box of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// As large as fits; the shape is kept.
    #[default]
    Inside,
    /// Covers the box; what sticks out is cropped evenly.
    Cover,
    /// Exactly the box; the shape is not kept.
    Exact,
}
