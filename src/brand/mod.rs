//! Brands: a kit says what pictures of a brand look like, a score says how near pictures are to it.

pub mod apply;
pub mod card;
pub mod focus;
pub mod kit;
mod limits;
pub mod overlay;
pub mod palette;
pub mod proof;
pub mod reference;
pub mod report;
pub mod score;
mod vector;

pub use apply::{Brand, Finish};
pub use kit::Kit;
pub use reference::Reference;
