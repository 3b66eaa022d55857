//! From paths to jobs: which files are worked on, where each result goes, and what is refused before any work.
//!
//! A folder is walked recursively in byte order of its names and mirrored below the output folder; links are followed once.
//! Left out are names that begin with a dot, the output folder if it lies inside, and what `--exclude` names. A file is judged
//! by its extension; only a file that was named itself and has no telling extension is opened.
//!
//! Over 500 lines because names, clashes and refusals of one list are decided together.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use walkdir::WalkDir;

use super::names::{self, Kind, Wish};
use super::shard::Shard;
use crate::codec::Format;
use crate::error::{Error, Result};
use crate::recipe::Template;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Files and folders.
    pub inputs: Vec<PathBuf>,
    /// A folder; or a file, if it has a picture's extension, is no folder yet, and there is exactly one source.
    pub output: PathBuf,
    /// The container of every output; `None` keeps the source's (GIF, BMP, PNM and QOI become PNG).
    pub format: Option<Format>,
    pub name: Option<Template>,
    /// Globs on the path below the input folder (`*` crosses folders) or on the file's name alone.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// A mask, or a folder of masks: see [`super::masks`].
    pub masks: Option<PathBuf>,
    /// Only this part of all outputs.
    pub shard: Option<Shard>,
}

/// One source and where its result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Counts from 1 in plan order; the `job` of the `file` event.
    pub job: usize,
    pub source: PathBuf,
    /// Relative to [`Planned::root`].
    pub output: PathBuf,
    pub format: Format,
    /// Whether another source has the name that this one would have had.
    pub renamed: bool,
    /// The picture that says where faithful networks are taken in any case.
    pub mask: Option<PathBuf>,
    /// Which of [`super::Options::variants`] are its settings, counting from 1; 0 for [`super::Options::settings`].
    pub variant: usize,
    /// What kind of result it is, if several are made of a source. Those of one source stand next to each other and are made
    /// together.
    pub preset: Option<String>,
}

/// All jobs of a run.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    /// The output folder, as given; its `.lastmile` holds the state.
    pub root: PathBuf,
    pub items: Vec<Item>,
    /// Files in input folders that are no pictures.
    pub others: usize,
    /// The part of the job that `items` is, if it is not the whole.
    pub shard: Option<Shard>,
    /// What a person should know: links that loop, folders that cannot be read.
    pub notes: Vec<String>,
}

/// A source that was found, before it has an output name.
struct Found {
    source: PathBuf,
    /// Folder below the input folder.
    below: PathBuf,
    format: Option<Format>,
    link: bool,
}

