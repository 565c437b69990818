//! Compression, told by the first bytes: media types in the wild are wrong too often.

use std::io::{self, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// zstd's frames may ask for a window; more than this (in powers of two: 128 MiB) is refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Reads plain, gzip or zstd.
pub(crate) fn decompress<'a>(mut reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::with_capacity(ZSTD.len());
    reader.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
    let gzip = start.starts_with(&GZIP);
    let zstd = start.starts_with(&ZSTD) || is_zstd_skippable(&start);
    let whole = Cursor::new(start).chain(reader);
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(whole))
    } else if zstd {
        let mut decoder = zstd::stream::read::Decoder::new(whole)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(decoder)
    } else {
        Box::new(whole)
    })
}

/// RFC 8878, 3.1.2: a zstd file may start with a frame for somebody else.
fn is_zstd_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}
