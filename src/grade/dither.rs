//! Noise that hides the steps of 8 bits.

use multiversion::multiversion;

/// Adds interleaved gradient noise (Jimenez 2014, "Next generation post processing in Call of Duty") to a row of one channel that
/// begins at column `x` of row `y`, before it is rounded to 8 bits: at most 0.49 of a code, so that a value exactly on a code
/// stays, and a function of place and channel alone.
pub fn dither(row: &mut [f32], x: usize, y: usize, channel: usize) {
    // A shift per channel, so that the noise is not grey.
    add(row, (x + channel * 47) as f32, (y + channel * 17) as f32);
}

/// Without `fract` as an instruction this is the slowest part of grading a file.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma", "x86_64+sse4.1"))]
fn add(row: &mut [f32], x0: f32, y: f32) {
    // Counted in 32 bits, so that the loop can become SIMD.
    for (x, v) in (0i32..).zip(row.iter_mut()) {
        let t = 0.067_110_56 * (x as f32 + x0) + 0.005_837_15 * y;
        let noise = (52.982_918 * t.fract()).fract();
        *v += (noise - 0.5) * (0.98 / 255.0);
    }
}

#[cfg(test)]
mod tests {
    use super::dither;

    #[test]
    fn a_row_may_be_taken_in_parts() {
        let mut whole = [0f32; 300];
        dither(&mut whole, 0, 7, 1);
        let mut parts = [0f32; 300];
        let (a, b) = parts.split_at_mut(130);
        dither(a, 0, 7, 1);
        dither(b, 130, 7, 1);
        assert_eq!(whole, parts);
        assert!(whole.iter().all(|v| v.abs() <= 0.49 / 255.0 + 1e-7));
        assert!(whole.iter().sum::<f32>().abs() < 300.0 * 0.02 / 255.0);
    }
}
