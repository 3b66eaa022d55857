//! Values as people write them, in a recipe or after a flag: every refusal says why and gives an example.

use super::Stripped;
use crate::codec::SourceType;
use crate::error::Error;
use crate::upscale::size::Size;

/// `--strip`: words with commas between them.
pub fn strip(text: &str) -> Result<Vec<Stripped>, String> {
    let one = |word: &str| match word.trim().to_ascii_lowercase().as_str() {
        "all" => Ok(Stripped::All),
        "gps" => Ok(Stripped::Gps),
        "prompt" => Ok(Stripped::Prompt),
        _ => Err(format!("`{word}` is none of all, gps and prompt; several stand with commas, for example gps,prompt")),
    };
    text.split(',').map(one).collect()
}

/// `--source-type`: a term of IPTC's vocabulary of digital source types.
pub fn source_type(text: &str) -> Result<SourceType, String> {
    SourceType::new(text).map_err(|e| match e {
        Error::Usage { what, hint, .. } => format!("{what}; there are {hint}"),
        e => e.to_string(),
    })
}

/// `--scale`: a factor, as `4`, `2.5`, `4x` or `x4`.
pub fn scale(text: &str) -> Result<Size, String> {
    let bare = text.trim_start_matches(['x', 'X']).trim_end_matches(['x', 'X']);
    match bare.parse::<f64>() {
        Ok(f) if f.is_finite() && f > 0.0 && f <= 256.0 => Ok(Size::Scale(f)),
        Ok(_) => Err("a factor above 0 and at most 256, for example 4 or 2.5".into()),
        Err(_) => Err("a factor as a number, for example 4 or 2.5".into()),
    }
}

/// `--long-edge`: pixels.
pub fn long_edge(text: &str) -> Result<Size, String> {
    pixels(text).map(Size::LongEdge).map_err(|()| "the longer side in pixels, for example 3840".into())
}

/// `--size`: `WxH` in pixels, or one of the sides alone: `Wx`, `xH`.
pub fn size(text: &str) -> Result<Size, String> {
    let parse = || match text.split_once(['x', 'X'])? {
        (w, "") => pixels(w).ok().map(Size::Width),
        ("", h) => pixels(h).ok().map(Size::Height),
        (w, h) => Some(Size::Box { width: pixels(w).ok()?, height: pixels(h).ok()? }),
    };
    parse().ok_or_else(|| "width and height in pixels, for example 3840x2160, or one side: 3840x, x2160".into())
}

/// `--mp`: megapixels.
pub fn megapixels(text: &str) -> Result<Size, String> {
    match text.parse::<f64>() {
        Ok(mp) if mp.is_finite() && mp > 0.0 && mp <= 100_000.0 => Ok(Size::Megapixels(mp)),
        _ => Err("megapixels are a number above 0, for example 24".into()),
    }
}

/// `--print`: `WxHin@DPI` or `WxHcm@DPI`.
pub fn print(text: &str) -> Result<Size, String> {
    let parse = || {
        let (paper, dpi) = text.split_once('@')?;
        let paper = paper.trim();
        let (sides, per_inch) = match (paper.strip_suffix("in"), paper.strip_suffix("cm")) {
            (Some(sides), _) => (sides, 1.0),
            (_, Some(sides)) => (sides, 2.54),
            _ => return None,
        };
        let (w, h) = sides.split_once(['x', 'X'])?;
        let number = |t: &str| t.trim().parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0);
        let dpi = number(dpi.trim_end_matches("dpi")).filter(|d| *d <= 10_000.0)?;
        Some(Size::Print { width_in: number(w)? / per_inch, height_in: number(h)? / per_inch, dpi })
    };
    parse().ok_or_else(|| "paper and resolution, for example 24x36in@300 or 60x90cm@300".into())
}

/// `--tile`: `auto` or the core in input pixels.
pub fn tile(text: &str) -> Result<Tile, String> {
    match (text, text.parse::<u32>()) {
        ("auto", _) => Ok(Tile::Auto),
        (_, Ok(px)) if (16..=65_536).contains(&px) => Ok(Tile::Px(px)),
        _ => Err("auto, or the side of a tile's core in input pixels, 16 or more, for example 256".into()),
    }
}

