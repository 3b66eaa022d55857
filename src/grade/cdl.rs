//! ASC colour decision lists: `.cc`, `.ccc` and `.cdl` files in, `.cdl` and `.cc` text out (ASC CDL 1.2).

mod fit;

use std::path::Path;

pub use fit::nearest;

use super::{refuse_wide, unreadable};
use crate::error::{Error, Result};

/// One colour correction of the American Society of Cinematographers: `out = (in * slope + offset) ^ power` per channel, then
/// saturation around Rec. 709 luma.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// The `id` attribute, empty if there is none.
    pub id: String,
    /// 0 and up.
    pub slope: [f32; 3],
    pub offset: [f32; 3],
    /// Above 0.
    pub power: [f32; 3],
    /// 0 (grey) and up, 1 leaves as it is.
    pub saturation: f32,
}

impl Default for Correction {
    fn default() -> Self {
        Self { id: String::new(), slope: [1.0; 3], offset: [0.0; 3], power: [1.0; 3], saturation: 1.0 }
    }
}

/// Reads every correction of a `.cc`, `.ccc` or `.cdl` file, in order; there is at least one.
///
/// # Errors
/// [`Error::Usage`] with file and line for whatever is wrong with it.
pub fn read(path: &Path) -> Result<Vec<Correction>> {
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
    parse(&path.display().to_string(), &bytes)
}

/// The one correction that `FILE` or `FILE#ID` means.
///
/// # Errors
/// As [`read`]; [`Error::Usage`] if there is none of that id, or several and none was named.
pub fn pick(path: &Path) -> Result<Correction> {
    let text = path.to_string_lossy();
    let (path, id) = match text.rsplit_once('#') {
        Some((file, id)) if !path.exists() => (Path::new(file), Some(id)),
        _ => (path, None),
    };
    let mut all = read(path)?;
    let ids = || all.iter().map(|c| format!("`{}`", c.id)).collect::<Vec<_>>().join(", ");
    match id {
        None if all.len() == 1 => Ok(all.swap_remove(0)),
        None => {
            let hint = format!("{}#ID for one of {}", path.display(), ids());
            Err(Error::usage(path.display(), format!("holds {} corrections", all.len()), hint))
        }
        Some(id) if all.iter().filter(|c| c.id == id).count() > 1 => {
            Err(Error::usage(path.display(), format!("holds several corrections `{id}`"), "an id of its own for each"))
        }
        Some(id) => match all.iter().position(|c| c.id == id) {
            Some(i) => Ok(all.swap_remove(i)),
            None => Err(Error::usage(path.display(), format!("holds no correction `{id}`"), format!("one of {}", ids()))),
        },
    }
}

/// Reads the text of such a file; `name` is for messages. Elements that are not known are passed over, as the standard wants.
///
/// # Errors
/// [`Error::Usage`] with `name` and line.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Correction>> {
    refuse_wide(name, bytes)?;
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let document = roxmltree::Document::parse(text).map_err(|e| {
        Error::usage(format_args!("{name}, line {}", e.pos().row), format!("is no ASC CDL file: {e}"), "a .cc, .ccc or .cdl file")
    })?;
    let at = |node: roxmltree::Node<'_, '_>| format!("{name}, line {}", document.text_pos_at(node.range().start).row);
    let named = |node: &roxmltree::Node<'_, '_>, tag: &str| node.is_element() && node.tag_name().name() == tag;

    let root = document.root_element();
    if !["ColorCorrection", "ColorCorrectionCollection", "ColorDecisionList"].contains(&root.tag_name().name()) {
        return Err(Error::usage(at(root), format!("<{}> begins no ASC CDL file", root.tag_name().name()), "a .cc, .ccc or .cdl file"));
    }
    let mut all = Vec::new();
    for node in document.descendants().filter(|n| named(n, "ColorCorrection")) {
        let mut c = Correction { id: node.attribute("id").unwrap_or_default().to_owned(), ..Correction::default() };
        for value in node.descendants().filter(roxmltree::Node::is_element) {
            match value.tag_name().name() {
                "Slope" => c.slope = numbers(&at(value), value, 0.0..=f32::MAX)?,
                "Offset" => c.offset = numbers(&at(value), value, f32::MIN..=f32::MAX)?,
                "Power" => c.power = numbers(&at(value), value, f32::MIN_POSITIVE..=f32::MAX)?,
                "Saturation" => [c.saturation] = numbers(&at(value), value, 0.0..=f32::MAX)?,
                _ => {}
            }
        }
        all.push(c);
    }
    if all.is_empty() {
        return Err(Error::usage(name, "holds no <ColorCorrection>", "a .cc, .ccc or .cdl file"));
    }
    Ok(all)
}

/// Exactly `N` numbers in the text of an element.
fn numbers<const N: usize>(at: &str, node: roxmltree::Node<'_, '_>, allowed: std::ops::RangeInclusive<f32>) -> Result<[f32; N]> {
    let name = node.tag_name().name();
    // A comment may stand between the numbers, and so may commas.
    let text: String = node.children().filter(|n| n.is_text()).filter_map(|n| n.text()).collect::<Vec<_>>().join(" ");
    let mut out = [0.0; N];
    let mut count = 0;
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty());
    for word in words {
        let value = word.parse::<f32>().ok().filter(|v| allowed.contains(v));
        let value = value.ok_or_else(|| {
            Error::usage(at, format!("<{name}> cannot be `{word}`"), "see ASC CDL 1.2: slope and saturation are 0 or more, power above 0")
        })?;
        if let Some(slot) = out.get_mut(count) {
            *slot = value;
        }
        count += 1;
    }
    if count == N { Ok(out) } else { Err(Error::usage(at, format!("<{name}> has {count} numbers where {N} belong"), "")) }
}

