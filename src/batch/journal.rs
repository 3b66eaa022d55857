//! What was made, in `OUT/.lastmile/journal.jsonl`, so that any run can go on where the last one stopped, however it ended.
//!
//! One JSON object a line, only ever appended:
//!
//! | line | written | says |
//! | --- | --- | --- |
//! | `{"journal":"lastmile","version":1}` | first | what this file is |
//! | `{"settings":{"hash","settings"}}` | before the first intent with this hash | what the hash in a [`Record`] stands for |
//! | `{"intent":{...}}` | after the temp file is complete, before the rename | everything about the output ([`Record`]) and its temp name |
//! | `{"done":{"output","sha256"}}` | after the output was synced to disk, in groups | that intent's output is there for good |
//! | `{"failed":{"output","kind","message"}}` | when a job failed | why |
//!
//! A part of a job ([`Shard`]) has a journal of its own, `journal-2-of-4.jsonl`, and reads those of the others.
//!
//! A file that was renamed but never journalled as done is recognised by the hash in its intent. A torn last line is cut off. No
//! line holds a time, a host or anything random. Paths are relative to the output folder, with `/`, and percent-encoded where
//! they are not UTF-8 (and `%` is `%25`).
//!
//! Over 500 lines because the format, its reading and its writing, and the names in it are kept where all can be checked.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::shard::Shard;
use crate::error::{Error, Result};
use crate::pipeline::{Plan, Settings};

/// The folder of state inside an output folder.
pub const STATE: &str = ".lastmile";
/// Raised whenever the same source, settings and model give other pixels than before; part of every key.
pub const PIXELS: u32 = 1;

const VERSION: u32 = 1;

/// One finished output.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// [`key`] of what decides the output's bytes.
    pub key: String,
    /// [`encode`]d path below the output folder.
    pub output: String,
    /// Of the output.
    pub sha256: String,
    pub bytes: u64,
    pub width: usize,
    pub height: usize,
    /// [`beside`] the output folder; empty in journals of before.
    #[serde(default)]
    pub source: String,
    pub source_sha256: String,
    /// Hash of the settings' JSON.
    pub settings: String,
    /// What of the networks decides pixels.
    pub model: String,
    pub pixels: u32,
    pub plan: Plan,
    /// The source's C2PA manifest is kept beside the output.
    #[serde(default)]
    pub c2pa: bool,
    /// Keys of earlier results that a person had replaced by this one: who asks for those again is given this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instead_of: Vec<String>,
    /// The gate that it missed; `output` lies in the folder for such then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// It missed a gate, and a person put it in its place all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approved: bool,
    pub notes: Vec<String>,
}

impl Record {
    /// Whether this is the result of a job with this key, or what a person put in that one's place.
    pub fn answers(&self, key: &str) -> bool {
        self.key == key || self.instead_of.iter().any(|k| k == key)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Settings {
        hash: String,
        settings: Box<Settings>,
    },
    Intent {
        temp: String,
        #[serde(flatten)]
        record: Box<Record>,
    },
    Done {
        output: String,
        sha256: String,
    },
    Failed {
        output: String,
        kind: String,
        message: String,
    },
    #[serde(untagged)]
    Header {
        journal: String,
        version: u32,
    },
}

/// What is known about one output.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Journalled as done.
    pub done: Option<Record>,
    /// Announced, and perhaps renamed, but not known to be on disk.
    pub pending: Option<Record>,
}

/// The journal's content.
#[derive(Debug, Default)]
pub struct State {
    outputs: HashMap<String, Known>,
    /// What other parts' journals, or those of runs with other parts, say.
    others: Vec<State>,
    settings: HashMap<String, Settings>,
    /// Where the last whole line ends.
    end: u64,
}

/// An open journal: this process alone works in the output folder.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    state: State,
    _locks: Vec<File>,
}