/// See [`tile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tile {
    #[default]
    Auto,
    Px(u32),
}

/// A share from 0 to 1.
pub fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("a number from 0 to 1, for example 0.3".into()),
    }
}

/// Memory to work in: [`bytes`], and enough of them for the program itself.
pub fn memory(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        n if n < 64 << 20 => Err(format!("{n} bytes are fewer than the program itself takes; for example 4GiB or 800MB")),
        n => Ok(n),
    }
}

/// Bytes: `4GiB`, `500MB`, or a bare number.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 11] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("m", 1 << 20),
        ("g", 1 << 30),
        ("b", 1),
    ];
    counted(text, &UNITS).ok_or_else(|| "an amount of memory, for example 4GiB or 800MB".into())
}

/// Pixels: a bare number, or with `k`, `M` or `G`.
pub fn max_pixels(text: &str) -> Result<u64, String> {
    let units = [("mp", 1_000_000), ("gp", 1_000_000_000), ("k", 1000), ("m", 1_000_000), ("g", 1_000_000_000)];
    counted(text, &units).ok_or_else(|| "a number of pixels, for example 1G or 250M".into())
}

fn pixels(text: &str) -> Result<u32, ()> {
    text.trim().trim_end_matches("px").parse().ok().filter(|v| (1..=1_000_000).contains(v)).ok_or(())
}

fn counted(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = units.iter().find_map(|(u, n)| Some((text.strip_suffix(u)?, *n))).unwrap_or((&text, 1));
    let value = number.trim().parse::<f64>().ok()? * unit as f64;
    (1.0..1e18).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(scale("2.5"), Ok(Size::Scale(2.5)));
        assert_eq!(scale("4x"), Ok(Size::Scale(4.0)));
        assert_eq!(long_edge("3840px"), Ok(Size::LongEdge(3840)));
        assert_eq!((size("3840x"), size("x2160px")), (Ok(Size::Width(3840)), Ok(Size::Height(2160))));
        assert!(["x", "3840", "3840x0"].map(size).iter().all(Result::is_err));
        assert_eq!(size("3840X2160"), Ok(Size::Box { width: 3840, height: 2160 }));
        assert_eq!(megapixels("24"), Ok(Size::Megapixels(24.0)));
        assert_eq!(print("24x36in@300"), Ok(Size::Print { width_in: 24.0, height_in: 36.0, dpi: 300.0 }));
        assert_eq!(print("25.4x50.8cm@150dpi"), Ok(Size::Print { width_in: 10.0, height_in: 20.0, dpi: 150.0 }));
        for bad in [
            scale("0"),
            scale("nan"),
            scale("abc"),
            long_edge("0"),
            size("10"),
            size("0x5"),
            megapixels("-1"),
            print("24x36@300"),
            print("24x36in"),
        ] {
            assert!(bad.unwrap_err().contains("for example"));
        }
    }

    #[test]
    fn amounts() {
        assert_eq!(bytes("4GiB"), Ok(4 << 30));
        assert_eq!(bytes("1.5 gb"), Ok(1_500_000_000));
        assert_eq!(bytes("65536"), Ok(65_536));
        assert_eq!(memory("800MB"), Ok(800_000_000));
        assert!(memory("4").unwrap_err().contains("4 bytes are fewer") && memory("1M").is_err() && memory("much").is_err());
        assert_eq!(max_pixels("1G"), Ok(1_000_000_000));
        assert_eq!(max_pixels("250mp"), Ok(250_000_000));
        assert!(bytes("much").is_err() && bytes("0").is_err() && max_pixels("-3").is_err());
        assert_eq!((tile("auto"), tile("256")), (Ok(Tile::Auto), Ok(Tile::Px(256))));
        assert!(tile("8").is_err() && share("1.1").is_err());
    }
}
