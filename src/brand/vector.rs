//! Logos as SVG, drawn at the size that they are needed in.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use crate::band::Band;
use crate::color::Transfer;
use crate::error::{Error, Result};
use crate::resample::{Filter, Scaler};

/// Elements that a drawing for logos may not have, and what to do about them: they would need fonts and files that are not the
/// same on every machine.
const REFUSED: [(&str, &str); 4] = [
    ("text", "turn lettering into paths (Inkscape: Path > Object to Path) and export it again"),
    ("image", "a drawing of paths alone, or the logo as a PNG"),
    ("feImage", "a drawing of paths alone, or the logo as a PNG"),
    ("foreignObject", "a drawing of paths alone, or the logo as a PNG"),
];

/// A drawing without a size of its own; only its proportions are kept.
#[derive(Clone)]
pub struct Drawing {
    tree: Arc<Tree>,
}

impl std::fmt::Debug for Drawing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Drawing({} x {})", self.tree.size().width(), self.tree.size().height())
    }
}

impl Drawing {
    /// Pixels of the longer side that [`Drawing::size`] tells: more than any picture has room for.
    const LARGEST: f32 = 16_384.0;

    /// Reads an SVG.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no SVG, for one without a size or with elements that are not drawn: lettering, embedded
    /// pictures.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        const EXPORT: &str = "export it again as plain SVG, or as a PNG with alpha";
        let broken = |what: &dyn Display| Error::usage(path.display(), format!("is no SVG that can be drawn: {what}"), EXPORT);
        let text = std::str::from_utf8(bytes).map_err(|e| broken(&e))?;
        let options = roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: 500_000, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(text, options).map_err(|e| broken(&e))?;
        for element in document.descendants().filter(roxmltree::Node::is_element) {
            let name = element.tag_name().name();
            if let Some((_, way)) = REFUSED.iter().find(|(n, _)| *n == name) {
                let line = document.text_pos_at(element.range().start).row;
                return Err(Error::usage(path.display(), format!("the logo has a <{name}> in line {line}, which is not drawn"), way));
            }
        }
        let tree = Tree::from_xmltree(&document, &Options::default()).map_err(|e| broken(&e))?;
        Ok(Self { tree: Arc::new(tree) })
    }

    /// Its proportions as a width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        let (w, h) = (self.tree.size().width(), self.tree.size().height());
        let scale = Self::LARGEST / w.max(h);
        let side = |v: f32| ((v * scale).round() as usize).max(1);
        (side(w), side(h))
    }

    /// Draws it: R, G and B times alpha as linear light of sRGB, and alpha. Edges are means over smaller pixels, in light.
    ///
    /// # Errors
    /// [`Error::Limit`] for absurd sizes.
    pub fn draw(&self, width: usize, height: usize) -> Result<Band> {
        /// Smaller pixels along each side of one, as long as there are no more of them in all than this.
        const FINER: usize = 4;
        const MOST: usize = 16 << 20;
        let finer = ((MOST / (width * height).max(1)) as f64).sqrt().clamp(1.0, FINER as f64) as usize;
        let (w, h) = (width * finer, height * finer);
        let side = |v: usize| u32::try_from(v).unwrap_or(u32::MAX);
        let map = Pixmap::new(side(w), side(h));
        let mut map = map.ok_or_else(|| Error::limit("logo", format!("would be {w}x{h} pixels"), "a smaller `width` in [logo]"))?;
        let scale = Transform::from_scale(w as f32 / self.tree.size().width(), h as f32 / self.tree.size().height());
        resvg::render(&self.tree, scale, &mut map.as_mut());
        let mut fine = Band::new(0, w, h, 4);
        let n = w * h;
        for (i, pixel) in map.pixels().iter().enumerate() {
            let c = pixel.demultiply();
            for (k, v) in [c.red(), c.green(), c.blue(), c.alpha()].into_iter().enumerate() {
                fine.data[k * n + i] = f32::from(v) / 255.0;
            }
        }
        let (colour, alpha) = fine.data.split_at_mut(3 * n);
        Transfer::srgb().linear(colour);
        for plane in colour.chunks_mut(n) {
            plane.iter_mut().zip(&*alpha).for_each(|(v, a)| *v *= a);
        }
        if finer == 1 {
            return Ok(fine);
        }
        Scaler::new(w, h, width, height, Filter::Box, None)?.rows(&fine, 0..height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Drawing> {
        let text = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 20\">{body}</svg>");
        Drawing::parse(Path::new("l.svg"), text.as_bytes())
    }

    #[test]
    fn any_size_is_drawn_sharp_and_in_its_own_colour() {
        let disc = parse("<ellipse cx=\"20\" cy=\"10\" rx=\"18\" ry=\"9\" fill=\"#d0103a\"/>").unwrap();
        let (w, h) = disc.size();
        assert_eq!(w, 2 * h);
        for (w, h) in [(40, 20), (37, 19), (400, 200), (1000, 500)] {
            let drawn = disc.draw(w, h).unwrap();
            let cover = drawn.plane(3).iter().sum::<f32>() / (w * h) as f32;
            let ellipse = std::f32::consts::PI * 18.0 * 9.0 / 800.0;
            assert!((cover - ellipse).abs() < 0.01, "{w}: {cover} of {ellipse}");
            assert_eq!(drawn.row(3, 0)[0], 0.0);
            for (c, want) in [0xd0, 0x10, 0x3a].into_iter().enumerate() {
                let mut v = [drawn.row(c, h / 2)[w / 2]];
                Transfer::srgb().encoded(&mut v);
                assert!((v[0] * 255.0 - want as f32).abs() < 0.01, "{c}: {}", v[0] * 255.0);
            }
            assert!(drawn.data[..3 * w * h].iter().zip(drawn.plane(3).iter().cycle()).all(|(v, a)| v <= a));
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_named() {
        let refused = |e: Result<Drawing>| e.unwrap_err().to_string();
        let told = refused(parse("\n<g>\n<text x=\"1\" y=\"9\">Acme</text></g>"));
        assert!(told.contains("<text> in line 3") && told.contains("into paths"), "{told}");
        assert!(refused(parse("<image href=\"photo.png\" width=\"9\" height=\"9\"/>")).contains("<image>"));
        assert!(refused(Drawing::parse(Path::new("l.svg"), b"\x1f\x8b\x08")).contains("no SVG"));
        assert!(refused(Drawing::parse(Path::new("l.svg"), b"<svg")).contains("no SVG"));
        assert!(refused(Drawing::parse(Path::new("l.svg"), b"<html/>")).contains("no SVG"));
    }
}