/// Finds the sources and gives each an output.
///
/// `size` tells the result's size of a source; it is asked only if the name template holds `{w}` or `{h}`. A source whose size
/// cannot be told is named as 0x0: its job fails with the reason later.
///
/// # Errors
/// Usage errors: no input, an input that does not exist, bad globs, a file as output for several sources, an output that is a source.
pub fn plan(request: &Request, size: &dyn Fn(&Path) -> Result<(usize, usize)>) -> Result<Planned> {
    if request.inputs.is_empty() {
        return Err(Error::usage("INPUT", "nothing to work on", "lastmile upscale renders/ -o final/"));
    }
    let filter = Filter::new(request)?;
    let as_file = is_file_output(&request.output);
    let root = if as_file { request.output.parent().map(Path::to_path_buf).unwrap_or_default() } else { request.output.clone() };
    let root = if root.as_os_str().is_empty() { PathBuf::from(".") } else { root };
    if request.output.is_file() && !as_file {
        return Err(Error::usage("-o", format!("{} is a file, not a folder", request.output.display()), "another folder"));
    }
    // A folder named hero.heic is never what was meant, nor one named "-".
    let odd = (names::kind(&request.output) == Kind::Unreadable && !request.output.is_dir())
        .then_some("files of this kind cannot be written")
        .or((request.output.as_os_str() == "-").then_some("results go to files, not to standard output"));
    if let Some(what) = odd {
        let hint = "a folder, or a name that ends in .png, .jpg, .webp or .tiff";
        return Err(Error::usage("-o", format!("{}: {what}", request.output.display()), hint));
    }
    let real_root = real(&root)?;

    let mut planned = Planned { root, shard: request.shard, ..Planned::default() };
    let mut found = Vec::new();
    let mut folder_given = false;
    for input in &request.inputs {
        let meta = std::fs::metadata(input).map_err(|e| {
            let what = if e.kind() == std::io::ErrorKind::NotFound { "no such file or folder".into() } else { e.to_string() };
            Error::usage(input.display(), what, "check the spelling; names with spaces need quotes")
        })?;
        if meta.is_dir() {
            folder_given = true;
            if !as_file && real(input)? == real_root {
                return Err(Error::usage(
                    "-o",
                    format!("{} is an input folder", request.output.display()),
                    "another folder, so that no source is touched",
                ));
            }
            walk(input, &real_root, &filter, &mut planned, &mut found)?;
        } else if !meta.is_file() {
            // Reading a pipe that nobody writes to never ends.
            return Err(Error::usage(input.display(), "a pipe or a device, not a file", "write it to a file first"));
        } else {
            let link = std::fs::symlink_metadata(input).is_ok_and(|m| m.is_symlink());
            let format = match names::kind(input) {
                Kind::Picture(f) => Some(f),
                Kind::Unreadable => None,
                Kind::Other => sniff(input),
            };
            found.push(Found { source: input.clone(), below: PathBuf::new(), format, link });
        }
    }
    if request.inputs.len() > 1 {
        let mut seen = HashSet::new();
        let mut real = RealFolders::default();
        let keys: Vec<PathBuf> = found.iter().map(|f| real.place(&f.source)).collect::<Result<_>>()?;
        let mut keys = keys.into_iter();
        found.retain(|_| keys.next().is_none_or(|k| seen.insert(k)));
    }
    if as_file && (folder_given || found.len() != 1) {
        return Err(Error::usage(
            "-o",
            format!(
                "{} is a file name, but there {}",
                request.output.display(),
                if folder_given { "is a folder to work on".into() } else { format!("are {} sources", found.len()) }
            ),
            "a folder, for example -o final/",
        ));
    }

    let formats: Vec<Format> = found.iter().map(|f| request.format.unwrap_or_else(|| f.format.unwrap_or(Format::Png).kept())).collect();
    let mut masks = match &request.masks {
        Some(given) => {
            let sources: Vec<(&Path, &Path)> = found.iter().map(|f| (f.below.as_path(), f.source.as_path())).collect();
            super::masks::find(given, &sources)?
        }
        None => vec![None; found.len()],
    };
    let without = masks.iter().filter(|m| m.is_none()).count();
    if request.masks.is_some() && without > 0 {
        planned.notes.push(format!("{without} of {} sources have no mask: nothing in them is protected", found.len()));
    }
    let outputs = if as_file {
        let Kind::Picture(format) = names::kind(&request.output) else {
            return Err(Error::Internal("a file output without a format".into()));
        };
        if request.format.is_some_and(|f| f != format) || format.kept() != format {
            let hint = "an output name that ends in .png, .jpg, .webp or .tiff, and no other --format";
            return Err(Error::usage("-o", format!("{} does not fit the format to write", request.output.display()), hint));
        }
        planned.items.push(Item {
            job: 1,
            source: std::mem::take(&mut found[0].source),
            output: request.output.file_name().unwrap_or_default().into(),
            format,
            renamed: false,
            mask: masks.pop().flatten(),
            variant: 0,
            preset: None,
        });
        refuse_sources(&planned, &found)?;
        if let Some(shard) = &request.shard {
            planned.items.retain(|i| shard.takes(&i.output));
        }
        return Ok(planned);
    } else {
        let wishes: Vec<Wish> = found.iter().zip(&formats).map(|(f, format)| wish(f, *format, request, size)).collect();
        let settled = names::settle(&wishes);
        settled.into_iter().zip(wishes).map(|(output, wish)| (output != wish.wanted(), output)).collect::<Vec<_>>()
    };
    planned.items = found
        .iter()
        .zip(outputs)
        .zip(formats)
        .enumerate()
        .zip(masks)
        .map(|((i, ((f, (renamed, output)), format)), mask)| Item {
            job: i + 1,
            source: f.source.clone(),
            output,
            format,
            renamed,
            mask,
            variant: 0,
            preset: None,
        })
        .collect();
    refuse_sources(&planned, &found)?;
    if let Some(shard) = &request.shard {
        planned.items.retain(|i| shard.takes(&i.output));
    }
    Ok(planned)
}