impl Correction {
    /// A colour corrected, without limiting it to 0..1; values below 0 are left unpowered.
    pub fn apply(&self, c: [f32; 3]) -> [f32; 3] {
        let one = |k: usize| {
            let v = c[k] * self.slope[k] + self.offset[k];
            if v < 0.0 { v } else { v.powf(self.power[k]) }
        };
        let c = [one(0), one(1), one(2)];
        let y = super::space::luma(c);
        c.map(|v| y + (v - y) * self.saturation)
    }

    /// The text of a `.cc` file.
    pub fn to_cc(&self) -> String {
        let three = |v: [f32; 3]| format!("{:.6} {:.6} {:.6}", v[0], v[1], v[2]);
        let id = if self.id.is_empty() { String::new() } else { format!(" id=\"{}\"", escaped(&self.id)) };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ColorCorrection{id}>\n  <SOPNode>\n    <Slope>{}</Slope>\n    <Offset>{}</Offset>\n    \
             <Power>{}</Power>\n  </SOPNode>\n  <SatNode>\n    <Saturation>{:.6}</Saturation>\n  </SatNode>\n</ColorCorrection>\n",
            three(self.slope),
            three(self.offset),
            three(self.power),
            self.saturation
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::tests::shared;

    #[test]
    fn published_files_are_read() {
        let Some(folder) = shared() else { return };
        let read = |f: &str| read(&folder.join("luts").join(f)).unwrap();
        let foo = Correction { id: "foo".into(), slope: [1.1, 1.2, 1.3], offset: [2.1, 2.2, 2.3], power: [3.1, 3.2, 3.3], saturation: 0.7 };
        assert_eq!(read("cdl_test1.cc"), std::slice::from_ref(&foo));
        for spelling in ["cdl_test_ASC_SAT.cc", "cdl_test_SATNode.cc"] {
            assert_eq!(read(spelling), [Correction { saturation: 0.42, ..foo.clone() }], "{spelling}");
        }
        let all = read("cdl_test1.ccc");
        assert_eq!(all.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["cc0001", "cc0002", "cc0003", "", ""]);
        assert_eq!((all[0].offset, all[0].saturation), ([-0.03, -0.02, 0.0], 1.7));
        assert_eq!(all[3].slope, [4.0, 5.0, 6.0]);
        assert_eq!(all[4], Correction { saturation: 0.0, ..Correction::default() });
        assert_eq!(read("cdl_test1.cdl").len(), 5);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |text: &str| parse("x.cc", text.as_bytes()).unwrap_err().to_string();
        assert!(said("").contains("is no ASC CDL file"));
        assert!(said("<a/>").contains("x.cc, line 1: <a> begins no"));
        assert!(said("<ColorCorrection>\n<Slope>1 1</Slope></ColorCorrection>").contains("line 2: <Slope> has 2 numbers"));
        assert!(said("<ColorCorrection>\n\n<Power>1 0 1</Power></ColorCorrection>").contains("line 3: <Power> cannot be `0`"));
        assert!(said("<ColorCorrection><Slope>1 nan 1</Slope></ColorCorrection>").contains("`nan`"));
        assert!(said("<ColorDecisionList/>").contains("holds no"));
        assert!(said("<ColorCorrection>\n<Slope>").contains("x.cc, line "));
    }

    /// What OpenColorIO 2.5 makes of the same text: all of these are one correction to it, too; the others it refuses.
    #[test]
    fn numbers_are_found_as_others_find_them() {
        let read = |slope: &str| parse("x.cc", format!("<ColorCorrection>\n<Slope>{slope}</Slope></ColorCorrection>").as_bytes());
        for text in [
            "2 1 0.5",
            "2,1,0.5",
            "2, 1, 0.5",
            "\n2\n1\t.5\r\n",
            "2 <!-- between --> 1 0.5",
            "<!-- before -->2 1 0.5",
            "2 1 0.5<!-- behind -->",
            "<![CDATA[2 1 0.5]]>",
            "+2e0 1 5e-1",
        ] {
            assert_eq!(read(text).unwrap()[0].slope, [2.0, 1.0, 0.5], "{text}");
        }
        for text in ["2; 1; 0.5", "2 1 0.5 1", "2,1", "2 1 <!-- 0.5 -->", "2.f 1 0.5"] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains("x.cc, line 2: <Slope>"), "{text}: {said}");
        }
        let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain("<ColorCorrection/>".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert!(parse("x.cc", &wide).unwrap_err().to_string().contains("x.cc, line 1: its text is UTF-16"));
        let latin =
            b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><ColorCorrection><!-- caf\xe9 --><Slope>2 1 1</Slope></ColorCorrection>";
        assert_eq!(parse("x.cc", latin).unwrap()[0].slope, [2.0, 1.0, 1.0]);
    }

    #[test]
    fn what_is_written_reads_back() {
        let c =
            Correction { id: "a<\"&".into(), slope: [1.5, 0.0, 1.0], offset: [-0.1, 0.2, 0.0], power: [0.5, 1.0, 2.0], saturation: 1.25 };
        assert_eq!(parse("back", c.to_cc().as_bytes()).unwrap(), [c]);
    }
}
