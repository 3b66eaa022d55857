//! Downloading one file: resumed where it stopped, checked by its SHA-256.
//!
//! What has arrived lies in a `.part` file that outlives a broken connection and the program itself; the next attempt asks only
//! for the rest (an HTTP range). Nothing is believed before the hash of the whole fits.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::StatusCode;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::{Error, Result};

/// A file to download.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// `https://` or `http://`; from https it never goes on to http.
    pub url: &'a str,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// SHA-256 of the whole, lower-case hexadecimal.
    pub sha256: &'a str,
}

/// How long to wait and how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next byte. A server may be as slow as it likes while something arrives.
    pub stall: Duration,
    /// Attempts in a row that bring nothing new; after each, the wait doubles from `pause`.
    pub tries: u32,
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), stall: Duration::from_secs(30), tries: 4, pause: Duration::from_secs(1) }
    }
}

/// Largest file that is taken from a server when its size is not known, bytes.
const MOST: u64 = 4 << 30;

/// Why an attempt ended.
enum Fault {
    /// Another attempt may go better.
    Passing(String),
    /// It will not.
    Final(Error),
}

/// Downloads `source` to `part`, going on with what is there already. `progress` is told the bytes that are here and the bytes
/// of the whole, where known. When this returns, `part` is complete and its hash fits.
///
/// # Errors
/// [`Error::Unavailable`] if the server cannot be reached, refuses, stops for good, or sends something else; what has arrived
/// is kept unless it is known to be wrong. [`Error::Output`] if `part` cannot be written.
pub fn fetch(source: &Source<'_>, part: &Path, patience: &Patience, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<()> {
    let agent = agent(source.url, patience)?;
    let written = |e: std::io::Error| Error::output(part, e, "a writable folder in LASTMILE_HOME with enough room");
    if let Some(folder) = part.parent() {
        std::fs::create_dir_all(folder).map_err(written)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part).map_err(written)?;
    let found = file.metadata().map_err(written)?.len();
    // What was there before may be of another file: if the hash does not fit in the end, it gets one fresh start.
    let mut fresh = found == 0;
    let (mut useless, mut pause) = (0, patience.pause);
    loop {
        let before = file.metadata().map_err(written)?.len();
        let end = match more(&agent, source, &mut file, part, progress) {
            Ok(()) => match hash(&mut file).map_err(written)? {
                hash if hash == source.sha256 => return Ok(()),
                _ if !fresh => {
                    fresh = true;
                    file.set_len(0).map_err(written)?;
                    continue;
                }
                hash => {
                    let _ = std::fs::remove_file(part);
                    let what = format!("what came has the SHA-256 {hash}, it should be {}", source.sha256);
                    return Err(Error::unavailable(source.url, what, "another --mirror, or later; nothing was installed"));
                }
            },
            Err(Fault::Final(e)) => return Err(e),
            Err(Fault::Passing(what)) => what,
        };
        let now = file.metadata().map_err(written)?.len();
        if now > before {
            (useless, pause) = (0, patience.pause);
        } else {
            useless += 1;
        }
        if useless >= patience.tries {
            let kept = if now > 0 { format!("; {now} bytes are kept") } else { String::new() };
            return Err(Error::unavailable(source.url, format!("{end}{kept}"), "the same command again: it goes on where it stopped"));
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
}

/// One request: for the rest of the file, or for all of it if nothing is there.
fn more(
    agent: &ureq::Agent,
    source: &Source<'_>,
    file: &mut File,
    part: &Path,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Fault> {
    let written = |e: std::io::Error| Fault::Final(Error::output(part, e, "a writable folder in LASTMILE_HOME with enough room"));
    let refused = |what: String| Fault::Final(Error::unavailable(source.url, what, "another --mirror, or the address in a browser"));
    let mut have = file.metadata().map_err(written)?.len();
    if source.size.is_some_and(|size| have > size) {
        file.set_len(0).map_err(written)?;
        have = 0;
    }
    if source.size == Some(have) {
        return Ok(());
    }
    let mut request = agent.get(source.url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = request.call().map_err(|e| passing_or_final(source.url, e))?;
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let total = match response.status() {
        StatusCode::OK => {
            // All of it, asked for or not.
            file.set_len(0).map_err(written)?;
            have = 0;
            header("content-length").and_then(|v| v.parse().ok())
        }
        StatusCode::PARTIAL_CONTENT => {
            let (start, total) = header("content-range").as_deref().and_then(content_range).unwrap_or((u64::MAX, None));
            if start != have {
                file.set_len(0).map_err(written)?;
                return Err(Fault::Passing(format!("the server sent another part than bytes {have} and after")));
            }
            total
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let total = header("content-range").as_deref().and_then(content_range).and_then(|(_, total)| total);
            if have > 0 && total == Some(have) {
                return Ok(());
            }
            file.set_len(0).map_err(written)?;
            return Err(Fault::Passing(format!("the server has no bytes {have} and after")));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT => {
            return Err(Fault::Passing(format!("the server answered {status}")));
        }
        status => return Err(refused(format!("the server answered {status}"))),
    };
    if let (Some(expected), Some(total)) = (source.size, total)
        && expected != total
    {
        file.set_len(0).map_err(written)?;
        return Err(refused(format!("the server offers {total} bytes, it should be {expected}")));
    }
    let most = source.size.or(total).unwrap_or(MOST);
    file.seek(SeekFrom::Start(have)).map_err(written)?;
    progress(have, source.size.or(total));
    let mut reader = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(Fault::Passing(format!("the connection broke after {have} bytes: {e}"))),
        };
        have += got as u64;
        if have > most {
            file.set_len(0).map_err(written)?;
            return Err(refused(format!("the server sent more than {most} bytes")));
        }
        file.write_all(&buffer[..got]).map_err(written)?;
        progress(have, source.size.or(total));
    }
    file.sync_data().map_err(written)?;
    match source.size.or(total) {
        Some(whole) if have < whole => Err(Fault::Passing(format!("the connection ended after {have} of {whole} bytes"))),
        _ => Ok(()),
    }
}

/// `bytes 100-199/200` or `bytes */200`: where it starts and how long the whole is.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.parse().ok()).unwrap_or(u64::MAX);
    Some((start, total.parse().ok()))
}

/// Reads the whole file once more: it may have been begun by another run.
fn hash(file: &mut File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let (mut sha, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sha.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            got => sha.update(&buffer[..got]),
        }
    }
}

fn passing_or_final(url: &str, e: ureq::Error) -> Fault {
    match e {
        ureq::Error::HostNotFound => Fault::Final(Error::unavailable(
            url,
            "its host is not known: no network, or a network with its own rules",
            "--mirror PREFIX, or fetch it by hand",
        )),
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => {
            Fault::Passing(e.to_string())
        }
        other => Fault::Final(Error::unavailable(url, other, "--mirror PREFIX, or fetch it by hand")),
    }
}

/// A client with the system's certificates. Proxies are taken from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
fn agent(url: &str, patience: &Patience) -> Result<ureq::Agent> {
    let secure = url.starts_with("https://");
    if !secure && !url.starts_with("http://") {
        return Err(Error::usage(url, "is no address of a file on the web", "https://..."));
    }
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let local = ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| rest.starts_with(host));
    let mut config = ureq::Agent::config_builder()
        .https_only(secure)
        .http_status_as_error(false)
        .max_redirects(8)
        .user_agent(concat!("lastmile/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(patience.connect))
        .timeout_per_read(Some(patience.stall));
    if local {
        config = config.proxy(None);
    }
    if secure {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let what = "this system has no certificates to know servers by";
            return Err(Error::unavailable(url, what, "install them (Debian: ca-certificates), or set SSL_CERT_FILE"));
        }
        let roots: Vec<_> = found.certs.iter().map(|c| Certificate::from_der(c.as_ref()).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        config = config.tls_config(tls);
    }
    Ok(config.build().new_agent())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(content_range("bytes 0-9/*"), Some((0, None)));
        assert_eq!(content_range("bytes */200"), Some((u64::MAX, Some(200))));
        assert_eq!(content_range("items 1-2/3"), None);
    }

    #[test]
    fn only_the_web() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source { url: "file:///etc/hosts", size: None, sha256: "" };
        let e = fetch(&source, &dir.path().join("x.part"), &Patience::default(), &mut |_, _| ()).unwrap_err();
        assert_eq!(e.kind(), "usage");
    }
}
