//! Channel mixer.

use super::prelude::*;

params! {
    /// Makes each channel out of all three. Works on linear light.
    pub struct ChannelMixer = "channel_mixer" {
        /// How much red, green and blue go into red.
        red: [f32; 3] = [1.0, 0.0, 0.0], Rule::Range(-2.0, 2.0), "";
        /// How much red, green and blue go into green.
        green: [f32; 3] = [0.0, 1.0, 0.0], Rule::Range(-2.0, 2.0), "";
        /// How much red, green and blue go into blue.
        blue: [f32; 3] = [0.0, 0.0, 1.0], Rule::Range(-2.0, 2.0), "";
        /// Scale each row so that neutrals stay neutral.
        keep_neutral: bool = true, Rule::Any, "";
    }
}

impl ColorOp for ChannelMixer {
    type Kernel = Matrix;

    fn space(&self) -> Space {
        Space::Linear
    }

    fn is_noop(&self) -> bool {
        (self.red, self.green, self.blue) == ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    }

    fn kernel(&self) -> Result<Matrix, String> {
        let mut rows = [self.red, self.green, self.blue];
        if self.keep_neutral {
            for (row, name) in rows.iter_mut().zip(["red", "green", "blue"]) {
                let sum: f32 = row.iter().sum();
                if sum < 0.05 {
                    return Err(format!("`{name}` adds up to {sum}, which cannot be scaled to 1; or set keep_neutral = false"));
                }
                row.iter_mut().for_each(|v| *v /= sum);
            }
        }
        Ok(Matrix(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutrals_stay_unless_told() {
        let o = ChannelMixer { red: [1.0, 0.5, 0.0], ..ChannelMixer::default() };
        assert!((o.kernel().unwrap().eval([0.6f32; 3])[0] - 0.6).abs() < 1e-6);
        assert_eq!(ChannelMixer { keep_neutral: false, ..o.clone() }.kernel().unwrap().eval([0.5f32; 3])[0], 0.75);
        assert!(ChannelMixer { red: [0.5, -0.5, 0.0], ..o }.kernel().is_err());
    }
}
