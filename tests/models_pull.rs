//! Downloading models: a server on the loopback interface that behaves as servers do, well and badly.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assert_cmd::Command;
use lastmile::cli::{Globals, pull};
use lastmile::upscale::fetch::{Patience, Source, fetch};
use lastmile::upscale::home::Home;
use lastmile::upscale::model::{Kind, sha256};
use lastmile::upscale::public::Public;
use lastmile::upscale::{catalogue, public};
use lastmile::{Error, Result};

/// A server; each connection takes one request, which `answer` gets with its number, its lines and the stream.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(usize, &str, &mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { break };
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
                let head = head.to_lowercase();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(head.clone());
                    seen.len() - 1
                };
                answer(number, &head, &mut stream);
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("{}/a/file.pth", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The start of a `range: bytes=N-` line.
fn range(head: &str) -> Option<usize> {
    head.lines().find_map(|l| l.strip_prefix("range: bytes=")?.trim().strip_suffix('-')?.parse().ok())
}

fn send(stream: &mut TcpStream, status: &str, headers: &[String], body: &[u8]) {
    let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(body);
}

fn length(n: usize) -> String {
    format!("content-length: {n}")
}

/// Answers as a good server: whole or the part that was asked for.
fn good(stream: &mut TcpStream, head: &str, body: &[u8]) {
    match range(head) {
        Some(from) if from < body.len() => {
            let part = &body[from..];
            let of = format!("content-range: bytes {from}-{}/{}", body.len() - 1, body.len());
            send(stream, "206 Partial Content", &[length(part.len()), of], part);
        }
        Some(_) => send(stream, "416 Range Not Satisfiable", &[length(0), format!("content-range: bytes */{}", body.len())], b""),
        None => send(stream, "200 OK", &[length(body.len())], body),
    }
}

/// Bytes that no compression or padding explains.
fn body(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

const QUICK: Patience =
    Patience { connect: Duration::from_secs(10), stall: Duration::from_secs(10), tries: 2, pause: Duration::from_millis(1) };

struct Download {
    _dir: tempfile::TempDir,
    part: PathBuf,
}

impl Download {
    fn new(there: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("deep/er/x.part");
        if !there.is_empty() {
            std::fs::create_dir_all(part.parent().unwrap()).unwrap();
            std::fs::write(&part, there).unwrap();
        }
        Self { _dir: dir, part }
    }

    fn run(&self, url: &str, size: Option<usize>, whole: &[u8], patience: &Patience) -> Result<Vec<(u64, Option<u64>)>> {
        let (mut told, sha) = (Vec::new(), sha256(whole));
        let source = Source { url, size: size.map(|s| s as u64), sha256: &sha };
        fetch(&source, &self.part, patience, &mut |have, total| told.push((have, total)))?;
        assert!(std::fs::read(&self.part).unwrap() == whole);
        Ok(told)
    }
}

#[test]
fn a_file_arrives_whole_and_progress_is_told() {
    let whole = body(300_000);
    let sent = whole.clone();
    let server = Server::new(move |_, head, stream| good(stream, head, &sent));
    for size in [None, Some(whole.len())] {
        let told = Download::new(b"").run(&server.url(), size, &whole, &QUICK).unwrap();
        assert_eq!(told.first(), Some(&(0, Some(300_000))));
        assert_eq!(told.last(), Some(&(300_000, Some(300_000))));
        assert!(told.windows(2).all(|w| w[0].0 <= w[1].0));
    }
    assert!(server.requests().iter().all(|head| range(head).is_none() && head.contains("user-agent: lastmile/")));
}

#[test]
fn what_is_there_is_not_sent_again() {
    let whole = body(50_000);
    let sent = whole.clone();
    let server = Server::new(move |_, head, stream| good(stream, head, &sent));
    Download::new(&whole[..20_000]).run(&server.url(), Some(50_000), &whole, &QUICK).unwrap();
    Download::new(&whole[..49_999]).run(&server.url(), None, &whole, &QUICK).unwrap();
    let ranges: Vec<_> = server.requests().iter().map(|h| range(h)).collect();
    assert_eq!(ranges, [Some(20_000), Some(49_999)]);
    // All of it is there: no request where the size is known, one that is refused where it is not.
    Download::new(&whole).run(&server.url(), Some(50_000), &whole, &QUICK).unwrap();
    assert_eq!(server.requests().len(), 2);
    Download::new(&whole).run(&server.url(), None, &whole, &QUICK).unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let whole = body(30_000);
    let sent = whole.clone();
    let server = Server::new(move |_, _, stream| send(stream, "200 OK", &[length(sent.len())], &sent));
    Download::new(&whole[..10_000]).run(&server.url(), None, &whole, &QUICK).unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_wrong_beginning_gets_one_fresh_start() {
    let whole = body(30_000);
    let sent = whole.clone();
    let server = Server::new(move |_, head, stream| good(stream, head, &sent));
    Download::new(&[7; 10_000]).run(&server.url(), Some(30_000), &whole, &QUICK).unwrap();
    let ranges: Vec<_> = server.requests().iter().map(|h| range(h)).collect();
    assert_eq!(ranges, [Some(10_000), None]);
    // Longer than the whole can be.
    Download::new(&[7; 40_000]).run(&server.url(), Some(30_000), &whole, &QUICK).unwrap();
    assert_eq!(range(&server.requests()[2]), None);
}

#[test]
fn another_part_than_asked_for_is_not_appended() {
    let whole = body(30_000);
    let sent = whole.clone();
    let server = Server::new(move |n, head, stream| match n {
        0 => send(stream, "206 Partial Content", &[length(5), "content-range: bytes 3-7/30000".into()], &sent[3..8]),
        _ => good(stream, head, &sent),
    });
    Download::new(&whole[..10_000]).run(&server.url(), Some(30_000), &whole, &QUICK).unwrap();
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let whole = body(200_000);
    let sent = whole.clone();
    // Every answer promises the rest and breaks off after 60,000 bytes.
    let server = Server::new(move |_, head, stream| {
        let from = range(head).unwrap_or(0);
        let rest = &sent[from..];
        let of = format!("content-range: bytes {from}-199999/200000");
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        send(stream, status, &[length(rest.len()), of], &rest[..rest.len().min(60_000)]);
    });
    Download::new(b"").run(&server.url(), Some(200_000), &whole, &QUICK).unwrap();
    let ranges: Vec<_> = server.requests().iter().map(|h| range(h).unwrap_or(0)).collect();
    assert_eq!(ranges, [0, 60_000, 120_000, 180_000]);
}

#[test]
fn a_connection_that_always_breaks_ends_in_time_and_keeps_what_came() {
    let whole = body(100_000);
    let sent = whole.clone();
    let server = Server::new(move |n, _, stream| {
        if n == 0 {
            send(stream, "200 OK", &[length(100_000)], &sent[..1000]);
        }
    });
    let download = Download::new(b"");
    let e = download.run(&server.url(), Some(100_000), &whole, &QUICK).unwrap_err();
    assert_eq!(e.exit() as u8, 5);
    assert!(e.to_string().contains("1000 bytes are kept") && e.to_string().contains("goes on where it stopped"), "{e}");
    assert_eq!(std::fs::read(&download.part).unwrap(), whole[..1000]);
    assert_eq!(server.requests().len(), 1 + QUICK.tries as usize);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let whole = body(5000);
    let sent = whole.clone();
    let server = Server::new(move |_, head, stream| match head {
        h if h.starts_with("get /a/file.pth") => send(stream, "302 Found", &[length(0), "location: /moved?to=there".into()], b""),
        h if h.starts_with("get /moved") => good(stream, head, &sent),
        _ => send(stream, "302 Found", &[length(0), "location: /round".into()], b""),
    });
    Download::new(b"").run(&server.url(), None, &whole, &QUICK).unwrap();
    // The range survives the redirect.
    Download::new(&whole[..400]).run(&server.url(), None, &whole, &QUICK).unwrap();
    assert_eq!(range(&server.requests()[3]), Some(400));
    let e = Download::new(b"").run(&format!("{}/round", server.address), None, &whole, &QUICK).unwrap_err();
    assert_eq!(e.kind(), "unavailable");
    assert!(server.requests().len() < 20);
}

#[test]
fn refusals_end_at_once_and_troubles_do_not() {
    let whole = body(5000);
    let sent = whole.clone();
    let server = Server::new(move |n, head, stream| match (head.starts_with("get /missing"), n) {
        (true, _) => send(stream, "404 Not Found", &[length(4)], b"gone"),
        (_, 1) => send(stream, "503 Service Unavailable", &[length(0)], b""),
        _ => good(stream, head, &sent),
    });
    let e = Download::new(b"").run(&format!("{}/missing", server.address), None, &whole, &QUICK).unwrap_err();
    assert!(e.to_string().contains("404") && e.to_string().contains("/missing"), "{e}");
    assert_eq!((e.exit() as u8, server.requests().len()), (5, 1));
    Download::new(b"").run(&server.url(), None, &whole, &QUICK).unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn nothing_but_the_right_file_is_kept() {
    let whole = body(5000);
    let sent = body(5001)[1..].to_vec();
    let server = Server::new(move |_, head, stream| match head {
        h if h.starts_with("get /long") => send(stream, "200 OK", &[length(9000)], &[0; 9000]),
        // No length is told, and more comes than there should be.
        h if h.starts_with("get /endless") => send(stream, "200 OK", &[], &[0; 9000]),
        _ => send(stream, "200 OK", &[length(sent.len())], &sent),
    });
    let download = Download::new(b"");
    let e = download.run(&server.url(), Some(5000), &whole, &QUICK).unwrap_err();
    assert!(e.to_string().contains(&sha256(&whole)), "{e}");
    assert!(!download.part.exists());
    for (path, says) in [("long", "offers 9000 bytes, it should be 5000"), ("endless", "more than 5000 bytes")] {
        let download = Download::new(b"");
        let e = download.run(&format!("{}/{path}", server.address), Some(5000), &whole, &QUICK).unwrap_err();
        assert!(e.to_string().contains(says), "{e}");
        assert_eq!(std::fs::metadata(&download.part).unwrap().len(), 0);
    }
    // Where the size is not known, an end without a promise is only told by the hash.
    assert!(Download::new(b"").run(&format!("{}/endless", server.address), None, &whole, &QUICK).is_err());
}

#[test]
fn slow_is_waited_for_and_silent_is_not() {
    let whole = body(100);
    let sent = whole.clone();
    let server = Server::new(move |_, head, stream| {
        send(stream, "200 OK", &[length(100)], b"");
        if head.starts_with("get /silent") {
            // Until the client goes away.
            let _ = stream.read(&mut [0; 1]);
            return;
        }
        for byte in sent.chunks(5) {
            std::thread::sleep(Duration::from_millis(5));
            let _ = stream.write_all(byte);
        }
    });
    Download::new(b"").run(&server.url(), Some(100), &whole, &QUICK).unwrap();
    let impatient = Patience { stall: Duration::from_millis(100), ..QUICK };
    let e = Download::new(b"").run(&format!("{}/silent", server.address), Some(100), &whole, &impatient).unwrap_err();
    assert!(e.to_string().contains("timeout"), "{e}");
}

#[test]
fn nobody_there() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let e = Download::new(b"").run(&format!("http://127.0.0.1:{port}/x.pth"), None, b"x", &QUICK).unwrap_err();
    assert_eq!((e.kind(), e.exit() as u8), ("unavailable", 5));
}

/// A public model that the server of the test has: one of the importer's fixtures.
fn entry(checkpoint: &[u8]) -> Public {
    Public {
        id: "small".into(),
        url: "https://models.invalid/v1/small.pth".into(),
        size: Some(checkpoint.len() as u64),
        sha256: sha256(checkpoint),
        licence: "BSD-3-Clause".into(),
        source: "https://models.invalid".into(),
        kind: Kind::Perceptual,
        scale: 4,
        note: "for a test".into(),
        weak_denoise: None,
    }
}

fn globals(home: &Path) -> Globals {
    Globals {
        home: home.into(),
        offline: false,
        no_install: false,
        onnxruntime: None,
        ort_dylib_path: None,
        json: None,
        epoch: None,
        color: false,
        verbosity: -1,
    }
}

fn checkpoint() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import/srvgg-x4-prelu.pth")).unwrap()
}

#[test]
fn a_pulled_checkpoint_becomes_a_model() {
    let sent = checkpoint();
    let model = entry(&sent);
    let server = Server::new(move |_, head, stream| match head.starts_with("get /mirror/v1/small.pth ") {
        true => good(stream, head, &sent),
        false => send(stream, "404 Not Found", &[length(0)], b""),
    });
    let dir = tempfile::tempdir().unwrap();
    let (home, mirror) = (Home::new(dir.path()), format!("{}/mirror/", server.address));
    let globals = globals(dir.path());
    pull::pull(&model, Some(&mirror), false, &globals).unwrap();
    let mut never = |_: &lastmile::upscale::model::Manifest, _: &[u8]| -> Result<Box<dyn lastmile::upscale::Infer>> {
        Err(Error::Internal("a session was opened".into()))
    };
    let found = catalogue::resolve("small", &home, &mut never).unwrap().manifest;
    assert_eq!((found.scale, found.licence.as_str(), found.source.as_str()), (4, "BSD-3-Clause", "https://models.invalid"));
    assert_eq!(std::fs::read_dir(home.cache().join("downloads")).unwrap().count(), 0, "the checkpoint is not kept");
    // There already: no request. On demand: again.
    pull::pull(&model, Some(&mirror), false, &globals).unwrap();
    assert_eq!(server.requests().len(), 1);
    pull::pull(&model, Some(&mirror), true, &globals).unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn offline_and_refused_pulls_say_how_to_do_it_by_hand() {
    let sent = checkpoint();
    let model = entry(&sent);
    let server = Server::new(|_, _, stream| send(stream, "404 Not Found", &[length(0)], b""));
    let dir = tempfile::tempdir().unwrap();
    let by_hand = "lastmile models import small.pth --name small --kind perceptual --licence BSD-3-Clause --source https://models.invalid";
    for (offline, no_install, requests, says) in [
        (true, true, 0, "LASTMILE_OFFLINE forbids downloads"),
        (false, true, 0, "--no-install forbids downloads"),
        (false, false, 1, "404"),
    ] {
        let globals = Globals { offline, no_install, ..globals(dir.path()) };
        let e = pull::pull(&model, Some(&server.address), false, &globals).unwrap_err();
        assert_eq!((e.exit() as u8, server.requests().len()), (5, requests));
        let said = e.to_string();
        // By hand it is fetched from where it is published, not from a mirror that fails.
        assert!(said.contains(says) && said.contains(by_hand) && said.contains(&format!("fetch {} elsewhere", model.url)), "{said}");
    }
    assert!(!Home::new(dir.path()).models().exists());
}

#[test]
fn the_verb_reports_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let lastmile = |args: &[&str]| {
        let mut command = Command::cargo_bin("lastmile").unwrap();
        command.env("LASTMILE_HOME", dir.path()).env_remove("LASTMILE_OFFLINE").arg("models").args(args);
        command
    };
    let said = lastmile(&["pull", "realesr-general"]).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("realesr-general-x4v3"));
    let said = lastmile(&["pull", "realesr-general-x4v3"]).env("LASTMILE_OFFLINE", "1").assert().code(5).get_output().stderr.clone();
    let said = String::from_utf8(said).unwrap();
    let entry = public::find("realesr-general-x4v3").unwrap();
    assert!(said.contains(&entry.url) && said.contains(&entry.by_hand()), "{said}");
    for (typed, says) in [
        (&["pull", "RealESRGAN_x4plus"][..], "lastmile models pull realesrgan-x4plus"),
        (&["pull", "realesrgan-x4plus", "--mirror", "127.0.0.1:1/x"], "--mirror https://HOST/PATH"),
        (&["remove", "nothing"], "is not installed"),
        (&["interp", "a", "b", "-0.3"], "a number from 0 to 1"),
    ] {
        let said = String::from_utf8(lastmile(typed).assert().code(2).get_output().stderr.clone()).unwrap();
        assert!(said.contains(says), "{typed:?}: {said}");
    }
    // What a server has under the right name, but is not it.
    let server = Server::new(|_, head, stream| good(stream, head, &body(4_885_111)));
    let said = lastmile(&["pull", "realesr-general-x4v3", "--mirror", &server.address]).assert().code(5).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains(&entry.sha256));

    // Import and interp, then the list.
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import/srvgg-x4-prelu.pth");
    let fixture = fixture.to_str().unwrap();
    lastmile(&["import", fixture, "--name", "one", "--licence", "CC-BY-NC-4.0"]).assert().success();
    lastmile(&["interp", fixture, fixture, "0.5", "--name", "mixed"]).assert().success();
    lastmile(&["import", fixture, "--name", "one"]).assert().code(2);
    // A public model's name belongs to its file.
    let said = lastmile(&["import", fixture, "--name", "realesrgan-x2plus"]).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("is the name of a public model"));
    // JSON for scripts, and nothing else beside it.
    for (args, event) in [
        (&["import", fixture, "--name", "two", "--json", "-"][..], "model"),
        (&["interp", "one", "two", "0.25", "--id", "three", "--json", "-"], "model"),
        (&["remove", "two", "--json", "-"], "removed"),
    ] {
        let out = String::from_utf8(lastmile(args).assert().success().get_output().stdout.clone()).unwrap();
        let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((lines.len(), lines[0]["event"].as_str()), (1, Some(event)), "{args:?}: {out}");
    }
    let quiet = lastmile(&["import", fixture, "--name", "four", "-q"]).assert().success().get_output().clone();
    assert_eq!((quiet.stdout.len(), quiet.stderr.len()), (0, 0), "{quiet:?}");
    // A damaged list of speeds hides no model.
    std::fs::write(dir.path().join("bench.json"), "garbage").unwrap();
    let list = lastmile(&["list"]).assert().success().get_output().clone();
    let (out, err) = (String::from_utf8(list.stdout).unwrap(), String::from_utf8(list.stderr).unwrap());
    assert!(out.contains("three") && err.contains("bench.json"), "{out} {err}");
    lastmile(&["bench"]).assert().code(2);
    std::fs::remove_file(dir.path().join("bench.json")).unwrap();
    let listed = lastmile(&["list"]).assert().success().get_output().stdout.clone();
    let listed = String::from_utf8(listed).unwrap();
    for line in [
        "CC-BY-NC-4.0, commercial use: NO  (installed)",
        "commercial use: ask",
        "built in, default",
        "lastmile models pull realesrgan-x2plus",
    ] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    let json = lastmile(&["list", "--json", "-"]).assert().success().get_output().stdout.clone();
    let origins: Vec<String> = String::from_utf8(json)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["origin"].as_str().unwrap().to_owned())
        .collect();
    assert!(["embedded", "registered", "available"].iter().all(|o| origins.iter().any(|x| x == o)), "{origins:?}");
}