/// The name of a state file, of a part of a job or the whole.
pub fn state_name(stem: &str, shard: Option<&Shard>, extension: &str) -> String {
    format!("{stem}{}{extension}", shard.map(Shard::suffix).unwrap_or_default())
}

/// All files of the state folder that have such a name, whichever part they belong to, in order.
pub fn state_files(root: &Path, stem: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let dir = root.join(STATE);
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(e) => return Err(Error::io(&dir, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(&dir, e))?;
        let name = entry.file_name();
        let part = name.to_str().and_then(|n| n.strip_prefix(stem)?.strip_suffix(extension)).map(str::to_owned);
        let numbers = |p: &str| p.strip_prefix('-').and_then(|p| p.split_once("-of-")).map(|(i, n)| format!("{i}/{n}"));
        if part.is_some_and(|p| p.is_empty() || numbers(&p).is_some_and(|n| n.parse::<Shard>().is_ok())) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

impl State {
    /// Reads the journals of `root`, that of `shard` as the own one; none is an empty state.
    pub fn load(root: &Path, shard: Option<&Shard>) -> Result<Self> {
        let read = |path: &Path| match std::fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(_) if path.is_dir() => {
                Err(Error::usage(path.display(), "a folder stands where the journal goes", "move it away, or another output folder"))
            }
            Err(e) => Err(Error::io(path, e)),
        };
        if let Some(state) = Some(root.join(STATE)).filter(|s| s.symlink_metadata().is_ok() && !s.is_dir()) {
            return Err(Error::usage(
                state.display(),
                "a file stands where the folder of state goes",
                "move it away, or another output folder",
            ));
        }
        let own = root.join(STATE).join(state_name("journal", shard, ".jsonl"));
        let mut state = read(&own)?;
        for other in state_files(root, "journal", ".jsonl")?.iter().filter(|p| **p != own) {
            state.others.push(read(other)?);
        }
        Ok(state)
    }

    /// Reads one journal from its bytes; `path` is only used in messages.
    ///
    /// # Errors
    /// It is no journal, or of a version to come. Damaged lines cost what they say, no more.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut state = Self::default();
        let strange = |what: String| Error::usage(path.display(), what, "another output folder, or move this file away to start anew");
        for (n, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            let Some(text) = line.strip_suffix(b"\n") else { break };
            match (n, serde_json::from_slice::<Line>(text)) {
                (0, Ok(Line::Header { journal, version })) if journal == "lastmile" => {
                    if version > VERSION {
                        return Err(strange(format!("journal version {version}, this program knows {VERSION}")));
                    }
                }
                (0, _) => return Err(strange("this is not a lastmile journal".into())),
                // A line that power loss damaged costs one file's work, not the journal.
                (_, Err(_) | Ok(Line::Header { .. } | Line::Failed { .. })) => {}
                (_, Ok(Line::Settings { hash, settings })) => {
                    state.settings.insert(hash, *settings);
                }
                (_, Ok(Line::Intent { record, .. })) => state.intend(*record),
                (_, Ok(Line::Done { output, sha256 })) => state.finish(&output, &sha256),
            }
            state.end += line.len() as u64;
        }
        Ok(state)
    }

    fn intend(&mut self, record: Record) {
        let output = record.output.clone();
        self.outputs.entry(output).or_default().pending = Some(record);
    }

    fn finish(&mut self, output: &str, sha256: &str) {
        if let Some(known) = self.outputs.get_mut(output)
            && known.pending.as_ref().is_some_and(|r| r.sha256 == sha256)
        {
            known.done = known.pending.take();
        }
    }

    /// What is known about an output, by its [`encode`]d path; what the own journal says comes first.
    pub fn get<'a>(&'a self, output: &str) -> impl Iterator<Item = &'a Known> {
        self.journals().filter_map(move |s| s.outputs.get(output))
    }

    /// The newest record of every output, in order of their paths; what the own journal says comes first.
    pub fn records(&self) -> Vec<&Record> {
        let all = self.journals().flat_map(|s| s.outputs.values()).filter_map(|k| k.pending.as_ref().or(k.done.as_ref()));
        let mut all: Vec<&Record> = all.collect();
        all.sort_by(|a, b| a.output.cmp(&b.output));
        all.dedup_by(|later, first| later.output == first.output);
        all
    }

    /// The settings behind the hash in a record, if a journal tells them.
    pub fn settings(&self, hash: &str) -> Option<&Settings> {
        self.journals().find_map(|s| s.settings.get(hash))
    }

    fn journals(&self) -> impl Iterator<Item = &State> {
        std::iter::once(self).chain(&self.others)
    }
}

