//! One formula for every machine: tables that a formula may look up.

mod lut3d;
mod table;

pub use lut3d::{Lut3d, SIZES as LUT3D_SIZES};
pub use table::Table;
