//! The review server as a browser meets it, over a real socket.

// Clippy knows tests by their attribute, not the functions that they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod review_folder;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lastmile::batch::journal::sha256_file;
use lastmile::codec::{Limits, decode};
use lastmile::image::Samples;
use lastmile::review::server::Server;
use lastmile::review::verdicts::Decision;
use lastmile::review::{Options, Review, Said};
use review_folder::{Made, folder, png, ranked, scene};
use serde_json::{Value, json};

/// Status, head and body of one request.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }
}

struct Client {
    port: u16,
    token: String,
}

impl Client {
    fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://127.0.0.1:").unwrap();
        let (port, token) = rest.split_once('/').unwrap();
        Self { port: port.parse().unwrap(), token: token.trim_end_matches('/').into() }
    }

    fn raw(&self, text: &[u8]) -> Reply {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.write_all(text).unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).unwrap();
        let at = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&all[..at]).into_owned();
        Reply { status: head[9..12].parse().unwrap(), head, body: all[at..].to_vec() }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(n, _)| *n == "Host") {
            text.push_str(&format!("Host: 127.0.0.1:{}\r\n", self.port));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{text}\r\n{body}").as_bytes())
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", &format!("/{}/{path}", self.token), &[], "")
    }

    fn post(&self, path: &str, body: Value) -> Reply {
        let origin = format!("http://127.0.0.1:{}", self.port);
        let path = format!("/{}/{path}", self.token);
        self.ask("POST", &path, &[("Origin", &origin), ("X-Lastmile-Token", &self.token)], &body.to_string())
    }
}

/// Serves a review while `use_it` talks to it.
fn serving(review: Review, use_it: impl FnOnce(&Client)) {
    let server = Server::bind(review, 0).unwrap();
    let client = Client::new(&server.url());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| server.run(&stop));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_it(&client)));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

fn open(out: &Path) -> Review {
    Review::open(out, &Options::default()).unwrap()
}

fn pixels(body: &[u8]) -> (usize, usize, Vec<u8>) {
    let image = decode(Path::new("tile.png"), body, &Limits::default()).unwrap();
    match image.samples {
        Samples::U8(v) => (image.width, image.height, v),
        _ => panic!("a tile has 8 bits"),
    }
}

#[test]
fn the_list_is_worst_first_and_verdicts_stay() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(30, 6, 160, 120), 160, 120);
    let sha = |list: &Value, id: usize| list["pictures"][id]["sha256"].as_str().unwrap().to_owned();
    let mut first = (0, String::new());
    serving(open(&out), |client| {
        let list = client.get("api/list").json();
        assert_eq!(list["pictures"].as_array().unwrap().len(), 30);
        let flagged: Vec<usize> = list["queue"]["flagged"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        let names: Vec<&str> = flagged.iter().map(|i| list["pictures"][*i]["name"].as_str().unwrap()).collect();
        assert_eq!(names[..3], ["portraits/000.png", "street/001.png", "product/002.png"]);
        assert_eq!(
            (flagged.len(), list["queue"]["sample"].as_array().unwrap().len(), list["queue"]["rest"].as_array().unwrap().len()),
            (6, 20, 4)
        );
        let card = &list["pictures"][flagged[0]];
        assert_eq!(card["source"], json!([40, 30]));
        assert_eq!((&card["entry"]["decision"], &card["entry"]["opened"]), (&Value::Null, &json!(false)));

        let told = client
            .post("api/verdict", json!({"ids": [flagged[0]], "decision": "rejected", "note": "hand", "seconds": 2.5, "opened": true}))
            .json();
        let told = &told[0];
        assert_eq!((told["decision"].as_str(), told["source"].as_str()), (Some("rejected"), Some("../in/portraits/000.png")));
        assert_eq!(told["settings"]["size"]["scale"], json!(4.0));
        client.post("api/verdict", json!({"ids": [flagged[1]], "decision": "approved"})).json();
        client.post("api/verdict", json!({"ids": [flagged[1]], "decision": null})).json();
        client.post("api/verdict", json!({"ids": [flagged[2], flagged[3]], "note": "only this", "opened": true})).json();
        first = (flagged[0], sha(&list, flagged[0]));
    });
    // Another run, even after the pictures were renamed: the content is what counts.
    std::fs::rename(out.join("portraits"), out.join("people")).unwrap();
    let review = open(&out);
    assert_eq!(review.progress(), (1, 30));
    serving(review, |client| {
        let list = client.get("api/list").json();
        let find = |name: &str| list["pictures"].as_array().unwrap().iter().find(|p| p["name"] == name).unwrap().clone();
        let kept = find("people/000.png");
        assert_eq!(
            (kept["sha256"].as_str().unwrap(), &kept["entry"]["decision"], &kept["entry"]["note"]),
            (first.1.as_str(), &json!("rejected"), &json!("hand"))
        );
        assert_eq!(find("street/001.png")["entry"]["decision"], Value::Null);
        let noted = find("product/002.png");
        assert_eq!((&noted["entry"]["note"], &noted["entry"]["opened"]), (&json!("only this"), &json!(true)));
    });
    let saved: Value = serde_json::from_slice(&std::fs::read(out.join(".lastmile/verdicts.json")).unwrap()).unwrap();
    assert_eq!(saved["pictures"].as_object().unwrap().len(), 4);
}

