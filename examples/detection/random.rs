//! Random numbers that are the same on every machine, and the fields made from them.

use lastmile::inspect::plane::Plane;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Seeded by a text and a number.
    pub fn new(text: &str, seed: u64) -> Self {
        // FNV-1a.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Uniform between two values.
    pub fn within(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A whole number from `low` up to but without `high`.
    pub fn below(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low).max(1) as u64) as usize
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(0, n) == 0
    }

    /// Standard normal: twelve uniforms.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    /// White noise of unit deviation.
    pub fn noise(&mut self, width: usize, height: usize) -> Plane {
        let mut p = Plane::new(width, height);
        p.data.iter_mut().for_each(|v| *v = self.normal());
        p
    }

    /// White noise under a Gaussian, of unit deviation again.
    pub fn soft_noise(&mut self, width: usize, height: usize, sigma: f32) -> Plane {
        unit_deviation(self.noise(width, height).blur(sigma))
    }
}

/// Scaled to unit deviation.
pub fn unit_deviation(p: Plane) -> Plane {
    let mean = p.data.iter().sum::<f32>() / p.data.len() as f32;
    let deviation = (p.data.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / p.data.len() as f32).sqrt().max(1e-9);
    p.map(|v| (v - mean) / deviation)
}
