//! Pictures that get one transform together: who belongs to whom, and what the transform of each group is.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::batch::journal::STATE;
use crate::batch::plan::Item;
use crate::brand::apply::{Brand, Grade};
use crate::brand::kit::GroupBy;
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::grade::Grading;
use crate::grade::matching::{Match, Statistics};
use crate::image::Image;
use crate::pipeline::Matching;
use crate::upscale::machine;

/// The folder of matches inside [`STATE`].
const MATCHES: &str = "match";

/// The group of a picture.
pub fn group(source: &Path, image: &Image, by: GroupBy) -> String {
    let folder = || source.parent().map_or_else(String::new, |p| p.display().to_string());
    match by {
        GroupBy::Picture => source.display().to_string(),
        GroupBy::Folder => folder(),
        GroupBy::Sequence => String::new(),
        GroupBy::Generator => match codec::generation(&image.metadata) {
            // Versions of one program make the same kind of picture.
            Some(g) if !g.model.is_empty() => format!("{} {}", g.generator, g.model),
            Some(g) if !g.generator.is_empty() => g.generator,
            _ => folder(),
        },
    }
}

/// Decodes every source, several at once, and hands what `look` makes of them to `take`, in their order. Sources that cannot be
/// read are errors.
pub fn look_at<T: Send>(
    sources: &[PathBuf],
    limits: &Limits,
    look: &(dyn Fn(&Path, &Image) -> Result<T> + Sync),
    take: &mut dyn FnMut(&Path, Result<T>),
) {
    let threads = machine::cores().clamp(1, 16);
    let one = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        look(path, &codec::decode(path, &bytes, limits)?)
    };
    // So many at a time that the cores are kept busy, and what was found is not kept for all.
    for part in sources.chunks(8 * threads) {
        let next = AtomicUsize::new(0);
        let found: Mutex<Vec<Option<Result<T>>>> = Mutex::new(part.iter().map(|_| None).collect());
        std::thread::scope(|scope| {
            for _ in 0..threads.min(part.len()) {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(path) = part.get(i) else { return };
                        let seen = one(path);
                        found.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(seen);
                    }
                });
            }
        });
        for (path, seen) in part.iter().zip(found.into_inner().unwrap_or_else(PoisonError::into_inner)) {
            take(path, seen.unwrap_or_else(|| Err(Error::Internal("a picture was not looked at".into()))));
        }
    }
}

/// What is done to the colours of groups, by source; and the matches as files.
#[derive(Default)]
pub struct Groups {
    /// By source: match and looks of its group.
    pub look: BTreeMap<PathBuf, Option<Grading>>,
    /// By source: the brand's grade of its group.
    pub brand: BTreeMap<PathBuf, Arc<Grade>>,
    /// Pictures without colours, which get only the tones of their group's match.
    pub toned: BTreeSet<PathBuf>,
    /// Names of groups, each with what a person should know.
    pub notes: Vec<String>,
    /// Files to be there before work begins.
    files: BTreeMap<PathBuf, String>,
}

/// What is asked for before the brand comes.
pub struct Before<'a> {
    pub matching: Option<&'a Matching>,
    pub by: GroupBy,
    /// The looks after the match.
    pub grading: Option<&'a Grading>,
}

impl Before<'_> {
    /// Match and looks of a picture with these colours, for itself.
    fn of(&self, statistics: &Statistics) -> Result<Option<Grading>> {
        match self.matching {
            Some(m) => self.after(m, &m.to.matched(statistics), Path::new("")),
            None => Ok(self.grading.cloned()),
        }
    }

    /// A match (named `file`), then the looks.
    fn after(&self, m: &Matching, matched: &Match, file: &Path) -> Result<Option<Grading>> {
        matched.grading(file, self.grading.map_or(&[], Grading::looks), m.strength)
    }
}

/// Pictures that get one transform.
struct Group {
    /// Of all of them together.
    statistics: Statistics,
    members: Vec<PathBuf>,
    /// Those of them without colours. In a sequence there are none: equal colours become equal ones in every frame, whatever else is
    /// in it.
    grey: Vec<PathBuf>,
}

/// One more picture for its group.
fn add(groups: &mut BTreeMap<String, Group>, by: GroupBy, name: String, path: &Path, statistics: Statistics) {
    let grey = by != GroupBy::Sequence && statistics.is_monochrome();
    let group = match groups.entry(name) {
        Entry::Occupied(group) => {
            let group = group.into_mut();
            group.statistics.merge(&statistics);
            group
        }
        Entry::Vacant(place) => place.insert(Group { statistics, members: Vec::new(), grey: Vec::new() }),
    };
    let of_its_kind = if grey { &mut group.grey } else { &mut group.members };
    of_its_kind.push(path.to_path_buf());
}

