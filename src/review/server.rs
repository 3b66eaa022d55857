//! The page's server: this machine only, one address nobody can guess, nothing outside the folder under review.
//!
//! It listens on 127.0.0.1. Every address begins with a random token, so that neither another user of the machine nor a page
//! in the same browser can name anything here; the `Host` header must be ours, against names that are made to point to this
//! machine; what changes something must besides come from our own page (`Origin`) and repeat the token in a header. Files
//! are named by number, never by path.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tiny_http::{Method, Request, Server as Http, StatusCode};

use super::tile::{Side, Tiler};
use super::{Heard, Picture, Review, Said};
use crate::error::{Error, Result};

/// The page's files: name, kind, text.
pub(super) const PAGE: [(&str, &str, &str); 4] = [
    ("index.html", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("view.js", "text/javascript; charset=utf-8", include_str!("page/view.js")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
];

/// Requests answered at the same time; browsers keep six connections.
const THREADS: usize = 8;
/// Longest body of a request, bytes.
const BODY: u64 = 64 << 10;
/// Decoded pictures kept, bytes.
const KEPT: usize = 768 << 20;
/// Most time one request for generators spends reading files.
const READING: Duration = Duration::from_millis(150);

/// A review that is being served.
pub struct Server {
    http: Http,
    review: Review,
    tiles: Tiler,
    token: String,
    port: u16,
}

/// What a request is answered with.
struct Answer {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    /// It never changes under its address.
    keep: bool,
}

impl Answer {
    fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, kind, body: body.into(), keep: false }
    }

    fn error(status: u16, message: impl std::fmt::Display) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: message.to_string().into_bytes(), keep: false }
    }

    fn json(value: &impl serde::Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(|e| Error::Internal(format!("answer: {e}")))?;
        Ok(Self::new("application/json", body))
    }

    fn image(kind: &'static str, body: Vec<u8>) -> Self {
        Self { keep: true, ..Self::new(kind, body) }
    }
}

