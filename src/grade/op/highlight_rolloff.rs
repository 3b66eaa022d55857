//! Highlight roll-off.

use super::prelude::*;

params! {
    /// Bends highlights softly into white instead of clipping them: the extended curve of Reinhard et al. 2002 above `start`,
    /// untouched below. Per channel, so that very bright colours turn towards white as on film. Works on linear light.
    pub struct HighlightRolloff = "highlight_rolloff" {
        /// Encoded value where it begins; 1 leaves everything.
        start: f32 = 1.0, Rule::Range(0.2, 1.0), "";
        /// Light that becomes white, 1 = diffuse white; what lies above is clipped to it.
        white: f32 = 2.0, Rule::Range(1.0, 64.0), "";
    }
}

impl ColorOp for HighlightRolloff {
    type Kernel = Shoulder;

    fn space(&self) -> Space {
        Space::Linear
    }

    fn is_noop(&self) -> bool {
        self.start == 1.0
    }

    fn kernel(&self) -> Result<Shoulder, String> {
        let [start, ..] = crate::grade::space::convert([self.start; 3], Space::Encoded, Space::Linear);
        Ok(Shoulder { start, room: 1.0 - start, white: (self.white - start) / (1.0 - start).max(1e-6) })
    }
}

/// See [`HighlightRolloff`]: above `start`, in units of the room left, `t (1 + t / w^2) / (1 + t)`, which has slope 1 at 0 and
/// meets 1 at `w`.
pub struct Shoulder {
    start: f32,
    room: f32,
    white: f32,
}

impl Shoulder {
    #[inline(always)]
    fn one<L: Lane>(&self, v: L) -> L {
        let one = L::lit(1.0);
        let t = ((v - L::lit(self.start)) * L::lit(1.0 / self.room)).clamp(0.0, self.white);
        let bent = t * (one + t * L::lit(1.0 / (self.white * self.white))) / (one + t);
        v.if_less(L::lit(self.start), v, L::lit(self.start) + bent * L::lit(self.room))
    }
}

impl Kernel for Shoulder {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        [self.one(c[0]), self.one(c[1]), self.one(c[2])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_gently_and_ends_at_white() {
        let k = HighlightRolloff { start: 0.735_357, white: 4.0 }.kernel().unwrap();
        assert!((k.start - 0.5).abs() < 1e-5);
        for (v, want) in [(0.2, 0.2), (0.5, 0.5), (4.0, 1.0), (9.0, 1.0), (-1.0, -1.0)] {
            assert!((k.one(v) - want).abs() < 1e-5f32, "{v}");
        }
        assert!((k.one(0.501f32) - 0.501).abs() < 1e-5);
        let all: Vec<f32> = (0..500).map(|i| k.one(i as f32 / 100.0)).collect();
        assert!(all.windows(2).all(|w| w[0] <= w[1]));
    }
}
