//! Output names: pictures by extension, and clashes settled so that no file is ever lost.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::codec::Format;

/// The longest file name, in bytes, that every common file system takes.
const LONGEST: usize = 255;

/// What a file's extension says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container that can be read.
    Picture(Format),
    /// A picture that this version cannot read (HEIC, AVIF, ...): a job that fails with a reason, rather than a file left out.
    Unreadable,
    /// Not a picture.
    Other,
}

/// Judges a file by its extension, upper or lower case.
pub fn kind(path: &Path) -> Kind {
    match Format::from_path(path) {
        Some(format) => Kind::Picture(format),
        None if Format::is_foreign_picture(path) => Kind::Unreadable,
        None => Kind::Other,
    }
}

/// A source that wants a name; the order of the list is the order of precedence.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Folder below the output folder, empty for its top.
    pub folder: PathBuf,
    pub stem: OsString,
    /// Without the dot.
    pub ext: OsString,
    /// The source's extension and the name of its folder, which tell clashing files apart.
    pub source_ext: OsString,
    pub source_folder: OsString,
}

impl Wish {
    /// The path it would have if nobody else wanted it.
    pub fn wanted(&self) -> PathBuf {
        self.path(OsStr::new(""))
    }

    fn path(&self, mark: &OsStr) -> PathBuf {
        let room = LONGEST.saturating_sub(mark.len() + 1 + self.ext.len());
        let mut name = shorten(&self.stem, room);
        name.push(mark);
        name.push(".");
        name.push(&self.ext);
        self.folder.join(name)
    }
}

/// Cuts `name` to at most `bytes`, at a character boundary.
fn shorten(name: &OsStr, bytes: usize) -> OsString {
    if name.len() <= bytes {
        return name.to_os_string();
    }
    let text = name.to_string_lossy();
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

/// How a path compares on a file system that ignores case.
pub fn fold(path: &Path) -> String {
    path.to_string_lossy().to_lowercase()
}

/// Gives every wish a path of its own, relative to the output folder, different from all others even where case is ignored,
/// and never a folder that another output lies in.
///
/// Of several that want one name, a source that had this extension already keeps it, else the first in order. The others get
/// `_ext` of their source (`hero_jpg.png`), else `_folder`, else `_2`, `_3`, ... A name that somebody wanted is never given to
/// somebody else. The result depends on the list alone.
pub fn settle(wishes: &[Wish]) -> Vec<PathBuf> {
    let wanted: Vec<PathBuf> = wishes.iter().map(Wish::wanted).collect();
    let keys: Vec<String> = wanted.iter().map(|p| fold(p)).collect();
    let mut winner: HashMap<&str, usize> = HashMap::new();
    for (i, key) in keys.iter().enumerate() {
        let natural = |i: usize| wishes[i].source_ext.eq_ignore_ascii_case(&wishes[i].ext);
        winner
            .entry(key)
            .and_modify(|w| {
                if !natural(*w) && natural(i) {
                    *w = i
                }
            })
            .or_insert(i);
    }
    let mut folders: HashSet<String> = HashSet::new();
    for wish in wishes {
        for dir in wish.folder.ancestors() {
            if !folders.insert(fold(dir)) {
                break;
            }
        }
    }
    let mut taken: HashSet<String> = keys.iter().cloned().collect();
    let mut next: HashMap<&str, usize> = HashMap::new();
    let mut result = Vec::with_capacity(wishes.len());
    for (i, wish) in wishes.iter().enumerate() {
        if winner.get(keys[i].as_str()) == Some(&i) && !folders.contains(&keys[i]) {
            result.push(wanted[i].clone());
            continue;
        }
        let mut marks = [&wish.source_ext, &wish.source_folder].into_iter().filter(|m| !m.is_empty()).map(|m| {
            let mut mark = OsString::from("_");
            mark.push(m);
            mark
        });
        let named = marks.find_map(|mark| {
            let path = wish.path(&mark);
            let key = fold(&path);
            (!folders.contains(&key) && taken.insert(key)).then_some(path)
        });
        result.push(named.unwrap_or_else(|| {
            // Counting goes on where the last clash over this name stopped, so ten thousand of them stay quick.
            let n = next.entry(&keys[i]).or_insert(1);
            loop {
                *n += 1;
                let path = wish.path(OsStr::new(&format!("_{n}")));
                let key = fold(&path);
                if !folders.contains(&key) && taken.insert(key) {
                    break path;
                }
            }
        }));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wish(source: &str, ext: &str) -> Wish {
        let p = Path::new(source);
        Wish {
            folder: p.parent().unwrap().into(),
            stem: p.file_stem().unwrap().into(),
            ext: ext.into(),
            source_ext: p.extension().unwrap_or_default().into(),
            source_folder: p.parent().and_then(Path::file_name).unwrap_or_default().into(),
        }
    }

    fn names(sources: &[&str], ext: &str) -> Vec<String> {
        settle(&sources.iter().map(|s| wish(s, ext)).collect::<Vec<_>>()).iter().map(|p| p.to_string_lossy().replace('\\', "/")).collect()
    }

    #[test]
    fn clashes_lose_no_file() {
        assert_eq!(names(&["hero.jpg", "hero.png"], "png"), ["hero_jpg.png", "hero.png"], "the PNG keeps its name");
        assert_eq!(names(&["hero.jpg", "hero.jpeg", "hero.webp"], "png"), ["hero.png", "hero_jpeg.png", "hero_webp.png"]);
        assert_eq!(names(&["Hero.png", "hero.png"], "png"), ["Hero.png", "hero_png.png"]);
        assert_eq!(names(&["hero.jpg", "hero.png", "hero_jpg.png"], "png"), ["hero_2.png", "hero.png", "hero_jpg.png"]);
        assert_eq!(names(&["a/x.png", "A/x.png"], "png"), ["a/x.png", "A/x_png.png"]);
        assert_eq!(names(&["b.jpg", "b.png/x.png"], "png"), ["b_jpg.png", "b.png/x.png"], "a folder keeps its name");
    }

    #[test]
    fn long_names_are_cut_to_fit() {
        let long = format!("{}.jpg", "ä".repeat(125));
        let got = names(&[&long, &long], "jpeg");
        assert!(got.iter().all(|n| n.len() <= LONGEST) && got[0] != got[1], "{got:?}");
    }

    #[test]
    fn extensions() {
        assert_eq!(kind(Path::new("A.JPeG")), Kind::Picture(Format::Jpeg));
        assert_eq!(kind(Path::new("a.heic")), Kind::Unreadable);
        assert_eq!(kind(Path::new("png")), Kind::Other);
        assert_eq!(kind(Path::new("a.mpo")), Kind::Picture(Format::Jpeg));
    }

    proptest! {
        #[test]
        fn no_two_share_an_output(sources in proptest::collection::vec("([aAb]/){0,2}[aAbB](_2|_png|_a)?\\.(png|PNG|jpg)", 0..40)) {
            let all: Vec<&str> = sources.iter().map(String::as_str).collect();
            let got = names(&all, "png");
            prop_assert_eq!(got.len(), all.len());
            let set: HashSet<String> = got.iter().map(|n| n.to_lowercase()).collect();
            prop_assert_eq!(set.len(), got.len());
            for a in &got {
                let prefix = format!("{}/", a.to_lowercase());
                prop_assert!(!set.iter().any(|b| b.starts_with(&prefix)));
            }
        }
    }
}
