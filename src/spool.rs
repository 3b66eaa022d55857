//! Finished rows parked in a file, so that a job can look at its picture twice.
//!
//! A second look is what repair, a size limit in kilobytes, several export presets and a kept master need: the first pass
//! writes the upscaled rows here, later ones read any of them back. The file is raw: row by row, channel by channel within a
//! row, little-endian `u16` (0..=65535 for 0..1, rounded and clamped) or `f32` (as is).

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::band::Band;
use crate::error::{Error, Result};

/// A file that is gone when this is dropped. If the program is killed before, it is swept with the other temp files of its run.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Gives the file another name, under which it stays.
    ///
    /// # Errors
    /// [`Error::Io`], the file being gone then.
    pub fn rename(self, to: &Path) -> Result<()> {
        std::fs::rename(&self.0, to).map_err(|e| Error::io(to, e))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Two bytes, clamped to 0..1; enough for 8- and 16-bit outputs.
    U16,
    /// Four bytes, exact.
    F32,
}

impl Depth {
    fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Rows on their way to disk.
#[derive(Debug)]
pub struct SpoolWriter {
    file: BufWriter<File>,
    shape: Shape,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Shape {
    path: PathBuf,
    width: usize,
    channels: usize,
    depth: Depth,
    rows: usize,
}

impl Shape {
    fn row_bytes(&self) -> usize {
        self.width * self.channels * self.depth.bytes()
    }

    fn failed(&self, e: std::io::Error) -> Error {
        if e.kind() == std::io::ErrorKind::StorageFull {
            return Error::output(&self.path, "the disk is full", "free some space, or choose another output folder");
        }
        Error::io(&self.path, e)
    }
}

impl SpoolWriter {
    /// Creates (or empties) `path` for rows of that shape.
    pub fn create(path: &Path, width: usize, channels: usize, depth: Depth) -> Result<Self> {
        let shape = Shape { path: path.to_path_buf(), width, channels, depth, rows: 0 };
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(|e| shape.failed(e))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), shape, buffer: Vec::new() })
    }

    /// Bytes that a picture takes.
    pub fn size(width: usize, height: usize, channels: usize, depth: Depth) -> u64 {
        (width * channels * depth.bytes()) as u64 * height as u64
    }

    /// Appends the next rows.
    pub fn write(&mut self, band: &Band) -> Result<()> {
        debug_assert_eq!((band.y, band.width, band.channels), (self.shape.rows, self.shape.width, self.shape.channels));
        for r in 0..band.rows {
            self.buffer.clear();
            for c in 0..band.channels {
                let row = band.row(c, r);
                match self.shape.depth {
                    Depth::U16 => {
                        self.buffer.extend(row.iter().flat_map(|v| ((v.clamp(0.0, 1.0) * 65535.0 + 0.5) as u16).to_le_bytes()));
                    }
                    Depth::F32 => self.buffer.extend(row.iter().flat_map(|v| v.to_le_bytes())),
                }
            }
            self.file.write_all(&self.buffer).map_err(|e| self.shape.failed(e))?;
        }
        self.shape.rows += band.rows;
        Ok(())
    }

    /// Ends writing; the rows can be read from now on.
    pub fn finish(self) -> Result<Spool> {
        let shape = self.shape;
        let file = self.file.into_inner().map_err(|e| shape.failed(e.into_error()))?;
        Ok(Spool { file, shape })
    }
}

/// Rows on disk.
#[derive(Debug)]
pub struct Spool {
    file: File,
    shape: Shape,
}

impl Spool {
    /// Opens a file that [`SpoolWriter`] has finished, of a known shape; the row count follows from its size.
    pub fn open(path: &Path, width: usize, channels: usize, depth: Depth) -> Result<Self> {
        let mut shape = Shape { path: path.to_path_buf(), width, channels, depth, rows: 0 };
        let file = File::open(path).map_err(|e| shape.failed(e))?;
        let bytes = file.metadata().map_err(|e| shape.failed(e))?.len() as usize;
        if shape.row_bytes() == 0 || !bytes.is_multiple_of(shape.row_bytes()) {
            let what = format!("{bytes} bytes are no whole rows of {width} px with {channels} channels");
            return Err(Error::output(path, what, "delete it and run again"));
        }
        shape.rows = bytes / shape.row_bytes();
        Ok(Self { file, shape })
    }

