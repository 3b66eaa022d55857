//! Lift, gamma and gain.

use super::prelude::*;

params! {
    /// The three wheels of a colour desk: lift moves the shadows and holds white, gain moves the highlights and holds black,
    /// gamma moves the middle and holds both. Works on encoded values.
    pub struct LiftGammaGain = "lift_gamma_gain" {
        /// Added at black, fading to nothing at white.
        lift: [f32; 3] = [0.0; 3], Rule::Range(-0.5, 0.5), "";
        /// Above 1 lightens the middle.
        gamma: [f32; 3] = [1.0; 3], Rule::Range(0.2, 5.0), "";
        /// Factor at white.
        gain: [f32; 3] = [1.0; 3], Rule::Range(0.0, 4.0), "";
    }
}

impl ColorOp for LiftGammaGain {
    type Kernel = Wheels;

    fn space(&self) -> Space {
        Space::Encoded
    }

    fn kernel(&self) -> Result<Wheels, String> {
        let power = self.gamma.map(|g| 1.0 / g);
        Ok(Wheels { lift: self.lift, power, gain: self.gain })
    }
}

/// See [`LiftGammaGain`].
pub struct Wheels {
    lift: [f32; 3],
    power: [f32; 3],
    gain: [f32; 3],
}

impl Wheels {
    #[inline(always)]
    fn one<L: Lane>(&self, k: usize, v: L) -> L {
        let v = (v + (L::lit(1.0) - v) * L::lit(self.lift[k])) * L::lit(self.gain[k]);
        if self.power[k] == 1.0 { v } else { v.if_less(L::lit(0.0), v, v.pow(self.power[k])) }
    }
}

impl Kernel for Wheels {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        [self.one(0, c[0]), self.one(1, c[1]), self.one(2, c[2])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wheel_holds_what_it_says() {
        let at = |o: LiftGammaGain, v: f32| o.kernel().unwrap().eval([v; 3])[0];
        let new = LiftGammaGain::default;
        assert_eq!((at(LiftGammaGain { lift: [0.1; 3], ..new() }, 0.0), at(LiftGammaGain { lift: [0.1; 3], ..new() }, 1.0)), (0.1, 1.0));
        assert_eq!((at(LiftGammaGain { gain: [1.2; 3], ..new() }, 0.0), at(LiftGammaGain { gain: [1.2; 3], ..new() }, 1.0)), (0.0, 1.2));
        assert!((at(LiftGammaGain { gamma: [2.0; 3], ..new() }, 0.25) - 0.5).abs() < 1e-6);
    }
}
