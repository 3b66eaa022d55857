//! What must hold of any bytes at all: run by the fuzz targets on what they make up, and by `tests/fuzz.rs` on the corpora.
#![allow(dead_code)]

use std::io::Cursor;
use std::path::Path;

use lastmile::Band;
use lastmile::batch::journal::State;
use lastmile::codec::{self, Changes, Encoding, Event, Format, Keep, Limits, Policy, SourceType, Strip};
use lastmile::image::Channels;
use lastmile::recipe::Recipe;
use lastmile::upscale::import::pickle::Pickle;
use lastmile::upscale::import::{Options, import_from};

const LIMITS: Limits = Limits { max_pixels: 1 << 20, first_frame: true };

/// Has panics of the crate itself end the fuzzer. Decoders of others may panic on damaged data: `codec` catches that and makes it an
/// error that names the file; one that it did not catch ends the fuzzer all the same.
pub fn ours_alone() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|l| l.file().contains("/registry/src/")) {
            abort(panic);
        }
    }));
}

/// A picture: the header, what the file says, and its pixels.
pub fn decode(data: &[u8]) {
    let path = Path::new("picture");
    let examined = codec::examine(path, data, &LIMITS);
    let header = codec::header(path, data, &LIMITS);
    if let Ok(image) = codec::decode(path, data, &LIMITS) {
        let header = header.expect("what can be decoded has a header");
        assert_eq!((image.width, image.height), header.upright());
        assert_eq!(image.bits(), header.bits);
        assert!(examined.is_ok());
    }
}

/// A picture's metadata, changed and written into a container as the first byte says: what is written must be read again without
/// an error.
pub fn metadata(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let Ok(examined) = codec::examine(Path::new("picture"), data, &LIMITS) else { return };
    let m = examined.metadata;
    let _ = (m.facts(), codec::generation(&m), m.source_type(), m.provenance_url());
    let _ = m.c2pa.as_deref().and_then(codec::Claim::read);
    let history = Event { action: "resized".into(), parameters: "x4".into(), software: "fuzz".into(), time: Some(0) };
    let policy = Policy {
        keep: [Keep::All, Keep::Minimal, Keep::Nothing, Keep::All][usize::from(choice & 3)],
        strip: if choice & 64 == 0 { Vec::new() } else { vec![Strip::Gps, Strip::Prompt] },
        source_type: if choice & 128 == 0 { None } else { SourceType::new("print").ok() },
    };
    let dpi = if choice & 32 == 0 { None } else { Some((300.0, 300.0)) };
    let (changed, _) =
        m.changed(&Changes { width: 2, height: 1, from: Some((1, 1)), cut: dpi.is_none(), dpi, policy, history: vec![history] });
    let writable: Vec<Format> = Format::ALL.into_iter().filter(|f| f.writes()).collect();
    let format = writable[usize::from(choice >> 2 & 7) % writable.len()];
    // In memory where there is such a place: a disk would be most of the time.
    let folder = Path::new("/dev/shm");
    let folder = if folder.is_dir() { folder.to_path_buf() } else { std::env::temp_dir() };
    let path = folder.join(format!("lastmile-fuzz-{}", std::process::id()));
    let how = Encoding { format, quality: 90, ..Encoding::default() };
    let _ = codec::losses(&how, Channels::Rgb, &changed);
    let mut encoder = codec::encoder(&path, &how, 2, 1, Channels::Rgb, &changed).expect("a small picture can be written");
    encoder.write(&Band::new(0, 2, 1, 3)).expect("rows are taken");
    encoder.finish().expect("the file is completed");
    let bytes = std::fs::read(&path).expect("it is there");
    let _ = std::fs::remove_file(&path);
    let again = codec::decode(&path, &bytes, &LIMITS).unwrap_or_else(|e| panic!("{format:?}: {e}"));
    assert!(again.width == 2 && again.height == 1, "the orientation was applied twice");
}

/// A recipe: it is read, or everything wrong with it is told.
pub fn recipe(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Recipe::parse(Path::new("a.recipe.toml"), text) {
        Ok(recipe) => assert!(recipe.check().is_ok()),
        Err(e) => assert!(e.to_string().contains("a.recipe.toml")),
    }
}

/// A journal: lines that are damaged cost what they say and no more.
pub fn journal(data: &[u8]) {
    if let Ok(state) = State::parse(Path::new("journal.jsonl"), data) {
        for known in state.get("a.png") {
            assert!(known.done.is_some() || known.pending.is_some());
        }
    }
}

/// A checkpoint: zip or safetensors, through detection and building.
pub fn checkpoint(data: &[u8]) {
    let _ = import_from(Box::new(Cursor::new(data.to_vec())), &Options::default());
}

/// A pickle, and every value of what comes out looked at.
pub fn pickle(data: &[u8]) {
    if let Ok(pickle) = Pickle::parse(data) {
        let root = pickle.root();
        let _ = (format!("{:?}", pickle.get(root)), pickle.text(root));
    }
}