#[test]
fn a_report_that_lacks_something_is_shown_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(3, 2, 64, 64), 64, 64);
    let file = out.join(".lastmile/report.jsonl");
    let line = r#"{"event":"report","input":"product/002.png","findings":[{"detector":"seam","box":[1,2,3,4]}]}"#;
    std::fs::write(&file, format!("{}{line}\nno report\n", std::fs::read_to_string(&file).unwrap())).unwrap();
    serving(open(&out), |client| {
        let list = client.get("api/list").json();
        let notice = list["notices"][0].as_str().unwrap();
        for part in ["line 4 has no `detectors`", "line 4 has no `score`", "and "] {
            assert!(notice.contains(part), "{part}: {notice}");
        }
        let card = list["pictures"].as_array().unwrap().iter().find(|p| p["name"] == "product/002.png").unwrap();
        assert_eq!((&card["report"]["verdict"], &card["report"]["findings"][0]["origin"]), (&json!("review"), &json!("unknown")));
        assert_eq!(list["queue"]["flagged"].as_array().unwrap().len(), 3);
    });
}

#[test]
fn a_picture_made_again_is_unreviewed_and_says_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(1, 1, 64, 64), 64, 64);
    serving(open(&out), |client| {
        client.post("api/verdict", json!({"ids": [0], "decision": "rejected"})).json();
    });
    png(&out.join("portraits/000.png"), 64, 64, scene(9, 64, 64));
    serving(open(&out), |client| {
        let card = &client.get("api/list").json()["pictures"][0];
        assert_eq!((&card["entry"]["decision"], &card["before"]), (&Value::Null, &json!("rejected")));
    });
}

#[test]
fn a_report_on_another_file_is_left_out_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(2, 2, 64, 64), 64, 64);
    png(&out.join(".lastmile/heat/street/001.halo.png"), 64, 64, |_, _| [0; 3]);
    let file = out.join(".lastmile/report.jsonl");
    let lines: Vec<String> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|l| {
            let mut line: Value = serde_json::from_str(l).unwrap();
            line["result_sha256"] = json!(sha256_file(Path::new(line["input"].as_str().unwrap())).unwrap());
            line.to_string()
        })
        .collect();
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let reports = |review: &Review| review.pictures.iter().map(|p| (p.report.is_some(), p.heat.len())).collect::<Vec<_>>();
    let review = open(&out);
    assert_eq!((reports(&review), review.notices.len()), (vec![(true, 0), (true, 1)], 0));
    png(&out.join("street/001.png"), 64, 64, scene(9, 64, 64));
    let review = open(&out);
    assert_eq!(reports(&review), [(true, 0), (false, 0)], "neither its report nor its maps");
    assert!(review.notices[0].contains("1 picture was made again since the inspection"), "{:?}", review.notices);
}

