//! Colour under transparent pixels.
//!
//! Files often keep black or white under fully transparent pixels. Enlarging mixes neighbours, so that hidden colour would come
//! out as a halo round every edge. It is therefore replaced by the colour of the nearest visible pixel first.

use crate::image::{Image, Samples};

/// Steps of the 3-4 chamfer distance (Borgefors 1986): to the side and to the corner.
const SIDE: u16 = 3;
const CORNER: u16 = 4;

/// Gives every fully transparent pixel the colour of the nearest pixel that is not; alpha stays as it is.
///
/// Nearest by the 3-4 chamfer distance, ties to the neighbour looked at first (left, above, then right, below), so the result
/// is a function of the picture alone. Pictures without alpha, without transparent or without visible pixels stay as they are.
/// Takes two bytes per pixel while it runs.
pub fn bleed_alpha(image: &mut Image) {
    if !image.channels.has_alpha() {
        return;
    }
    let (width, n) = (image.width, image.channels.count());
    match &mut image.samples {
        Samples::U8(v) => bleed(v, width, n, |a| a == 0),
        Samples::U16(v) => bleed(v, width, n, |a| a == 0),
        Samples::F32(v) => bleed(v, width, n, |a| a <= 0.0),
    }
}

fn bleed<T: Copy>(v: &mut [T], width: usize, n: usize, clear: impl Fn(T) -> bool) {
    let mut distance: Vec<u16> = v.chunks_exact(n).map(|px| if clear(px[n - 1]) { u16::MAX } else { 0 }).collect();
    if !distance.contains(&0) || !distance.contains(&u16::MAX) {
        return;
    }
    // Takes over the colour at `from` if that makes `to` nearer to a visible pixel.
    let mut relax = |distance: &mut [u16], to: usize, from: usize, step: u16| {
        let through = distance[from].saturating_add(step);
        if through < distance[to] {
            distance[to] = through;
            v.copy_within(from * n..from * n + n - 1, to * n);
        }
    };
    let height = distance.len() / width;
    for y in 0..height {
        for x in 0..width {
            let to = y * width + x;
            if distance[to] == 0 {
                continue;
            }
            if x > 0 {
                relax(&mut distance, to, to - 1, SIDE);
            }
            if y > 0 {
                relax(&mut distance, to, to - width, SIDE);
                if x > 0 {
                    relax(&mut distance, to, to - width - 1, CORNER);
                }
                if x + 1 < width {
                    relax(&mut distance, to, to - width + 1, CORNER);
                }
            }
        }
    }
    for y in (0..height).rev() {
        for x in (0..width).rev() {
            let to = y * width + x;
            if distance[to] == 0 {
                continue;
            }
            if x + 1 < width {
                relax(&mut distance, to, to + 1, SIDE);
            }
            if y + 1 < height {
                relax(&mut distance, to, to + width, SIDE);
                if x > 0 {
                    relax(&mut distance, to, to + width - 1, CORNER);
                }
                if x + 1 < width {
                    relax(&mut distance, to, to + width + 1, CORNER);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Format, Metadata};
    use crate::image::Channels;

    fn image(width: usize, height: usize, samples: Samples) -> Image {
        let (metadata, notes) = (Metadata::default(), Vec::new());
        Image { width, height, channels: Channels::GreyAlpha, samples, format: Format::Png, metadata, notes }
    }

    #[test]
    fn hidden_colour_comes_from_the_nearest_visible_pixel() {
        // Visible pixels scattered over a field of hidden 255s; checked against every visible pixel.
        let (w, h) = (23, 17);
        let visible = [(3, 2, 10), (20, 4, 20), (11, 9, 30), (2, 15, 40), (21, 16, 50)];
        let mut v = [255, 0].repeat(w * h);
        for (x, y, value) in visible {
            v[(y * w + x) * 2] = value;
            v[(y * w + x) * 2 + 1] = 1;
        }
        let mut i = image(w, h, Samples::U8(v.clone()));
        bleed_alpha(&mut i);
        let Samples::U8(out) = &i.samples else { panic!() };
        let distance = |x: usize, y: usize, v: &(usize, usize, u8)| {
            let (dx, dy) = (x.abs_diff(v.0), y.abs_diff(v.1));
            3 * dx.max(dy) + dx.min(dy)
        };
        for y in 0..h {
            for x in 0..w {
                let at = (y * w + x) * 2;
                assert_eq!(out[at + 1], v[at + 1], "alpha changed");
                let nearest = visible.iter().map(|s| distance(x, y, s)).min().unwrap();
                assert!(visible.iter().any(|s| s.2 == out[at] && distance(x, y, s) == nearest), "({x}, {y}) got {}", out[at]);
            }
        }
    }

    #[test]
    fn nothing_to_do_is_nothing_done() {
        for alpha in [0, 9] {
            let before = Samples::U16([7, alpha, 8, alpha, 9, alpha].to_vec());
            let mut i = image(3, 1, before.clone());
            bleed_alpha(&mut i);
            assert_eq!(i.samples, before);
        }
    }
}
