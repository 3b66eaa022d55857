//! What any bytes say as a picture's metadata, changed in every way and written into every container: what is written must be
//! read again without an error.
#![no_main]

use std::path::Path;

use lastmile::Band;
use lastmile::codec::{self, Changes, Encoding, Event, Format, Keep, Limits, Policy, SourceType, Strip};
use lastmile::image::Channels;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let limits = Limits { max_pixels: 1 << 20, first_frame: true };
    let Ok(examined) = codec::examine(Path::new("picture"), data, &limits) else { return };
    let m = examined.metadata;
    let _ = (m.facts(), codec::generation(&m), m.source_type(), m.provenance_url());
    let _ = m.c2pa.as_deref().and_then(codec::Claim::read);
    let history = Event { action: "resized".into(), parameters: "x4".into(), software: "fuzz".into(), time: Some(0) };
    let policy = Policy {
        keep: [Keep::All, Keep::Minimal, Keep::Nothing][usize::from(choice % 3)],
        strip: if choice & 64 == 0 { Vec::new() } else { vec![Strip::Gps, Strip::Prompt] },
        source_type: if choice & 128 == 0 { None } else { SourceType::new("print").ok() },
    };
    let dpi = if choice & 32 == 0 { None } else { Some((300.0, 300.0)) };
    let (changed, _) = m.changed(&Changes { width: 2, height: 1, dpi, policy, history: vec![history] });
    let path = std::env::temp_dir().join(format!("lastmile-fuzz-{}", std::process::id()));
    for format in Format::ALL.into_iter().filter(|f| f.writes()) {
        let how = Encoding { format, quality: 90, ..Encoding::default() };
        let _ = codec::losses(&how, Channels::Rgb, &changed);
        let mut encoder = codec::encoder(&path, &how, 2, 1, Channels::Rgb, &changed).expect("a small picture can be written");
        encoder.write(&Band::new(0, 2, 1, 3)).expect("rows are taken");
        encoder.finish().expect("the file is completed");
        let bytes = std::fs::read(&path).expect("it is there");
        let again = codec::decode(&path, &bytes, &limits).unwrap_or_else(|e| panic!("{format:?}: {e}"));
        assert!(again.width == 2 && again.height == 1, "the orientation was applied twice");
    }
    let _ = std::fs::remove_file(&path);
});
