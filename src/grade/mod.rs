//! Colour grading.

pub mod cdl;
pub mod lut;
pub mod matching;