fn wish(f: &Found, format: Format, request: &Request, size: &dyn Fn(&Path) -> Result<(usize, usize)>) -> Wish {
    let stem = match &request.name {
        Some(t) => t.stem(&f.source, if t.needs_size() { size(&f.source).unwrap_or((0, 0)) } else { (0, 0) }),
        None => f.source.file_stem().unwrap_or_default().to_os_string(),
    };
    let source_ext = f.source.extension().unwrap_or_default().to_os_string();
    // The source's own spelling (.JPG, .jpeg, .tif) stays if its format does.
    let same = matches!(names::kind(&f.source), Kind::Picture(own) if own == format && own.kept() == own);
    let ext = if same { source_ext.clone() } else { OsString::from(format.extension()) };
    let source_folder = f.source.parent().and_then(Path::file_name).unwrap_or_default().to_os_string();
    Wish { folder: f.below.clone(), stem, ext, source_ext, source_folder }
}

/// Whether `-o` names a file: it has a picture's extension and is no folder.
fn is_file_output(output: &Path) -> bool {
    let slash = output.as_os_str().as_encoded_bytes().last().is_some_and(|b| matches!(b, b'/') || (cfg!(windows) && *b == b'\\'));
    !slash && matches!(names::kind(output), Kind::Picture(_)) && !output.is_dir()
}

fn walk(input: &Path, real_root: &Path, filter: &Filter, planned: &mut Planned, found: &mut Vec<Found>) -> Result<()> {
    let real_input = real(input)?;
    let inside = real_root.starts_with(&real_input);
    let mut hidden = 0;
    let entries = WalkDir::new(input).follow_links(true).sort_by_file_name().into_iter().filter_entry(|e| {
        if e.depth() == 0 {
            return true;
        }
        if e.file_name().as_encoded_bytes().first() == Some(&b'.') {
            // Another system's attributes of a file beside it are no picture.
            let picture = matches!(names::kind(e.path()), Kind::Picture(_)) && !e.file_name().as_encoded_bytes().starts_with(b"._");
            hidden += usize::from(picture && e.file_type().is_file());
            return false;
        }
        // Only a folder of the right name, or a link, can be the output folder: the others need no look at the disk.
        let maybe = e.path_is_symlink() || (inside && Some(e.file_name()) == real_root.file_name());
        !(maybe && e.file_type().is_dir() && e.path().canonicalize().is_ok_and(|p| p == real_root))
    });
    for entry in entries {
        let entry = match entry {
            Ok(e) => e,
            Err(e) => {
                let path = e.path().unwrap_or(input).display().to_string();
                planned.notes.push(match e.loop_ancestor() {
                    Some(up) => format!("{path}: a link back to {}, not followed", up.display()),
                    None => format!("{path}: left out: {}", e.io_error().map_or_else(|| e.to_string(), ToString::to_string)),
                });
                continue;
            }
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let below = entry.path().strip_prefix(input).unwrap_or(entry.path());
        if !entry.file_type().is_file() || !filter.takes(below) {
            continue;
        }
        let format = match names::kind(below) {
            Kind::Picture(f) => Some(f),
            Kind::Unreadable => None,
            Kind::Other => {
                planned.others += 1;
                continue;
            }
        };
        let below = below.parent().unwrap_or(Path::new("")).to_path_buf();
        let link = entry.path_is_symlink();
        found.push(Found { source: entry.into_path(), below, format, link });
    }
    if hidden > 0 {
        let n = if hidden == 1 { "1 picture whose name begins".into() } else { format!("{hidden} pictures whose names begin") };
        planned.notes.push(format!("{}: {n} with a dot left out", input.display()));
    }
    Ok(())
}

/// Fails if any output is a source, by the folder they really lie in and their name, case ignored.
fn refuse_sources(planned: &Planned, found: &[Found]) -> Result<()> {
    let mut real = RealFolders::default();
    let mut sources = HashMap::with_capacity(found.len());
    for (item, f) in planned.items.iter().zip(found) {
        sources.insert(names::fold(&real.place(&item.source)?), &item.source);
        if f.link {
            // Replacing what a link points to changes the source as well.
            if let Ok(target) = item.source.canonicalize() {
                sources.insert(names::fold(&target), &item.source);
            }
        }
    }
    let mut hit = None;
    let mut hits = 0;
    for item in &planned.items {
        let output = real.place(&planned.root.join(&item.output))?;
        if let Some(source) = sources.get(&names::fold(&output)) {
            hits += 1;
            hit.get_or_insert(*source);
        }
    }
    match hit {
        None => Ok(()),
        Some(source) => {
            let more = if hits > 1 { format!(" (and {} more)", hits - 1) } else { String::new() };
            Err(Error::usage(source.display(), format!("the output would overwrite this source{more}"), "another folder after -o"))
        }
    }
}

/// Folders with links resolved, remembered.
#[derive(Default)]
struct RealFolders(HashMap<PathBuf, PathBuf>);

impl RealFolders {
    /// The path with its folder resolved and its own name as given.
    fn place(&mut self, path: &Path) -> Result<PathBuf> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let real = match self.0.get(folder) {
            Some(real) => real,
            None => {
                let resolved = real(folder)?;
                self.0.entry(folder.to_path_buf()).or_insert(resolved)
            }
        };
        Ok(match path.file_name() {
            Some(name) => real.join(name),
            None => real.clone(),
        })
    }
}

