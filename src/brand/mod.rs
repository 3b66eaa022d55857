//! Brands: a kit says what pictures of a brand look like, a score says how near pictures are to it.

pub mod apply;
pub mod kit;
pub mod overlay;
pub mod palette;
pub mod report;
pub mod score;

pub use kit::Kit;
