//! Checkpoints made to do harm, and honest files that are not what is asked for: each is refused with exit code 2 and a reason.

use std::io::{Cursor, Write};
use std::path::Path;

use lastmile::Exit;
use lastmile::upscale::import::weights::Weights;
use lastmile::upscale::import::{Options, import, import_from};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A zip of entries; `packed` ones are deflated.
fn zip(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data, packed) in entries {
        let method = if *packed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A checkpoint with this pickle and one storage `0` of 16 bytes.
fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    zip(&[("a/data.pkl", pickle, false), ("a/data/0", &[0; 16], false)])
}

fn text(s: &str) -> Vec<u8> {
    [b"X", &(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat()
}

fn long(v: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &v.to_le_bytes()].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

fn storage(key: &str, len: i64) -> Vec<u8> {
    let parts = [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(key), text("cpu"), long(len)];
    [tuple(&parts), b"Q".to_vec()].concat()
}

fn tensor(storage: Vec<u8>, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let list = |v: &[i64]| tuple(&v.iter().map(|&v| long(v)).collect::<Vec<_>>());
    let ordered = b"ccollections\nOrderedDict\n)R".to_vec();
    let args = tuple(&[storage, long(offset), list(shape), list(stride), vec![0x89], ordered]);
    [b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), args, b"R".to_vec()].concat()
}

/// The pickle of a dictionary.
fn state(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|(k, v)| [text(k), v.clone()].concat()).collect();
    [b"\x80\x02}(", &items[..], b"u."].concat()
}

/// The message of the refusal; it must be one about the model, with exit code 2.
fn refused(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("evil.pth");
    std::fs::write(&file, bytes).unwrap();
    let error = import(&file, &Options::default()).unwrap_err();
    assert_eq!((error.kind(), error.exit()), ("model", Exit::Usage), "{error}");
    let said = error.to_string();
    assert!(said.contains("evil.pth"));
    said.replace(&*dir.path().to_string_lossy(), "")
}

#[track_caller]
fn assert_refused(bytes: &[u8], reason: &str) {
    let said = refused(bytes);
    assert!(said.contains(reason), "{said}");
}

#[test]
fn a_call_of_os_system_is_refused_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("run");
    let pickle = [b"\x80\x02cos\nsystem\n".to_vec(), text(&format!("touch {}", mark.display())), b"\x85R.".to_vec()].concat();
    assert_refused(&checkpoint(&pickle), "\"os.system\"");
    assert!(!Path::new(&mark).exists());
}

#[test]
fn a_call_hidden_beside_good_tensors_is_refused() {
    let good = tensor(storage("0", 4), 0, &[4], &[1]);
    let evil = [b"cposix\nsystem\n".to_vec(), tuple(&[text("id")]), b"R".to_vec()].concat();
    assert_refused(&checkpoint(&state(&[("body.0.bias", good), ("epoch", evil)])), "\"posix.system\"");
}

