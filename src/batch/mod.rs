//! Many pictures in one run.
pub mod names;
pub mod plan;