#[test]
fn a_held_file_in_its_place_keeps_its_report_and_another_there_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let held: Vec<Made> = ranked(2, 2, 64, 64).into_iter().map(|m| Made { name: format!("_hold/{}", m.name), ..m }).collect();
    let out = folder(dir.path(), &held, 64, 64);
    png(&out.join(".lastmile/heat/_hold/street/001.halo.png"), 64, 64, |_, _| [0; 3]);
    let file = out.join(".lastmile/report.jsonl");
    let told = |l: &str| {
        let mut line: Value = serde_json::from_str(l).unwrap();
        line["result_sha256"] = json!(sha256_file(Path::new(line["input"].as_str().unwrap())).unwrap());
        line.to_string() + "\n"
    };
    let text: String = std::fs::read_to_string(&file).unwrap().lines().map(told).collect();
    std::fs::write(&file, text).unwrap();
    for name in ["portraits", "street"] {
        std::fs::rename(out.join("_hold").join(name), out.join(name)).unwrap();
    }
    let known = || -> Vec<(bool, bool, usize)> {
        open(&out).pictures.iter().map(|p| (p.report.is_some(), p.source.is_some(), p.heat.len())).collect()
    };
    assert_eq!(known(), [(true, true, 0), (true, true, 1)]);
    png(&out.join("street/001.png"), 64, 64, scene(9, 64, 64));
    assert_eq!(known(), [(true, true, 0), (false, false, 0)]);
}

#[test]
fn who_did_not_know_what_was_decided_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(2, 2, 64, 64), 64, 64);
    serving(open(&out), |client| {
        let say = |ids: &[usize], decision: Value, believed: Value| {
            client.post("api/verdict", json!({"ids": ids, "decision": decision, "believed": believed}))
        };
        assert_eq!(say(&[0], json!("rejected"), Value::Null).status, 200);
        let reply = say(&[1, 0], json!("approved"), Value::Null);
        assert_eq!(reply.status, 409, "another tab rejected it");
        assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), json!([{"id": 0, "decision": "rejected"}]));
        let entry = |id: usize| client.get("api/list").json()["pictures"][id]["entry"]["decision"].clone();
        assert_eq!((entry(0), entry(1)), (json!("rejected"), Value::Null), "nothing is half done");
        // The same word again, because its answer was lost, is no contradiction.
        assert_eq!(say(&[0], json!("rejected"), Value::Null).status, 200);
        assert_eq!(say(&[0], Value::Null, json!("approved")).status, 409);
        assert_eq!(say(&[0], json!("approved"), json!("rejected")).status, 200);
        assert_eq!(client.post("api/verdict", json!({"ids": [0], "note": "n"})).status, 200, "notes ask nobody");
        assert_eq!(entry(0), json!("approved"));
    });
    assert_eq!(open(&out).to_look_at(), (1, 2));
}

#[test]
fn what_is_to_be_looked_at_is_counted_apart() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(40, 3, 64, 64), 64, 64);
    let review = open(&out);
    let (look, rest) = (review.queue.flagged.len() + review.queue.sample.len(), review.queue.rest[0]);
    let approve = |id: usize| review.decide(&Said { ids: vec![id], decision: Some(Some(Decision::Approved)), ..Said::default() }).unwrap();
    approve(review.queue.flagged[0]);
    approve(rest);
    assert_eq!((review.to_look_at(), review.progress()), ((1, look), (2, 40)));
    assert!(look < 40);
}