/// The folder with links resolved, also where its last parts do not exist yet.
fn real(folder: &Path) -> Result<PathBuf> {
    let mut path =
        std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).map_err(|e| Error::io(folder, e))?;
    let mut missing: Vec<OsString> = Vec::new();
    loop {
        match path.canonicalize() {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(e) => match (path.file_name().map(OsStr::to_os_string), path.parent().map(Path::to_path_buf)) {
                (Some(name), Some(parent)) => {
                    missing.push(name);
                    path = parent;
                }
                _ => return Err(Error::io(folder, e)),
            },
        }
    }
}

fn sniff(path: &Path) -> Option<Format> {
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(16).read_to_end(&mut head).ok()?;
    Format::sniff(&head)
}

struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    fn new(request: &Request) -> Result<Self> {
        let include = if request.include.is_empty() { None } else { Some(globs("--include", &request.include)?) };
        Ok(Self { include, exclude: globs("--exclude", &request.exclude)? })
    }

    fn takes(&self, below: &Path) -> bool {
        let hits = |set: &GlobSet| set.is_match(below) || below.file_name().is_some_and(|n| set.is_match(n));
        self.include.as_ref().is_none_or(hits) && !hits(&self.exclude)
    }
}

fn globs(flag: &str, patterns: &[String]) -> Result<GlobSet> {
    let wrong = |p: &str, e: globset::Error| {
        Error::usage(flag, format!("`{p}` is no pattern: {}", e.kind()), format!("{flag} '*.png' or {flag} 'drafts/**'"))
    };
    let mut set = GlobSetBuilder::new();
    for p in patterns {
        set.add(GlobBuilder::new(p).case_insensitive(true).build().map_err(|e| wrong(p, e))?);
    }
    set.build().map_err(|e| wrong(&patterns.join(" "), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for f in files {
            let p = dir.path().join(f);
            std::fs::create_dir_all(p.parent().unwrap()).unwrap();
            std::fs::write(p, b"x").unwrap();
        }
        dir
    }

    fn request(dir: &Path, inputs: &[&str], output: &str) -> Request {
        Request { inputs: inputs.iter().map(|i| dir.join(i)).collect(), output: dir.join(output), ..Request::default() }
    }

    fn run(r: &Request) -> Result<Planned> {
        plan(r, &|_| Ok((640, 480)))
    }

    fn outputs(p: &Planned) -> Vec<String> {
        p.items.iter().map(|i| i.output.to_string_lossy().replace('\\', "/")).collect()
    }

    #[test]
    fn a_folder_is_mirrored_in_order() {
        let d = tree(&["in/b/z.JPG", "in/a.gif", "in/b/y.png", "in/notes.txt", "in/.hidden.png", "in/.git/x.png", "in/out/old.png"]);
        let p = run(&request(d.path(), &["in"], "in/out")).unwrap();
        assert_eq!(outputs(&p), ["a.png", "b/y.png", "b/z.JPG"]);
        assert_eq!(p.others, 1);
        let mut r = request(d.path(), &["in"], "out");
        r.format = Some(Format::Tiff);
        r.exclude = vec!["b/*".into()];
        assert_eq!(outputs(&run(&r).unwrap()), ["a.tiff", "out/old.tiff"]);
        r.include = vec!["*.GIF".into()];
        assert_eq!(outputs(&run(&r).unwrap()), ["a.tiff"]);
        r.include = vec!["[".into()];
        assert!(run(&r).unwrap_err().to_string().contains("--include: `[`"));
    }

    #[test]
    fn file_and_folder_outputs() {
        let d = tree(&["a.png", "b.png", "in/a.png"]);
        let p = run(&request(d.path(), &["a.png"], "o/big.jpg")).unwrap();
        assert_eq!((p.root, p.items[0].output.clone(), p.items[0].format), (d.path().join("o"), "big.jpg".into(), Format::Jpeg));
        assert_eq!(p.items[0].source, d.path().join("a.png"));
        for (inputs, out) in
            [(&["a.png", "b.png"][..], "o.png"), (&["in"], "o.png"), (&["a.png"], "o.gif"), (&[], "o"), (&["nope.png"], "o")]
        {
            assert_eq!(run(&request(d.path(), inputs, out)).unwrap_err().kind(), "usage", "{inputs:?} {out}");
        }
        assert_eq!(
            outputs(&run(&request(d.path(), &["a.png", "in", "a.png"], "o")).unwrap()),
            ["a.png", "a_png.png"],
            "named twice is one job"
        );
    }

    #[test]
    fn templates_are_filled() {
        let d = tree(&["in/a.png", "in/b.jpg"]);
        let mut r = request(d.path(), &["in"], "o");
        r.name = Some("{stem}_{w}x{h}".parse().unwrap());
        assert_eq!(outputs(&run(&r).unwrap()), ["a_640x480.png", "b_640x480.jpg"]);
        r.name = Some("same".parse().unwrap());
        r.format = Some(Format::Png);
        assert_eq!(outputs(&run(&r).unwrap()), ["same.png", "same_jpg.png"]);
    }

    #[test]
    fn sources_are_never_outputs() {
        let d = tree(&["in/a.png", "in/sub/a.png"]);
        for (input, out) in
            [("in", "in"), ("in/a.png", "in"), ("in/a.png", "in/a.png"), ("in/a.png", "in/A.PNG"), ("in/a.png", "in/sub/..")]
        {
            let e = run(&request(d.path(), &[input], out)).unwrap_err();
            assert_eq!(e.exit(), crate::Exit::Usage, "{input} {out}");
        }
        // The upper folder as output: sub/a.png would become in/a.png, which is a source of the same run.
        let e = run(&request(d.path(), &["in/sub", "in/a.png"], "in")).unwrap_err();
        assert!(e.to_string().contains("overwrite this source"), "{e}");
    }

    #[cfg(unix)]
    #[test]
    fn links_that_loop_and_links_to_outputs() {
        let d = tree(&["in/a.png", "out/b.png"]);
        std::os::unix::fs::symlink(d.path().join("in"), d.path().join("in/loop")).unwrap();
        let p = run(&request(d.path(), &["in"], "o")).unwrap();
        assert_eq!(outputs(&p), ["a.png"]);
        assert!(p.notes[0].contains("a link back to"), "{:?}", p.notes);
        std::os::unix::fs::symlink(d.path().join("out/b.png"), d.path().join("in/b.png")).unwrap();
        assert!(run(&request(d.path(), &["in"], "out")).unwrap_err().to_string().contains("overwrite this source"));
        std::os::unix::fs::symlink(d.path().join("out"), d.path().join("in/back")).unwrap();
        std::fs::remove_file(d.path().join("in/b.png")).unwrap();
        assert_eq!(outputs(&run(&request(d.path(), &["in"], "out")).unwrap()), ["a.png"], "a link to the output folder is not walked");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let d = tree(&[]);
        for name in [&b"a\xff.png"[..], b"a\xfe.png"] {
            std::fs::write(d.path().join(OsStr::from_bytes(name)), b"x").unwrap();
        }
        let p = run(&request(d.path(), &[""], "o")).unwrap();
        assert_eq!(p.items[0].output.as_os_str().as_bytes(), b"a\xfe.png");
        assert_ne!(names::fold(&p.items[0].output), names::fold(&p.items[1].output));
    }
}