impl Journal {
    /// Locks `root` (or a part of the job there) for this process, mends a torn last line and gets ready to append. Creates
    /// what is missing.
    ///
    /// # Errors
    /// Another run holds the lock, or the folder cannot be written.
    pub fn open(root: &Path, shard: Option<&Shard>) -> Result<Self> {
        let dir = root.join(STATE);
        // What stands in the way is told by name.
        State::load(root, shard)?;
        std::fs::create_dir_all(&dir)
            .map_err(|e| Error::usage("-o", format!("{} cannot be created: {e}", dir.display()), "a folder that can be written"))?;
        // Parts share the folder's lock; a run without parts has it alone.
        let mut locks = vec![lock(root, "lock", shard.is_some())?];
        if let Some(shard) = shard {
            locks.push(lock(root, &state_name("lock", Some(shard), ""), false)?);
        }
        let path = dir.join(state_name("journal", shard, ".jsonl"));
        let state = State::load(root, shard)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|e| Error::io(&path, e))?;
        file.set_len(state.end).map_err(|e| Error::io(&path, e))?;
        drop(file);
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        let mut journal = Self { file, path, state, _locks: locks };
        if journal.state.end == 0 {
            journal.append(&[Line::Header { journal: "lastmile".into(), version: VERSION }])?;
        }
        Ok(journal)
    }

    /// What earlier runs left.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Writes down what a settings hash stands for, once.
    pub fn know(&mut self, hash: &str, settings: &Settings) -> Result<()> {
        if self.state.settings.contains_key(hash) {
            return Ok(());
        }
        self.append(&[Line::Settings { hash: hash.into(), settings: Box::new(settings.clone()) }])?;
        self.state.settings.insert(hash.into(), settings.clone());
        Ok(())
    }

    /// Announces that the complete file `temp` is about to become `record.output`.
    pub fn intend(&mut self, temp: &str, record: &Record) -> Result<()> {
        self.append(&[Line::Intent { temp: temp.into(), record: Box::new(record.clone()) }])?;
        self.state.intend(record.clone());
        Ok(())
    }

    /// Notes that these outputs (path and hash) are on disk for good, and syncs the journal itself.
    pub fn finish(&mut self, outputs: &[(String, String)]) -> Result<()> {
        let lines: Vec<Line> =
            outputs.iter().map(|(output, sha256)| Line::Done { output: output.clone(), sha256: sha256.clone() }).collect();
        self.append(&lines)?;
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))?;
        for (output, sha256) in outputs {
            self.state.finish(output, sha256);
        }
        Ok(())
    }

    /// Takes over outputs that are there but of which no journal, or only another part's, says that they are done.
    pub fn adopt(&mut self, records: &[Record]) -> Result<()> {
        for record in records {
            self.intend("", record)?;
        }
        let names: Vec<(String, String)> = records.iter().map(|r| (r.output.clone(), r.sha256.clone())).collect();
        self.finish(&names)
    }

    /// Notes why an output was not made.
    pub fn fail(&mut self, output: &str, error: &Error) -> Result<()> {
        self.append(&[Line::Failed { output: output.into(), kind: error.kind().into(), message: error.to_string() }])
    }

    /// All lines in one write, so that only a crash of the machine can tear them.
    fn append(&mut self, lines: &[Line]) -> Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).map_err(|e| Error::Internal(format!("journal: {e}")))?;
            text.push(b'\n');
        }
        let end = self.state.end;
        match self.file.write_all(&text) {
            Ok(()) => {
                self.state.end = end + text.len() as u64;
                Ok(())
            }
            Err(e) => {
                // A full disk may have taken half a line: take it back, or the next line would be lost with it.
                let _ = self.file.set_len(end);
                Err(Error::io(&self.path, e))
            }
        }
    }
}

