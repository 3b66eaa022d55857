//! Gamut compression.

use super::prelude::*;

params! {
    /// Brings colours that the gamut cannot hold back inside, instead of clipping them: each channel's distance from the largest one is bent
    /// by the curve of the ACES Reference Gamut Compression 1.3 (2021). Greys and moderate colours stay. Works on linear light.
    pub struct GamutCompression = "gamut_compression" {
        /// The distance from grey that comes to lie on the edge of the gamut, which is at 1; 1 changes nothing, ACES uses 1.15 to 1.31.
        limit: f32 = 1.0, Rule::Range(1.0, 3.0), "share of the largest channel";
        /// The distance from which on colours are bent.
        threshold: f32 = 0.8, Rule::Range(0.0, 0.98), "share of the largest channel";
        /// How late and hard the curve bends.
        power: f32 = 1.2, Rule::Range(1.0, 4.0), "";
    }
}

impl ColorOp for GamutCompression {
    type Kernel = Bend;

    fn space(&self) -> Space {
        Space::Linear
    }

    fn is_noop(&self) -> bool {
        self.limit <= 1.0
    }

    fn kernel(&self) -> Result<Bend, String> {
        // In f64: next to the neutral limit this is a difference of nearly equal numbers.
        let (limit, threshold, power) = (f64::from(self.limit), f64::from(self.threshold), f64::from(self.power));
        let room = (limit - threshold).max(1e-6);
        let below = ((1.0 - threshold) / room).powf(-power) - 1.0;
        // Without anything beyond the edge there is nothing to bend.
        let scale = if below > 1e-9 { room / below.powf(1.0 / power) } else { f64::from(f32::MAX) };
        Ok(Bend { threshold: self.threshold, scale: scale.min(1e15) as f32, power: self.power })
    }
}

/// See [`GamutCompression`]: the distance `d` of a channel becomes `t + s x / (1 + x^p)^(1/p)` with `x = (d - t) / s`, where `s` is such that
/// the limit becomes 1.
pub struct Bend {
    threshold: f32,
    scale: f32,
    power: f32,
}

impl Bend {
    #[inline(always)]
    fn one<L: Lane>(&self, v: L, largest: L, size: L) -> L {
        let (t, s) = (L::lit(self.threshold), L::lit(self.scale));
        let distance = (largest - v) / size;
        let x = (distance - t).max(L::lit(0.0)) * L::lit(1.0 / self.scale);
        let bent = t + s * x / (L::lit(1.0) + x.pow(self.power)).pow(1.0 / self.power);
        t.if_less(distance, largest - bent * size, v)
    }
}

impl Kernel for Bend {
    #[inline(always)]
    fn eval<L: Lane>(&self, c: Rgb<L>) -> Rgb<L> {
        let largest = c[0].max(c[1]).max(c[2]);
        let size = largest.abs().max(L::lit(1e-6));
        [self.one(c[0], largest, size), self.one(c[1], largest, size), self.one(c[2], largest, size)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values worked out from the published formula with the published cyan settings: threshold 0.815, limit 1.147, power 1.2.
    #[test]
    fn it_is_the_published_curve() {
        let k = GamutCompression { limit: 1.147, threshold: 0.815, power: 1.2 }.kernel().unwrap();
        let red = |r: f32| k.eval([r, 1.0, 1.0])[0];
        for (given, want) in [(0.5, 0.5), (0.185, 0.185), (-0.147, 0.0)] {
            assert!((red(given) - want).abs() < 2e-5, "{given}: {}", red(given));
        }
        let slow = |d: f64| {
            let (t, l, p) = (0.815f64, 1.147f64, 1.2f64);
            let s = (l - t) / (((1.0 - t) / (l - t)).powf(-p) - 1.0).powf(1.0 / p);
            let x = (d - t) / s;
            t + s * x / (1.0 + x.powf(p)).powf(1.0 / p)
        };
        for d in [0.85, 0.95, 1.05, 1.2, 1.5, 2.0] {
            assert!((f64::from(red(1.0 - d as f32)) - (1.0 - slow(d))).abs() < 1e-5, "{d}");
        }
        // Exposure changes nothing about it.
        let (a, b) = (k.eval([-0.05, 0.3, 0.6]), k.eval([-0.2, 1.2, 2.4]));
        (0..3).for_each(|i| assert!((4.0 * a[i] - b[i]).abs() < 1e-5));
    }

    #[test]
    fn greys_stay_and_order_is_kept() {
        let k = GamutCompression { limit: 1.3, ..GamutCompression::default() }.kernel().unwrap();
        for v in [-0.5, 0.0, 0.2, 1.0, 4.0] {
            assert_eq!(k.eval([v; 3]), [v; 3]);
        }
        let all: Vec<f32> = (0..400).map(|i| k.eval([1.0 - i as f32 / 100.0, 1.0, 0.4])[0]).collect();
        assert!(all.windows(2).all(|w| w[1] < w[0]));
        assert!(all[130].abs() < 0.01, "{}", all[130]);
    }
}
