//! Black and white.

use super::prelude::*;

params! {
    /// A grey picture out of a weighted mix of the channels, like a filter in front of black-and-white film. Works on linear light.
    pub struct BlackAndWhite = "black_and_white" {
        /// Share of red; the three are scaled to add up to 1.
        red: f32 = 0.2126, Rule::Range(-2.0, 2.0), "";
        /// Share of green.
        green: f32 = 0.7152, Rule::Range(-2.0, 2.0), "";
        /// Share of blue.
        blue: f32 = 0.0722, Rule::Range(-2.0, 2.0), "";
    }
}

impl ColorOp for BlackAndWhite {
    type Kernel = Matrix;

    fn space(&self) -> Space {
        Space::Linear
    }

    /// Taking the colour away is its purpose, whatever the weights.
    fn is_noop(&self) -> bool {
        false
    }

    fn kernel(&self) -> Result<Matrix, String> {
        let sum = self.red + self.green + self.blue;
        if sum < 0.05 {
            return Err(format!("the shares add up to {sum}; they must add up to more than 0.05"));
        }
        Ok(Matrix([[self.red / sum, self.green / sum, self.blue / sum]; 3]))
    }
}