/// How long a run waits for one that works in the same folder: several started at once, one file each, come one after the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// Locks a file of the state folder until it is closed.
fn lock(root: &Path, name: &str, shared: bool) -> Result<File> {
    let path = root.join(STATE).join(name);
    let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&path);
    let file =
        file.map_err(|e| Error::usage("-o", format!("{} cannot be written: {e}", path.display()), "a folder that can be written"))?;
    let began = Instant::now();
    let mut got = if shared { file.try_lock_shared() } else { file.try_lock() };
    while matches!(got, Err(TryLockError::WouldBlock)) && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
        got = if shared { file.try_lock_shared() } else { file.try_lock() };
    }
    match got {
        Ok(()) => Ok(file),
        // A file system without locks (some network shares) is no reason to refuse work.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::usage(
            root.display(),
            "another lastmile run is working in this folder",
            "wait until it ends, give it all files at once, --shard for several runs in one folder, or another folder after -o",
        )),
        Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
    }
}

/// The name of what decides an output's bytes: source, settings, networks, and this program's pixel revision.
pub fn key(source_sha256: &str, settings: &str, model: &str) -> String {
    sha256(format!("{source_sha256}\n{settings}\n{model}\n{PIXELS}").as_bytes())
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file's content in hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, e))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(64), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// A relative path as the journal writes it: `/` between names, bytes that are not UTF-8 and `%` as `%XX`.
pub fn encode(path: &Path) -> String {
    let names = path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(percent(name)),
        _ => None,
    });
    names.collect::<Vec<_>>().join("/")
}

/// Where `path` lies as seen from the folder `root`, with `..` where needed, [`percent`]-encoded name by name; absolute where
/// the two share nothing (another drive). Links are resolved; both must exist.
pub fn beside(root: &Path, path: &Path) -> Result<String> {
    let real = |p: &Path| p.canonicalize().map_err(|e| Error::io(p, e));
    let (root, path) = (real(root)?, real(path)?);
    let (from, to): (Vec<_>, Vec<_>) = (root.components().collect(), path.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return Ok(percent(path.as_os_str()));
    }
    let up = std::iter::repeat_n("..".to_string(), from.len() - shared);
    Ok(up.chain(to[shared..].iter().map(|c| percent(c.as_os_str()))).collect::<Vec<_>>().join("/"))
}

/// The path that [`beside`] wrote, seen from where `root` is: for people, as links are not looked at.
pub fn place(root: &Path, told: &str) -> PathBuf {
    let mut place = PathBuf::new();
    for part in root.join(decode(told)).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(place.components().next_back(), Some(Component::Normal(_))) => drop(place.pop()),
            part => place.push(part),
        }
    }
    place
}

/// The path that [`encode`], [`percent`] and [`beside`] wrote.
pub fn decode(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        PathBuf::from(std::ffi::OsString::from_vec(out))
    }
    #[cfg(not(unix))]
    {
        PathBuf::from(String::from_utf8_lossy(&out).into_owned())
    }
}

