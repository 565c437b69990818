//! Blocks of names and values: one zlib stream in each direction, over all blocks of a connection
//! (draft 3.1, section 2.6.10).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::dictionary::dictionary;
use super::frame::Error;

/// Names and values of one block; names are in lower case.
pub(crate) type Headers = Vec<(String, String)>;

/// The largest block, unpacked: those of kubectl have some 100 bytes.
const MAX_BLOCK: usize = 64 << 10;
/// Room for what is packed or unpacked next.
const STEP: usize = 4 << 10;

/// Packs blocks, in the order that they are sent.
pub(super) struct Packer(Compress);

impl Packer {
    pub(super) fn new() -> Self {
        let mut zlib = Compress::new(Compression::fast(), true);
        // It fails only once something has been packed.
        let _ = zlib.set_dictionary(&dictionary());
        Self(zlib)
    }

    pub(super) fn pack(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        length(&mut plain, headers.len());
        for (name, value) in headers {
            for text in [name, value] {
                length(&mut plain, text.len());
                plain.extend_from_slice(text.as_bytes());
            }
        }
        let mut packed = Vec::with_capacity(STEP);
        let begin = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - begin).unwrap_or(usize::MAX);
            let rest = plain.get(done..).unwrap_or_default();
            self.0
                .compress_vec(rest, &mut packed, FlushCompress::Sync)
                .map_err(|_| Error::Malformed("a block of headers cannot be packed"))?;
            // Everything is out only when there was room left.
            if packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(STEP);
        }
    }
}

/// Unpacks blocks, in the order that they come.
pub(super) struct Unpacker(Decompress);

impl Unpacker {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn unpack(&mut self, packed: &[u8]) -> Result<Headers, Error> {
        let broken = Error::Malformed("a block of headers is no zlib");
        let mut plain = Vec::with_capacity(STEP);
        let begin = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - begin).unwrap_or(usize::MAX);
            let rest = packed.get(done..).unwrap_or_default();
            match self.0.decompress_vec(rest, &mut plain, FlushDecompress::Sync) {
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| broken.clone())?;
                    continue;
                }
                Err(_) => return Err(broken),
            }
            if plain.len() > MAX_BLOCK {
                return Err(Error::TooLong("a block of headers"));
            }
            if plain.len() < plain.capacity() {
                break;
            }
            plain.reserve(STEP);
        }
        parse(&plain)
    }
}

fn length(out: &mut Vec<u8>, length: usize) {
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn parse(mut block: &[u8]) -> Result<Headers, Error> {
    let count = number(&mut block)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let (name, value) = (text(&mut block)?, text(&mut block)?);
        headers.push((name.to_ascii_lowercase(), value));
    }
    Ok(headers)
}

fn number(block: &mut &[u8]) -> Result<u32, Error> {
    let (number, rest) =
        block.split_first_chunk().ok_or(Error::Malformed("a block of headers is cut off"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*number))
}

fn text(block: &mut &[u8]) -> Result<String, Error> {
    let length = number(block)? as usize;
    let (text, rest) =
        block.split_at_checked(length).ok_or(Error::Malformed("a block of headers is cut off"))?;
    *block = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn blocks_come_back_one_after_another() {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        let long = "x".repeat(3 * STEP);
        let blocks = [
            headers(&[("streamtype", "error")]),
            headers(&[]),
            headers(&[("streamtype", "data"), ("port", "5432"), ("requestid", "0")]),
            headers(&[("long", &long)]),
        ];
        for block in &blocks {
            let packed = packer.pack(block).unwrap();
            assert_eq!(&unpacker.unpack(&packed).unwrap(), block);
        }
    }

    #[test]
    fn a_block_that_unpacks_to_too_much_is_refused() {
        let mut packer = Packer::new();
        let bomb = packer.pack(&headers(&[("bomb", &"x".repeat(8 * MAX_BLOCK))])).unwrap();
        assert!(bomb.len() < MAX_BLOCK);
        assert_eq!(Unpacker::new().unpack(&bomb), Err(Error::TooLong("a block of headers")));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let lies: [&[u8]; 4] =
            [b"", b"\0\0\0\x01", b"\0\0\0\x01\xff\xff\xff\xffx", b"\xff\xff\xff\xff\0\0\0\x01a"];
        for lie in lies {
            assert!(parse(lie).is_err(), "{lie:?}");
        }
    }
}