impl Groups {
    /// Looks at the sources of `items` and works out what becomes of each group. Sources that cannot be read belong to none:
    /// their jobs tell why. Every source counts, also those that are done already, so that a run that goes on makes the same.
    ///
    /// # Errors
    /// Parameters of an operation that do not fit together.
    pub fn of(items: &[Item], root: &Path, limits: &Limits, before: &Before<'_>, brand: Option<&Brand>) -> Result<Self> {
        let mut sources: Vec<PathBuf> = items.iter().map(|i| i.source.clone()).collect();
        sources.sort();
        sources.dedup();
        let folder = std::path::absolute(root.join(STATE).join(MATCHES)).map_err(|e| Error::io(root, e))?;
        let mut this = Self::default();
        if let Some(m) = before.matching.filter(|_| before.by != GroupBy::Picture) {
            let mut groups = BTreeMap::new();
            let see = |path: &Path, image: &Image| Ok((group(path, image, before.by), Statistics::of(image)?));
            look_at(&sources, limits, &see, &mut |path, seen| {
                if let Ok((name, statistics)) = seen {
                    add(&mut groups, before.by, name, path, statistics);
                }
            });
            for group in groups.into_values() {
                let matched = m.to.matched(&group.statistics);
                for (members, matched) in [(group.members, matched.clone()), (group.grey.clone(), matched.toning())] {
                    if members.is_empty() {
                        continue;
                    }
                    let file = this.keep(&folder, &matched)?;
                    let grading = before.after(m, &matched, &file)?;
                    this.look.extend(members.into_iter().map(|m| (m, grading.clone())));
                }
                this.toned.extend(group.grey);
            }
        }
        let Some(brand) = brand else { return Ok(this) };
        let by = brand.kit().group_by;
        let mut groups = BTreeMap::new();
        let see = |path: &Path, image: &Image| {
            let statistics = Statistics::of(image)?;
            // What the looks before it make of a picture is what the brand finds.
            let own = match this.look.get(path) {
                Some(of_group) => of_group.clone(),
                None => before.of(&statistics)?,
            };
            let seen = match own {
                Some(g) => statistics.mapped(|c| g.colour(c)),
                None => statistics,
            };
            Ok((group(path, image, by), seen))
        };
        look_at(&sources, limits, &see, &mut |path, seen| {
            if let Ok((name, statistics)) = seen {
                add(&mut groups, by, name, path, statistics);
            }
        });
        for (name, Group { statistics, members, grey }) in groups {
            let matched = brand.reference().map(|to| to.matched(&statistics));
            let file = matched.as_ref().map_or_else(|| Ok(PathBuf::new()), |m| this.keep(&folder, m))?;
            let grade = Arc::new(brand.grade(&statistics, &file)?);
            let toned = match matched.filter(|_| !grey.is_empty()) {
                Some(m) => {
                    let file = this.keep(&folder, &m.toning())?;
                    this.toned.extend(grey.iter().cloned());
                    Arc::new(brand.toning(&grade, &m, &file)?)
                }
                None => Arc::clone(&grade),
            };
            let name = if name.is_empty() { "all".into() } else { name };
            this.notes.extend(grade.reduced.as_ref().map(|why| format!("{name}: {why}")));
            this.brand.extend(members.into_iter().map(|m| (m, Arc::clone(&grade))));
            this.brand.extend(grey.into_iter().map(|m| (m, Arc::clone(&toned))));
        }
        Ok(this)
    }

    /// Remembers a match as a file to be written, named after its contents.
    fn keep(&mut self, folder: &Path, matched: &Match) -> Result<PathBuf> {
        let text = matched.cube()?;
        let name: String = Sha256::digest(&text).iter().take(8).map(|b| format!("{b:02x}")).collect();
        let path = folder.join(name).with_extension("cube");
        self.files.insert(path.clone(), text);
        Ok(path)
    }

    /// Writes the matches, so that journals can be read back and other programs can use them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self) -> Result<()> {
        for (path, text) in &self.files {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
            }
            std::fs::write(path, text).map_err(|e| Error::io(path, e))?;
        }
        Ok(())
    }
}
