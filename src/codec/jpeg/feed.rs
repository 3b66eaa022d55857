//! Rows of red, green and blue on their way into the encoder crate, which wants planes of luma and colour difference.

use std::sync::mpsc::Receiver;

use jpeg_encoder::rgb_to_ycbcr;
use multiversion::multiversion;

/// How planes are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Grey,
    Full,
    /// Colour differences are averaged over 2x2 pixels, as libjpeg does it (`h2v2_downsample`), and stand at the upper left one of
    /// each four, from where the encoder takes them if told to take the nearest.
    Halved,
}

/// Rows that were received, and what was made of the last ones.
pub(super) struct Feed {
    receive: Receiver<Vec<u8>>,
    pub width: usize,
    layout: Layout,
    /// Whole rows, of which so many bytes are used up.
    rows: Vec<u8>,
    used: usize,
    /// The row that was asked for last.
    y: Option<u16>,
    /// How often rows were asked for.
    calls: usize,
    /// Luma, blue and red difference of a row, and of the row below it.
    planes: [[Vec<u8>; 3]; 2],
}

impl Feed {
    pub fn new(receive: Receiver<Vec<u8>>, width: usize, layout: Layout) -> Self {
        let plane = || match layout {
            Layout::Grey => Vec::new(),
            _ => vec![0; width],
        };
        let planes = [[plane(), plane(), plane()], [plane(), plane(), plane()]];
        Self { receive, width, layout, rows: Vec::new(), used: 0, y: None, calls: 0, planes }
    }

    /// Appends row `y`, which is the last one again if so asked; `more` tells whether another one follows. None if it does not come.
    pub fn fill(&mut self, y: u16, more: bool, buffers: &mut [Vec<u8>; 4]) -> Option<()> {
        let [luma, blue, red, _] = buffers;
        let call = self.calls;
        self.calls += 1;
        match self.layout {
            Layout::Grey => {
                if self.y != Some(y) {
                    self.advance(self.width)?;
                    self.y = Some(y);
                }
                luma.extend_from_slice(self.rows.get(self.used - self.width..self.used)?);
            }
            Layout::Full => {
                if self.y != Some(y) {
                    self.convert(0)?;
                    self.y = Some(y);
                }
                let [l, b, r] = &self.planes[0];
                luma.extend_from_slice(l);
                blue.extend_from_slice(b);
                red.extend_from_slice(r);
            }
            Layout::Halved if call.is_multiple_of(2) => {
                if self.y != Some(y) {
                    self.convert(0)?;
                } else {
                    // Rows below the last are like it, which may be the second of its pair.
                    let [upper, lower] = &mut self.planes;
                    upper.clone_from(lower);
                }
                if more {
                    self.convert(1)?;
                } else {
                    let [upper, lower] = &mut self.planes;
                    lower.clone_from(upper);
                }
                self.y = Some(if more { y + 1 } else { y });
                let [upper, lower] = &self.planes;
                luma.extend_from_slice(&upper[0]);
                for (out, c) in [(blue, 1), (red, 2)] {
                    let from = out.len();
                    out.resize(from + self.width, 0);
                    average(&upper[c], &lower[c], &mut out[from..]);
                }
            }
            Layout::Halved => {
                luma.extend_from_slice(&self.planes[1][0]);
                // Nobody looks at these.
                blue.resize(blue.len() + self.width, 0);
                red.resize(red.len() + self.width, 0);
            }
        }
        Some(())
    }

    /// Passes over the next row of so many bytes.
    fn advance(&mut self, bytes: usize) -> Option<()> {
        if self.used == self.rows.len() {
            self.rows = self.receive.recv().ok()?;
            self.used = 0;
        }
        self.used += bytes;
        (self.used <= self.rows.len()).then_some(())
    }

    /// Makes planes of the next row.
    fn convert(&mut self, which: usize) -> Option<()> {
        let bytes = self.width * 3;
        self.advance(bytes)?;
        let [luma, blue, red] = &mut self.planes[which];
        split(&self.rows[self.used - bytes..self.used], luma, blue, red);
        Some(())
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn split(rgb: &[u8], luma: &mut [u8], blue: &mut [u8], red: &mut [u8]) {
    for (((p, l), b), r) in rgb.as_chunks::<3>().0.iter().zip(luma).zip(blue).zip(red) {
        (*l, *b, *r) = rgb_to_ycbcr(p[0], p[1], p[2]);
    }
}

/// Means of 2x2 values, each at its upper left place; a half is rounded down in every other column.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma", "x86_64+avx2+fma"))]
fn average(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    for ((a, b), o) in upper.as_chunks::<4>().0.iter().zip(lower.as_chunks::<4>().0).zip(out.as_chunks_mut::<4>().0) {
        let sum = |x: usize| u16::from(a[x]) + u16::from(a[x + 1]) + u16::from(b[x]) + u16::from(b[x + 1]);
        let (first, second) = ((sum(0) + 1) >> 2, (sum(2) + 2) >> 2);
        *o = [first as u8, first as u8, second as u8, second as u8];
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Pictures of every remainder of 16 rows, by the crate's own averaging and by ours.
    #[test]
    fn halved_colour_is_what_the_crate_makes_of_it() {
        struct Whole(Vec<u8>, u16, u16);
        impl jpeg_encoder::ImageBuffer for Whole {
            fn get_jpeg_color_type(&self) -> jpeg_encoder::JpegColorType {
                jpeg_encoder::JpegColorType::Ycbcr
            }
            fn width(&self) -> u16 {
                self.1
            }
            fn height(&self) -> u16 {
                self.2
            }
            fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
                let row = usize::from(self.1) * 3;
                for p in self.0[usize::from(y) * row..][..row].chunks(3) {
                    let (l, b, r) = rgb_to_ycbcr(p[0], p[1], p[2]);
                    [l, b, r].into_iter().zip(buffers.iter_mut()).for_each(|(v, to)| to.push(v));
                }
            }
        }
        for height in 1..=34u16 {
            let width = 48u16;
            let noise = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 23) as u8;
            let pixels: Vec<u8> = (0..usize::from(width) * 3 * usize::from(height)).map(noise).collect();
            let file = |layout: Layout| {
                let mut out = Vec::new();
                let mut e = jpeg_encoder::Encoder::new(&mut out, 92);
                e.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
                if layout == Layout::Full {
                    e.set_chroma_subsampling_method(jpeg_encoder::ChromaSubsamplingMethod::Average);
                    e.encode_image(Whole(pixels.clone(), width, height)).unwrap();
                    return out;
                }
                let (send, receive) = sync_channel(99);
                pixels.chunks(usize::from(width) * 3 * 5).for_each(|rows| send.send(rows.to_vec()).unwrap());
                e.set_chroma_subsampling_method(jpeg_encoder::ChromaSubsamplingMethod::Nearest);
                let feed = std::sync::Mutex::new(Feed::new(receive, width.into(), layout));
                e.encode_image(super::super::Source { width, height, layout, feed, stop: Default::default() }).unwrap();
                out
            };
            assert!(file(Layout::Halved) == file(Layout::Full), "{height} rows");
        }
    }
}