#[test]
fn strangers_get_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(1, 1, 64, 64), 64, 64);
    serving(open(&out), |client| {
        let token = client.token.clone();
        let (good, origin) = (format!("/{token}/api/verdict"), format!("http://127.0.0.1:{}", client.port));
        let body = "{\"ids\":[0],\"decision\":\"approved\"}";
        // No token, half a token.
        for path in ["/", "/api/list", "//api/list", &format!("/{}/api/list", &token[..31]), &format!("/{token}0/api/list")] {
            assert_eq!(client.ask("GET", path, &[], "").status, 404, "{path}");
        }
        // Names that were made to point here, and other pages of the same browser.
        let local = format!("localhost:{}", client.port);
        assert_eq!(client.ask("GET", &format!("/{token}/api/list"), &[("Host", &local)], "").status, 200);
        for host in ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example"] {
            assert_eq!(client.ask("GET", &format!("/{token}/api/list"), &[("Host", host)], "").status, 403, "{host}");
        }
        assert_eq!(client.ask("GET", &format!("/{token}/api/list"), &[("Sec-Fetch-Site", "cross-site")], "").status, 403);
        // A form on another page can post, but neither name our origin nor set our header.
        for headers in [
            vec![],
            vec![("Origin", origin.as_str())],
            vec![("X-Lastmile-Token", token.as_str())],
            vec![("Origin", "http://evil.example"), ("X-Lastmile-Token", token.as_str())],
            vec![("Origin", "null"), ("X-Lastmile-Token", token.as_str())],
            vec![("Origin", origin.as_str()), ("X-Lastmile-Token", "x")],
        ] {
            assert_eq!(client.ask("POST", &good, &headers, body).status, 403, "{headers:?}");
        }
        assert!(!out.join(".lastmile/verdicts.json").exists());
        // Nothing is named by path.
        for path in
            ["../Cargo.toml", "tile/0/v/../../../etc/passwd/0/0", "..%2f..%2fetc/passwd", "tile/0/v/heat-..%2fx/0/0/0", "file/in/a.png"]
        {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
        for path in [
            "tile/7/v/result/0/0/0",
            "tile/0/v/result/0/9/0",
            "tile/0/v/result/64/0/0",
            "tile/0/v/result/0/-1/0",
            "tile/0/v/repair/0/0/0",
            "tile/0/v/result/0/99999999999999999999/0",
            "tile/0/v/result/19/9223372036854775807/0",
            "thumb/7/v",
            "api/list/",
            "api/verdict",
        ] {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
        assert_eq!(client.post("api/verdict", json!({"ids": [0, 9], "decision": "approved"})).status, 404);
        assert_eq!(client.post("api/verdict", json!({"ids": [0], "decision": "burn"})).status, 400);
        assert_eq!(client.post("api/verdict", json!({"ids": [0], "note": "x".repeat(70_000)})).status, 413);
        assert_eq!(client.ask("DELETE", &good, &[], "").status, 405);
        // What answers is told not to be embedded, guessed about or sent on.
        let page = client.get("");
        for line in ["Content-Security-Policy: default-src 'none'", "Referrer-Policy: no-referrer", "X-Content-Type-Options: nosniff"] {
            assert!(page.head.contains(line), "{line}: {}", page.head);
        }
    });
}

