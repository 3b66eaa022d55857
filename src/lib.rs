//! lastmile finishes images made by generative models.

pub mod alpha;
pub mod band;
pub mod batch;
pub mod brand;
pub mod cli;
pub mod codec;
pub mod color;
pub mod error;
pub mod flow;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod grade;
pub mod image;
pub mod inspect;
pub mod lane;
pub mod pipeline;
pub mod recipe;
pub mod resample;
pub mod review;
pub mod spool;
pub mod upscale;

pub use band::Band;
pub use error::{Error, Exit, Result};
pub use image::Image;
