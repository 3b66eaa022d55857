use super::{Encoding, Header, Limits, Metadata, Output};
use crate::band::Band;
use crate::error::{Error, Result};
use crate::image::{Channels, Image};
use std::path::Path;
pub(super) fn header(path: &Path, _bytes: &[u8]) -> Result<Header> {
    Err(Error::input(path, "not landed", ""))
}
pub(super) fn decode(path: &Path, _bytes: &[u8], _limits: &Limits) -> Result<Image> {
    Err(Error::input(path, "not landed", ""))
}
pub(super) struct Writer;
impl Writer {
    pub(super) fn new(_out: Output, _how: &Encoding, _w: usize, _h: usize, _c: Channels, _m: &Metadata) -> Result<Self> {
        Err(Error::Internal("not landed".into()))
    }
}
impl super::Encoder for Writer {
    fn write(&mut self, _band: &Band) -> Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<u64> {
        Ok(0)
    }
}