    /// Waits until the rows are on the disk for good.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.shape.failed(e))
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Reads rows `from..to`, which must exist.
    pub fn read(&mut self, from: usize, to: usize) -> Result<Band> {
        let s = &self.shape;
        if from > to || to > s.rows {
            return Err(Error::Internal(format!("rows {from}..{to} of a spool with {}", s.rows)));
        }
        let mut bytes = vec![0u8; (to - from) * s.row_bytes()];
        self.file.seek(SeekFrom::Start((from * s.row_bytes()) as u64)).map_err(|e| s.failed(e))?;
        self.file.read_exact(&mut bytes).map_err(|e| s.failed(e))?;
        let mut band = Band::new(from, s.width, to - from, s.channels);
        let per_channel = s.width * s.depth.bytes();
        for (k, row) in bytes.chunks_exact(per_channel.max(1)).enumerate() {
            let (r, c) = (k / s.channels, k % s.channels);
            let out = band.row_mut(c, r);
            match s.depth {
                Depth::U16 => {
                    for (o, b) in out.iter_mut().zip(row.chunks_exact(2)) {
                        *o = f32::from(u16::from_le_bytes([b[0], b[1]])) / 65535.0;
                    }
                }
                Depth::F32 => {
                    for (o, b) in out.iter_mut().zip(row.chunks_exact(4)) {
                        *o = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                    }
                }
            }
        }
        Ok(band)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        for (depth, tolerance) in [(Depth::U16, 0.5 / 65535.0 + 1e-7), (Depth::F32, 0.0)] {
            let path = dir.path().join("spool");
            let mut w = SpoolWriter::create(&path, 7, 3, depth).unwrap();
            let mut all = Band::new(0, 7, 10, 3);
            all.data.iter_mut().enumerate().for_each(|(i, v)| *v = (i as f32 * 0.37).sin().abs());
            for (a, b) in [(0, 3), (3, 4), (4, 10)] {
                w.write(&all.slice(a, b)).unwrap();
            }
            let mut spool = w.finish().unwrap();
            for (a, b) in [(8, 10), (0, 10), (5, 5), (2, 7)] {
                let got = spool.read(a, b).unwrap();
                assert_eq!(got.y, a);
                let want = all.slice(a, b);
                assert!(got.data.iter().zip(&want.data).all(|(g, w)| (g - w).abs() <= tolerance));
            }
            assert!(spool.read(9, 11).is_err());
            drop(spool);
            assert_eq!(Spool::open(&path, 7, 3, depth).unwrap().rows(), 10);
            assert_eq!(SpoolWriter::size(7, 10, 3, depth), std::fs::metadata(&path).unwrap().len());
            assert!(Spool::open(&path, 11, 3, depth).is_err(), "another shape is refused");
        }
    }

    #[test]
    fn a_temporary_file_goes_unless_it_is_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "1").unwrap();
        drop(Temporary::new(a.clone()));
        assert!(!a.exists());
        std::fs::write(&a, "2").unwrap();
        Temporary::new(a.clone()).rename(&b).unwrap();
        assert!(!a.exists() && b.exists());
        drop(Temporary::new(a));
    }

    #[test]
    fn f32_keeps_what_is_out_of_range() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut w = SpoolWriter::create(&path, 2, 1, Depth::F32).unwrap();
        let b = Band { y: 0, width: 2, rows: 1, channels: 1, data: vec![-0.25, 3.5] };
        w.write(&b).unwrap();
        assert_eq!(w.finish().unwrap().read(0, 1).unwrap(), b);
    }
}
