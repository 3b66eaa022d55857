//! The operations on single colours, one file each; those that need more than a colour are in `spatial`.
//!
//! To add one: a file with `params!`, a [`ColorOp`] and a [`Kernel`], a `mod` line and a line in `ops!`.

mod black_and_white;
mod cdl;
mod channel_mixer;
mod contrast;
mod curves;
mod exposure;
mod gamut_compression;
mod highlight_rolloff;
mod hsl;
mod levels;
mod lift_gamma_gain;
mod lut;
mod saturation;
mod split_tone;
mod vibrance;
mod white_balance;

use std::path::Path;

use toml::de::DeValue;

pub use self::cdl::Cdl;
pub use self::lut::{CubeFile, LutFile};
use super::kernel::{Kernel, Mask, Planes, eval, run};
use super::param::Param;
use super::space::Space;
use super::spatial::{self, SpatialOp};
use crate::lane::{Lane, Rgb};

/// What every operation's file needs.
mod prelude {
    pub(super) use std::path::Path;

    pub(super) use super::{ColorOp, Matrix};
    pub(super) use crate::grade::kernel::{Kernel, Planes};
    pub(super) use crate::grade::param::{Rule, params};
    pub(super) use crate::grade::space::Space;
    pub(super) use crate::lane::{Lane, Rgb};
    pub(super) use multiversion::multiversion;
}

/// An operation on single colours: its parameters, and how they become a formula.
pub trait ColorOp: Default + PartialEq {
    type Kernel: Kernel;

    /// What the formula takes and gives.
    fn space(&self) -> Space;

    /// Whether it changes nothing, so that it can be left out.
    fn is_noop(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the files that it names, relative to `folder`.
    ///
    /// # Errors
    /// Whatever is wrong with them.
    fn load(&mut self, _folder: &Path) -> crate::Result<()> {
        Ok(())
    }

    /// The formula with its constants.
    ///
    /// # Errors
    /// What is wrong with parameters that are each allowed but do not fit together.
    fn kernel(&self) -> Result<Self::Kernel, String>;
}

/// A 3 x 3 matrix, the kernel of several operations.
pub struct Matrix(pub [[f32; 3]; 3]);

impl Kernel for Matrix {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        super::space::matrix(&self.0, c)
    }
}

macro_rules! ops {
    (colour { $($module:ident :: $name:ident,)* } spatial { $($spatial:ident,)* }) => {
        /// Any operation.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Op { $($name($module::$name),)* $($spatial(spatial::$spatial),)* }

        /// Any operation's formula.
        pub enum AnyKernel { $($name(<$module::$name as ColorOp>::Kernel),)* }

        impl Op {
            /// The names that look files use, in the order of this list.
            pub const NAMES: &'static [&'static str] = &[$($module::$name::NAME,)* $(spatial::$spatial::NAME,)*];

            /// The operation of that name, with its defaults.
            pub fn named(name: &str) -> Option<Self> {
                $(if name == $module::$name::NAME { return Some(Self::$name(Default::default())); })*
                $(if name == spatial::$spatial::NAME { return Some(Self::$spatial(Default::default())); })*
                None
            }

            /// Its name in look files.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $module::$name::NAME,)* $(Self::$spatial(_) => spatial::$spatial::NAME,)* }
            }

            /// What it does.
            pub fn about(&self) -> &'static str {
                match self { $(Self::$name(_) => $module::$name::ABOUT.trim_start(),)* $(Self::$spatial(_) => spatial::$spatial::ABOUT.trim_start(),)* }
            }

            /// What it can be told.
            pub fn params(&self) -> Vec<Param> {
                match self { $(Self::$name(_) => $module::$name::params(),)* $(Self::$spatial(_) => spatial::$spatial::params(),)* }
            }

            /// Sets a parameter; `None` if there is none of that name.
            pub fn set(&mut self, key: &str, value: &DeValue<'_>) -> Option<Result<(), String>> {
                match self { $(Self::$name(o) => o.set(key, value),)* $(Self::$spatial(o) => o.set(key, value),)* }
            }

            /// The parameters that are not the default, as written in a look file.
            pub fn written(&self) -> Vec<(&'static str, String)> {
                match self { $(Self::$name(o) => o.written(),)* $(Self::$spatial(o) => o.written(),)* }
            }

            /// See [`ColorOp::space`]; spatial operations work on encoded values.
            pub fn space(&self) -> Space {
                match self { $(Self::$name(o) => o.space(),)* $(Self::$spatial(_) => Space::Encoded,)* }
            }

            /// The operation, if it is one that looks at neighbours or at where a pixel is.
            pub fn spatial(&self) -> Option<Box<dyn SpatialOp>> {
                match self {
                    $(Self::$name(_) => None,)*
                    $(Self::$spatial(o) => Some(Box::new(o.clone())),)*
                }
            }

            /// See [`ColorOp::is_noop`].
            pub fn is_noop(&self) -> bool {
                match self { $(Self::$name(o) => o.is_noop(),)* $(Self::$spatial(o) => o.is_noop(),)* }
            }

            /// See [`ColorOp::load`].
            ///
            /// # Errors
            /// Whatever is wrong with the files.
            pub fn load(&mut self, folder: &Path) -> crate::Result<()> {
                match self { $(Self::$name(o) => o.load(folder),)* $(Self::$spatial(o) => o.load(folder),)* }
            }

            /// See [`ColorOp::kernel`]; `None` for spatial operations.
            ///
            /// # Errors
            /// What does not fit together.
            pub fn kernel(&self) -> Result<Option<AnyKernel>, String> {
                Ok(match self {
                    $(Self::$name(o) => Some(AnyKernel::$name(o.kernel()?)),)*
                    $(Self::$spatial(_) => None,)*
                })
            }
        }

        impl AnyKernel {
            /// Applies it behind a mask to every pixel.
            pub fn run(&self, space: Space, mask: &Mask, planes: &mut Planes<'_>) {
                match self { $(Self::$name(k) => run(k, space, mask, planes),)* }
            }

            /// The same for one colour, in the operation's space.
            pub fn eval<L: Lane>(&self, space: Space, mask: &Mask, c: Rgb<L>) -> Rgb<L> {
                match self { $(Self::$name(k) => eval(k, space, mask, c),)* }
            }
        }
    };
}

ops! {
    colour {
        exposure::Exposure,
        white_balance::WhiteBalance,
        contrast::Contrast,
        cdl::Cdl,
        lift_gamma_gain::LiftGammaGain,
        curves::Curves,
        levels::Levels,
        saturation::Saturation,
        vibrance::Vibrance,
        hsl::Hsl,
        split_tone::SplitTone,
        channel_mixer::ChannelMixer,
        black_and_white::BlackAndWhite,
        highlight_rolloff::HighlightRolloff,
        gamut_compression::GamutCompression,
        lut::LutFile,
    }
    spatial {
        Sharpen,
        Clarity,
        Deband,
        Grain,
        Vignette,
        Filter,
    }
}

#[cfg(test)]
mod tests;