#[test]
fn tiles_show_the_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let made = [Made { name: "a.png".into(), report: None }, Made { name: "b.png".into(), report: None }];
    let out = folder(dir.path(), &made, 1200, 800);
    std::fs::write(out.join("b.png"), b"no picture").unwrap();
    serving(open(&out), |client| {
        let (w, h, tile) = pixels(&client.get("tile/0/v/result/0/2/1").body);
        assert_eq!((w, h), (1200 - 1024, 800 - 512));
        let f = scene(0, 1200, 800);
        for (x, y) in [(0, 0), (175, 287), (60, 100)] {
            let at = ((y * 176 + x) * 3) as usize;
            assert_eq!(tile[at..at + 3], f(1024 + x, 512 + y), "{x},{y}");
        }
        let (w, h, whole) = pixels(&client.get("tile/0/v/result/2/0/0").body);
        assert_eq!((w, h), (300, 200));
        let (sw, sh, source) = pixels(&client.get("tile/0/v/source/2/0/0").body);
        assert_eq!((sw, sh), (300, 200), "the source in the result's geometry");
        // Sky far from any edge: reduced result and source agree.
        let off = whole.iter().zip(&source).filter(|(a, b)| a.abs_diff(**b) > 3).count();
        assert!(off < whole.len() / 10, "{off} of {}", whole.len());
        assert_eq!(pixels(&client.get("tile/0/v/source/0/0/0").body).0, 512);
        let thumb = client.get("thumb/0/v");
        assert!(thumb.status == 200 && thumb.body.starts_with(&[0xff, 0xd8]) && thumb.head.contains("immutable"));
        assert_eq!(std::fs::read_dir(out.join(".lastmile/thumbs")).unwrap().count(), 1);
        assert_eq!(client.get("thumb/1/v").status, 422, "a damaged picture has no pixels");
        assert_eq!(client.get("tile/1/v/result/0/0/0").status, 404);
        assert_eq!(client.get("api/generators/0").json(), json!(["", ""]));
    });
}

#[test]
fn heat_and_repair_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &[Made { name: "s/a.png".into(), report: None }], 64, 64);
    png(&out.join(".lastmile/repair/s/a.png"), 64, 64, |_, _| [9, 9, 9]);
    png(&out.join(".lastmile/heat/s/a.halo.png"), 64, 64, |x, _| [(x * 4) as u8; 3]);
    png(&out.join(".lastmile/heat/s/ab.halo.png"), 64, 64, |_, _| [0; 3]);
    serving(open(&out), |client| {
        let card = &client.get("api/list").json()["pictures"][0];
        assert_eq!((&card["repair"], &card["heat"]), (&json!(true), &json!(["halo"])));
        let repaired = pixels(&client.get("tile/0/v/repair/0/0/0").body).2;
        assert!(repaired.iter().all(|v| *v == 9));
        let heat = pixels(&client.get("tile/0/v/heat-halo/0/0/0").body).2;
        assert_eq!(heat[3], 0, "nothing found: clear");
        assert!((100..160).contains(&heat[63 * 4 + 3]), "the worst: dense, and the picture shows through");
    });
}

#[test]
fn only_pictures_of_the_folder_and_one_review_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(2, 1, 64, 64), 64, 64);
    png(&out.join("approved/portraits/000.png"), 8, 8, |_, _| [0; 3]);
    std::fs::write(out.join("notes.txt"), b"x").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", out.join("link.png")).unwrap();
    let exclusive = Options { exclusive: true, ..Options::default() };
    let review = Review::open(&out, &exclusive).unwrap();
    assert_eq!(review.pictures.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["portraits/000.png", "street/001.png"]);
    assert!(Review::open(&out, &exclusive).unwrap_err().to_string().contains("open already"));
    for bad in [dir.path().join("nope"), out.join("portraits/000.png"), out.join(".lastmile")] {
        assert_eq!(Review::open(&bad, &Options::default()).unwrap_err().kind(), "usage", "{}", bad.display());
    }
}

#[test]
fn two_things_are_compared_and_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let out = folder(dir.path(), &ranked(2, 0, 64, 64), 64, 64);
    let input = dir.path().join("in");
    assert_eq!(Review::compare(&input, &out).unwrap().pictures.len(), 2);
    let one = Review::compare(&input.join("street/001.png"), &out.join("portraits/000.png")).unwrap();
    serving(one, |client| {
        let list = client.get("api/list").json();
        assert_eq!((&list["compare"], &list["pictures"][0]["source"]), (&json!(true), &json!([16, 16])));
        assert_eq!(pixels(&client.get("tile/0/v/source/0/0/0").body).0, 64);
    });
    assert!(!out.join(".lastmile/verdicts.json").exists());
    assert_eq!(Review::compare(&input.join("street/001.png"), &out).unwrap_err().kind(), "usage");
    assert_eq!(Review::compare(&input, &dir.path().join("in/street")).unwrap_err().kind(), "usage");
}