impl Server {
    /// Opens the port (0: any that is free) on 127.0.0.1 and makes a token.
    ///
    /// # Errors
    /// [`Error::Usage`] if the port is taken or forbidden.
    pub fn bind(review: Review, port: u16) -> Result<Self> {
        let http = Http::http(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).map_err(|e| {
            Error::usage("--port", format!("{port} cannot be opened: {e}"), "another number, or none to take any that is free")
        })?;
        let port = http.server_addr().to_ip().map_or(port, |a| a.port());
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| Error::Internal(format!("no random numbers: {e}")))?;
        let token = bytes.iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self { http, review, tiles: Tiler::new(KEPT), token, port })
    }

    /// Where the page is; whoever knows this may review.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// What is being reviewed.
    pub fn review(&self) -> &Review {
        &self.review
    }

    /// Answers requests until `stop` is set.
    pub fn run(&self, stop: &AtomicBool) {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        if let Ok(Some(request)) = self.http.recv_timeout(Duration::from_millis(100)) {
                            self.serve(request);
                        }
                    }
                });
            }
        });
    }

    fn serve(&self, mut request: Request) {
        let answer = self.answer(&mut request);
        let cache = if answer.keep { "private, max-age=86400, immutable" } else { "no-store" };
        let policy = "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        let reason = StatusCode(answer.status).default_reason_phrase();
        let length = answer.body.len();
        // One connection, one request: the library gives each connection a thread, and where two come at once it may let the
        // second wait for the end of another one. Kept alive, that would be the end of the review.
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {length}\r\nConnection: close\r\nCache-Control: {cache}\r\n\
             Content-Security-Policy: {policy}\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\nCross-Origin-Opener-Policy: same-origin\r\n\r\n",
            answer.status, answer.kind
        );
        let body: &[u8] = if *request.method() == Method::Head { &[] } else { answer.body.as_slice() };
        let mut to = request.into_writer();
        // A browser that went away meanwhile is its own affair.
        let _ = to.write_all(head.as_bytes()).and_then(|()| to.write_all(body)).and_then(|()| to.flush());
    }

    fn answer(&self, request: &mut Request) -> Answer {
        let hosts = [format!("127.0.0.1:{}", self.port), format!("localhost:{}", self.port)];
        let Some(host) = header(request, "Host").filter(|h| hosts.contains(h)) else {
            return Answer::error(403, "this server answers to 127.0.0.1 only");
        };
        // The page itself may be opened from anywhere: who has its address may see it.
        let opening = header(request, "Sec-Fetch-Mode").is_some_and(|m| m == "navigate");
        if !opening && header(request, "Sec-Fetch-Site").is_some_and(|s| s != "same-origin" && s != "none") {
            return Answer::error(403, "another page may not ask this");
        }
        let url = request.url().to_owned();
        let path = url.split('?').next().unwrap_or_default();
        let mut parts = path.trim_start_matches('/').split('/');
        if !same(parts.next().unwrap_or_default(), &self.token) {
            return Answer::error(404, "nothing here: the address is the one that `lastmile review` printed");
        }
        let parts: Vec<&str> = parts.collect();
        let answer = match request.method() {
            Method::Get | Method::Head => self.get(&parts),
            Method::Post => {
                let ours = header(request, "Origin").is_some_and(|o| o == format!("http://{host}"));
                let token = header(request, "X-Lastmile-Token").is_some_and(|t| same(&t, &self.token));
                if !ours || !token {
                    return Answer::error(403, "only the review page itself may change anything");
                }
                self.post(&parts, request)
            }
            _ => return Answer::error(405, "GET or POST"),
        };
        match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::error(404, "nothing here"),
            Err(e) => {
                let status = match e {
                    Error::Usage { .. } => 404,
                    Error::Input { .. } | Error::Limit { .. } => 422,
                    _ => 500,
                };
                Answer::error(status, e)
            }
        }
    }

    fn get(&self, parts: &[&str]) -> Result<Option<Answer>> {
        Ok(Some(match parts {
            [name] => {
                let name = if name.is_empty() { "index.html" } else { name };
                let Some((_, kind, text)) = PAGE.iter().find(|(n, _, _)| *n == name) else { return Ok(None) };
                Answer::new(kind, *text)
            }
            ["api", "list"] => Answer::json(&self.review.listing())?,
            ["api", "generators", from] => return self.generators(from),
            ["thumb", id, _version] => {
                let Some(p) = self.picture(id) else { return Ok(None) };
                Answer::image("image/jpeg", self.tiles.thumbnail(&self.review, p)?)
            }
            ["tile", id, _version, side, level, column, row] => {
                let numbers = (self.picture(id), Side::parse(side), level.parse(), column.parse(), row.parse());
                let (Some(p), Some(side), Ok(level), Ok(column), Ok(row)) = numbers else { return Ok(None) };
                Answer::image("image/png", self.tiles.tile(p, side, level, column, row)?)
            }
            _ => return Ok(None),
        }))
    }

    fn post(&self, parts: &[&str], request: &mut Request) -> Result<Option<Answer>> {
        let ["api", "verdict"] = parts else { return Ok(None) };
        let mut body = Vec::new();
        let read = request.as_reader().take(BODY + 1).read_to_end(&mut body);
        if read.is_err() || body.len() as u64 > BODY {
            return Ok(Some(Answer::error(413, "too long")));
        }
        let said: Said = match serde_json::from_slice(&body) {
            Ok(said) => said,
            Err(e) => return Ok(Some(Answer::error(400, format!("not a verdict: {e}")))),
        };
        Ok(Some(match self.review.decide(&said)? {
            Heard::Noted(entries) => Answer::json(&entries)?,
            Heard::Differs(standing) => Answer { status: 409, ..Answer::json(&standing)? },
        }))
    }

    /// Generators of pictures `from` on, as far as a short time reaches.
    fn generators(&self, from: &str) -> Result<Option<Answer>> {
        let Ok(from) = from.parse::<usize>() else { return Ok(None) };
        let clock = std::time::Instant::now();
        let rest = self.review.pictures.get(from..).unwrap_or_default();
        let mut names = Vec::new();
        for p in rest {
            names.push(p.generator());
            if clock.elapsed() > READING {
                break;
            }
        }
        Ok(Some(Answer::json(&names)?))
    }

    fn picture(&self, id: &str) -> Option<&Picture> {
        self.review.pictures.get(id.parse::<usize>().ok()?)
    }
}

fn header(request: &Request, name: &'static str) -> Option<String> {
    request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.as_str().to_owned())
}

/// Compares in a time that does not tell how much agrees.
fn same(one: &str, two: &str) -> bool {
    one.len() == two.len() && one.bytes().zip(two.bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}