/// A name with `%` and everything that is not UTF-8 as `%XX`.
pub fn percent(name: &OsStr) -> String {
    let mut out = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        out.push_str(&chunk.valid().replace('%', "%25"));
        for b in chunk.invalid() {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// A path as JSON has it: itself, or [`percent`]-encoded if it is not UTF-8. Two paths never have one word.
pub fn word(path: &Path) -> String {
    path.to_str().map_or_else(|| percent(path.as_os_str()), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(output: &str, sha: &str) -> Record {
        Record { key: "k".into(), output: output.into(), sha256: sha.into(), ..Record::default() }
    }

    #[test]
    fn hashes() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"abc").unwrap();
        assert_eq!(sha256_file(&dir.path().join("f")).unwrap(), sha256(b"abc"));
        assert_ne!(key("a", "b", "c"), key("a", "bc", ""));
    }

    #[test]
    fn a_journal_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut j = Journal::open(dir.path(), None).unwrap();
        j.intend("t1", &record("a.png", "1")).unwrap();
        j.intend("t2", &record("b.png", "2")).unwrap();
        j.finish(&[("a.png".into(), "1".into())]).unwrap();
        j.intend("t3", &record("a.png", "3")).unwrap();
        j.fail("c.png", &Error::Interrupted).unwrap();
        assert_eq!(Journal::open(dir.path(), None).unwrap_err().kind(), "usage", "one run at a time");
        drop(j);
        let s = State::load(dir.path(), None).unwrap();
        let a = s.get("a.png").next().unwrap();
        assert_eq!((a.done.as_ref().unwrap().sha256.as_str(), a.pending.as_ref().unwrap().sha256.as_str()), ("1", "3"));
        let b = s.get("b.png").next().unwrap();
        assert!(b.done.is_none() && b.pending.is_some());
        assert!(s.get("c.png").next().is_none());
    }

    #[test]
    fn parts_work_side_by_side_and_read_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two): (Shard, Shard) = ("1/2".parse().unwrap(), "2/2".parse().unwrap());
        let mut a = Journal::open(dir.path(), Some(&one)).unwrap();
        let mut b = Journal::open(dir.path(), Some(&two)).unwrap();
        assert_eq!(Journal::open(dir.path(), Some(&one)).unwrap_err().kind(), "usage", "one run at a time");
        assert_eq!(Journal::open(dir.path(), None).unwrap_err().kind(), "usage", "nor the whole beside its parts");
        a.intend("t", &record("a.png", "1")).unwrap();
        a.finish(&[("a.png".into(), "1".into())]).unwrap();
        b.intend("t", &record("b.png", "2")).unwrap();
        drop((a, b));
        let mut whole = Journal::open(dir.path(), None).unwrap();
        assert_eq!(Journal::open(dir.path(), Some(&one)).unwrap_err().kind(), "usage", "nor parts beside the whole");
        assert!(whole.state().get("a.png").next().unwrap().done.is_some());
        assert!(whole.state().get("b.png").next().unwrap().pending.is_some());
        whole.adopt(&[record("b.png", "2")]).unwrap();
        drop(whole);
        let s = State::load(dir.path(), Some(&one)).unwrap();
        assert_eq!(s.get("b.png").filter(|k| k.done.is_some()).count(), 1);
        let names = state_files(dir.path(), "journal", ".jsonl").unwrap();
        let names: Vec<_> = names.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["journal-1-of-2.jsonl", "journal-2-of-2.jsonl", "journal.jsonl"]);
    }

    #[test]
    fn torn_anywhere_it_still_opens_and_appends() {
        let dir = tempfile::tempdir().unwrap();
        let mut j = Journal::open(dir.path(), None).unwrap();
        j.intend("t1", &record("ä.png", "1")).unwrap();
        j.finish(&[("ä.png".into(), "1".into())]).unwrap();
        drop(j);
        let path = dir.path().join(STATE).join("journal.jsonl");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut j = Journal::open(dir.path(), None).unwrap();
            j.intend("t2", &record("b.png", "2")).unwrap();
            drop(j);
            let s = State::load(dir.path(), None).unwrap();
            assert!(s.get("b.png").next().is_some(), "cut at {cut}");
            assert_eq!(s.get("ä.png").any(|k| k.done.is_some()), cut == whole.len(), "cut at {cut}");
        }
    }

    #[test]
    fn strange_journals_are_refused() {
        for text in ["hello\n", "{\"journal\":\"lastmile\",\"version\":2}\n", "{\"journal\":\"other\",\"version\":1}\n"] {
            assert_eq!(State::parse(Path::new("j"), text.as_bytes()).unwrap_err().kind(), "usage");
        }
        let s = State::parse(
            Path::new("j"),
            b"{\"journal\":\"lastmile\",\"version\":1}\n\x00\x00\n{\"done\":{\"output\":\"a\",\"sha256\":\"1\"}}\n",
        )
        .unwrap();
        assert!(s.get("a").next().is_none(), "done without an intent says nothing");
    }

    #[test]
    fn sources_and_settings_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["in/a", "out"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let (root, source) = (dir.path().join("out"), dir.path().join("in/a/5% x.png"));
        std::fs::write(&source, b"").unwrap();
        let told = beside(&root, &source).unwrap();
        assert_eq!(told, "../in/a/5%25 x.png");
        assert_eq!(root.join(decode(&told)).canonicalize().unwrap(), source.canonicalize().unwrap());
        for (root, told, seen) in [("out", "../in/5%25.png", "in/5%.png"), ("./a/out", "../../../in/x", "../in/x"), ("/o", "../in", "/in")]
        {
            assert_eq!(place(Path::new(root), told), Path::new(seen));
        }

        let settings = Settings { size: crate::upscale::size::Size::Scale(2.0), ..Settings::default() };
        let mut j = Journal::open(&root, None).unwrap();
        j.know("h", &settings).unwrap();
        j.know("h", &settings).unwrap();
        j.intend("t", &record("b.png", "2")).unwrap();
        j.intend("t", &record("a.png", "1")).unwrap();
        drop(j);
        let s = State::load(&root, None).unwrap();
        assert_eq!(s.settings("h"), Some(&settings));
        assert_eq!(s.records().iter().map(|r| r.output.as_str()).collect::<Vec<_>>(), ["a.png", "b.png"]);
        let text = std::fs::read_to_string(root.join(STATE).join("journal.jsonl")).unwrap();
        assert_eq!(text.matches("colour_lock").count(), 1 + 2, "once, and in two plans");
    }

    proptest::proptest! {
        #[test]
        fn damage_costs_lines_and_never_a_panic(cuts in proptest::collection::vec((0usize..4000, 0usize..40, proptest::collection::vec(0u8..=255, 0..20)), 1..6)) {
            let dir = tempfile::tempdir().unwrap();
            let mut j = Journal::open(dir.path(), None).unwrap();
            for n in 0..6 {
                j.intend("t", &record(&format!("{n}.png"), "1")).unwrap();
                j.finish(&[(format!("{n}.png"), "1".into())]).unwrap();
            }
            drop(j);
            let whole = std::fs::read(dir.path().join(STATE).join("journal.jsonl")).unwrap();
            let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
            let mut bytes = whole[first..].to_vec();
            for (at, gone, new) in cuts {
                let at = at.min(bytes.len());
                bytes.splice(at..(at + gone).min(bytes.len()), new);
            }
            let state = State::parse(Path::new("j"), &[&whole[..first], &bytes].concat()).unwrap();
            for n in 0..6 {
                let name = format!("{n}.png");
                for known in state.get(&name) {
                    proptest::prop_assert!(known.done.is_some() || known.pending.is_some());
                }
            }
            let _ = State::parse(Path::new("j"), &bytes);
        }
    }

    #[test]
    fn paths() {
        assert_eq!(encode(Path::new("a/b 100%.png")), "a/b 100%25.png");
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            assert_eq!(percent(OsStr::from_bytes(b"a\xffb")), "a%FFb");
            assert_eq!(decode("a%FFb/100%25/50%.png").as_os_str().as_bytes(), b"a\xffb/100%/50%.png");
        }
    }
}
