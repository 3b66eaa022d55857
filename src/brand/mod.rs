//! Brands: the colours that belong to one, and how near pictures are to its references.

pub mod palette;
pub mod score;