#[test]
fn calls_by_other_opcodes_are_refused() {
    assert_refused(&checkpoint(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."), "\"builtins.eval\"");
    assert_refused(&checkpoint(b"(S'id'\nios\nsystem\n."), "STRING");
    assert_refused(&checkpoint(b"\x80\x02(ios\nsystem\n."), "INST");
    assert_refused(&checkpoint(b"\x80\x02)\x81."), "NEWOBJ");
    assert_refused(&checkpoint(b"\x80\x02\x82\x07."), "EXT1");
}

#[test]
fn a_pickled_model_object_is_refused() {
    assert_refused(&checkpoint(b"\x80\x02c__main__\nNet\n)\x81}b."), "\"__main__.Net\"");
}

#[test]
fn nesting_is_limited() {
    assert_refused(&checkpoint(&[&b"\x80\x02"[..], &[b']'; 1], &b"]a".repeat(3), &[0x85; 50_000], b"."].concat()), "nested");
    assert_refused(&checkpoint(&[&b"\x80\x02"[..], &[b'('; 50_000]].concat()), "open inside each other");
}

#[test]
fn memo_tricks_end() {
    // Sharing that would double at each of 1,000 levels.
    assert_refused(&checkpoint(&[&b"\x80\x02)q\0"[..], &b"h\0h\0\x86q\0".repeat(1000), b"."].concat()), "nested");
    assert_refused(&checkpoint(b"\x80\x02]q\0h\0a."), "holds itself");
    assert_refused(&checkpoint(b"\x80\x02j\x07\0\0\0."), "memo 7");
    assert_refused(&checkpoint(&[&b"\x80\x02"[..], &b"K\x01".repeat(1 << 21), b"."].concat()), "more than 1048576 values");
}

#[test]
fn truncated_files_are_refused() {
    let good = state(&[("x", tensor(storage("0", 4), 0, &[4], &[1]))]);
    assert_refused(&checkpoint(&good[..good.len() / 2]), "ends at byte");
    let whole = checkpoint(&good);
    assert_refused(&whole[..whole.len() / 2], "no complete zip");
    assert_refused(&whole[..whole.len() - 1], "no complete zip");
}

#[test]
fn huge_counts_are_refused() {
    assert_refused(&checkpoint(b"\x80\x02X\xff\xff\xff\xff"), "4294967295");
    let dense = |n: i64| tensor(storage("0", n), 0, &[n], &[1]);
    assert_refused(&checkpoint(&state(&[("x", dense(1 << 60))])), "too many values");
    assert_refused(&checkpoint(&state(&[("x", tensor(storage("0", i64::MAX), 0, &[1 << 32, 1 << 32], &[0, 0]))])), "too many values");
    assert_refused(&checkpoint(&state(&[("x", tensor(storage("0", 4), 0, &[1 << 27], &[0]))])), "leads out of its storage");
    assert_refused(
        &checkpoint(b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpuJ\xff\xff\xff\xfftQ."),
        "-1 values",
    );
}

#[test]
fn views_out_of_their_storage_are_refused() {
    let view = |offset, shape: &[i64], stride: &[i64]| checkpoint(&state(&[("x", tensor(storage("0", 4), offset, shape, stride))]));
    assert_refused(&view(0, &[2], &[-1]), "negative");
    assert_refused(&view(-4, &[1], &[1]), "negative");
    assert_refused(&view(1, &[4], &[1]), "leads out");
    assert_refused(&view(0, &[2], &[i64::MAX]), "leads out");
    assert_refused(&view(i64::MAX, &[2], &[i64::MAX]), "leads out");
    assert_refused(&view(0, &[2, 2], &[2]), "does not fit");
    assert_refused(&view(0, &[1; 9], &[1; 9]), "9 dimensions");
}

/// SRVGGNetCompact's names, so that the storages are really asked for.
fn srvgg(data: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let of = |name: &'static str, shape: &[i64]| {
        let mut stride = vec![1; shape.len()];
        (1..shape.len()).rev().for_each(|d| stride[d - 1] = stride[d] * shape[d]);
        (name, tensor(storage(name.split('.').nth(1).unwrap(), shape.iter().product()), 0, shape, &stride))
    };
    let pickle = state(&[of("body.0.weight", &[3, 3, 3, 3]), of("body.2.weight", &[3, 3, 3, 3]), of("body.1.weight", &[3])]);
    zip(&[("a/data.pkl", &pickle, false), ("a/data/0", &data("0"), true), ("a/data/2", &[0; 324], false), ("a/data/1", &[0; 12], false)])
}

#[test]
fn storages_of_the_wrong_size_are_refused() {
    assert_refused(&srvgg(|_| vec![0; 320]), "320 bytes where 324 belong");
    assert_refused(&srvgg(|_| vec![0; 328]), "328 bytes where at most 324");
    assert_refused(&srvgg(|_| vec![0; 324]), "body.0.bias is missing");
}

#[test]
fn zip_bombs_are_refused() {
    // 64 MiB of zeros in a storage that is said to be that long, and in the pickle.
    let bomb = vec![0u8; 64 << 20];
    let n = 16 << 20;
    let shape = [n / 9, 1, 3, 3];
    let pickle = state(&[
        ("body.0.weight", tensor(storage("0", n), 0, &shape, &[9, 9, 3, 1])),
        ("body.1.weight", tensor(storage("1", 3), 0, &[3], &[1])),
        ("body.2.weight", tensor(storage("0", n), 0, &shape, &[9, 9, 3, 1])),
    ]);
    assert_refused(&zip(&[("a/data.pkl", &pickle, false), ("a/data/0", &bomb, true)]), "zip bomb");
    assert_refused(&zip(&[("a/data.pkl", &bomb, true)]), "at most 16777216");
    assert_refused(&zip(&[("a/data.pkl", &bomb[..8 << 20], true)]), "zip bomb");
}

#[test]
fn paths_out_of_the_container_are_refused() {
    let good = state(&[("x", tensor(storage("0", 4), 0, &[4], &[1]))]);
    for name in ["../../etc/cron.d/x", "/etc/passwd", "a/../../x", "a\\..\\x", "c:/x"] {
        assert_refused(&zip(&[("a/data.pkl", &good, false), (name, b"x", false)]), "leads out");
    }
    let evil = state(&[("x", tensor(storage("../../etc/passwd", 4), 0, &[4], &[1]))]);
    assert_refused(&checkpoint(&evil), "not a plain name");
}

#[test]
fn duplicate_and_missing_entries_are_refused() {
    let good = state(&[("x", tensor(storage("0", 4), 0, &[4], &[1]))]);
    let twins = zip(&[("a/data.pkl", &good, false), ("a/data/0", &[0; 16], false), ("a/data/1", &[1; 16], false)]);
    // The writer refuses two equal names, so one is renamed afterwards, in its header and in the directory.
    let mut bytes = twins.clone();
    for at in 0..bytes.len() - 8 {
        if &bytes[at..at + 8] == b"a/data/1" {
            bytes[at + 7] = b'0';
        }
    }
    assert_ne!(bytes, twins);
    assert_refused(&bytes, "same name");
    assert_refused(&zip(&[("a/data.pkl", &good, false), ("b/data.pkl", &good, false)]), "2 entries named data.pkl");
    assert_refused(&zip(&[("a/model.json", b"{}", false)]), "without a data.pkl");
}

#[test]
fn unknown_persistent_ids_are_refused() {
    assert_refused(&checkpoint(&[b"\x80\x02".to_vec(), text("module.pkl"), b"Q.".to_vec()].concat()), "outside data");
    let parts = [text("file"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu"), long(4)];
    assert_refused(&checkpoint(&[b"\x80\x02".to_vec(), tuple(&parts), b"Q.".to_vec()].concat()), "outside data");
    assert_refused(&checkpoint(b"\x80\x02Pmodule\n."), "PERSID");
}

#[test]
fn wrong_arguments_of_known_callables_are_refused() {
    assert_refused(&checkpoint(b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R."), "OrderedDict");
    assert_refused(&checkpoint(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R."), "a tensor from 0 arguments");
    assert_refused(&checkpoint(b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x85R."), "without a tensor");
    assert_refused(&checkpoint(b"\x80\x02ctorch\nFloatStorage\n)R."), "storage type is called");
    assert_refused(&checkpoint(b"\x80\x02}K\x01a."), "no list");
    assert_refused(&checkpoint(b"\x80\x02}(K\x01u."), "key without a value");
    assert_refused(&checkpoint(b"\x80\x02K\x01."), "no dictionary of weights");
    assert_refused(&checkpoint(&state(&[("lr", b"K\x01".to_vec())])), "its keys are lr");
}

#[test]
fn containers_are_searched_only_so_deep() {
    let nested = |deep: usize| {
        let mut inner = [b"}".to_vec(), text("x"), tensor(storage("0", 4), 0, &[4], &[1]), b"s".to_vec()].concat();
        for _ in 0..deep {
            inner = [b"}".to_vec(), text("params"), inner, b"s".to_vec()].concat();
        }
        checkpoint(&[b"\x80\x02".to_vec(), inner, b".".to_vec()].concat())
    };
    assert_refused(&nested(3), "its first tensors (of 1) are x [4]");
    assert_refused(&nested(4), "3 deep at most; its keys are params");
    // Under a name that nobody knows, if it is the only one.
    let named = |names: &[&str]| {
        let one = |n: &&str| [text(n), b"}".to_vec(), text("x"), tensor(storage("0", 4), 0, &[4], &[1]), b"ss".to_vec()].concat();
        checkpoint(&[b"\x80\x02}".to_vec(), names.iter().flat_map(one).collect(), b".".to_vec()].concat())
    };
    assert_refused(&named(&["weights"]), "its first tensors (of 1) are x [4]");
    assert_refused(&named(&["one", "other"]), "or several and none under");
    // A counter is no weight.
    let counted =
        [b"\x80\x02}".to_vec(), text("ema"), b"}".to_vec(), text("n"), tensor(storage("0", 1), 0, &[], &[]), b"ss".to_vec()].concat();
    let beside =
        [counted.clone(), text("params"), b"}".to_vec(), text("x"), tensor(storage("0", 4), 0, &[4], &[1]), b"ss.".to_vec()].concat();
    assert_refused(&checkpoint(&beside), "its first tensors (of 1) are x [4]");
}

#[test]
fn a_checkpoint_that_failed_in_training_is_refused() {
    assert_refused(&srvgg(|_| f32::NAN.to_le_bytes().repeat(81)), "NaN");
}

#[test]
fn other_formats_are_told_apart() {
    assert_refused(b"\x80\x04\x95\x05\0\0\0\0\0\0\0}.", "bare Python pickle");
    assert_refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS");
    assert_refused(b"<!DOCTYPE html><html></html>", "web page");
    assert_refused(b"", "it is empty");
    assert_refused(&checkpoint(b"\x80\x02}."), "empty dictionary");
    let good = state(&[("x", tensor(storage("0", 4), 0, &[4], &[1]))]);
    assert_refused(&zip(&[("a/data.pkl", &good, false), ("a/code/net.py", b"", false)]), "TorchScript");
    assert_refused(&zip(&[("a/data.pkl", &good, false), ("a/byteorder", b"big", false)]), "byte order");
}

/// What torch.save wrote before version 1.6: its object, the storages' names and their values with the counts before them.
fn legacy(object: &[u8], names: &[&str], storages: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out =
        [&b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..], b"\x80\x02M\xe9\x03.", b"\x80\x02}.", object, b"\x80\x02]("].concat();
    names.iter().for_each(|n| out.extend(text(n)));
    out.extend(b"e.");
    for (count, bytes) in storages {
        out.extend(count.to_le_bytes());
        out.extend(*bytes);
    }
    out
}

#[test]
fn damaged_files_of_the_old_format_are_refused() {
    let good = state(&[("x", tensor(storage("0", 4), 0, &[4], &[1]))]);
    let values = [0; 16];
    let whole = legacy(&good, &["0"], &[(4, &values)]);
    let opens = |bytes: &[u8]| Weights::open(Box::new(Cursor::new(bytes.to_vec()))).is_ok();
    assert!(opens(&whole));
    for cut in 0..whole.len() {
        assert!(!opens(&whole[..cut]), "cut at {cut}");
    }
    assert_refused(&whole[..whole.len() - 1], "cut short");
    assert_refused(&legacy(&good, &["0"], &[(u64::MAX, &values)]), "has 18446744073709551615 values where 4 belong");
    assert_refused(&legacy(&good, &["0", "0"], &[(4, &values), (4, &values)]), "there twice");
    assert_refused(&legacy(&good, &["1"], &[(4, &values)]), "storage 1 belongs to no tensor");
    let huge = state(&[("x", tensor(storage("0", 0x7fff_ffff), 0, &[4], &[1]))]);
    assert_refused(&legacy(&huge, &["0"], &[(0x7fff_ffff, &values)]), "cut short");
    let two = state(&[("x", tensor(storage("0", 4), 0, &[4], &[1])), ("y", tensor(storage("0", 1 << 28), 0, &[1 << 28], &[1]))]);
    assert_refused(&legacy(&two, &["0"], &[(1 << 28, &values)]), "of two kinds");
    assert_refused(&legacy(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.", &[], &[]), "\"os.system\"");
}

#[test]
fn names_in_refusals_stay_on_their_line() {
    let rude = state(&[("x\nerror: all fine", tensor(storage("0", 4), 0, &[4], &[1]))]);
    let told = import_from(Box::new(Cursor::new(checkpoint(&rude))), &Options::default()).unwrap_err();
    assert!(told.what.contains("x\\nerror: all fine") && !told.what.contains('\n'), "{}", told.what);
    let long = state(&[(&"\u{1}".repeat(9000), tensor(storage("0", 4), 0, &[4], &[1]))]);
    let told = import_from(Box::new(Cursor::new(checkpoint(&long))), &Options::default()).unwrap_err();
    assert!(told.what.chars().count() <= 1000, "{}", told.what.len());
}

#[test]
fn variants_of_known_architectures_are_refused() {
    let one = || tensor(storage("0", 4), 0, &[1, 1, 2, 2], &[4, 4, 2, 1]);
    let plus = state(&[("model.1.sub.0.RDB1.conv1.0.weight", one()), ("model.1.sub.0.RDB1.conv1x1.weight", one())]);
    assert_refused(&checkpoint(&plus), "ESRGAN+");
    let cut = state(&[("conv_first.weight", one()), ("body.0.rdb1.conv1.weight", one())]);
    assert_refused(&checkpoint(&cut), "conv_first.weight takes 1 channels");
    assert_refused(&checkpoint(&state(&[("layers.0.attn.qkv.weight", one())])), "layers.0.attn.qkv.weight [1, 1, 2, 2]");
}
