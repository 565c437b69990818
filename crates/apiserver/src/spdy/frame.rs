//! Frames, to bytes and back (draft 3.1, section 2.2 and 2.6). No IO: bytes are fed in as they come.

use bytes::{Buf, Bytes, BytesMut};

use super::headers::{Headers, Packer, Unpacker};

/// The version in control frames; 3.1 says 3 as well.
const VERSION: u16 = 3;
/// Both kinds of frames begin with so many bytes.
const HEAD: usize = 8;
/// The longest control frame: those of clients have some 100 bytes.
const MAX_CONTROL: usize = 64 << 10;
/// The longest data frame that can be written.
const MAX_DATA: usize = (1 << 24) - 1;
/// Numbers of streams have 31 bits.
const STREAM_MASK: u32 = 0x7fff_ffff;
const FIN: u8 = 1;

/// Types of control frames.
mod kind {
    pub(super) const SYN_STREAM: u16 = 1;
    pub(super) const SYN_REPLY: u16 = 2;
    pub(super) const RST_STREAM: u16 = 3;
    pub(super) const SETTINGS: u16 = 4;
    pub(super) const PING: u16 = 6;
    pub(super) const GOAWAY: u16 = 7;
    pub(super) const HEADERS: u16 = 8;
    pub(super) const WINDOW_UPDATE: u16 = 9;
}

/// The setting that says how much may be sent on a new stream before its window is opened.
const SETTING_INITIAL_WINDOW: u32 = 7;

/// Why a stream is reset.
pub(crate) mod reset {
    /// The stream's number or headers make no sense.
    pub(crate) const PROTOCOL_ERROR: u32 = 1;
    /// The stream was not begun, and nothing was done for it.
    pub(crate) const REFUSED_STREAM: u32 = 3;
    /// Nobody wants the stream any more.
    pub(crate) const CANCEL: u32 = 5;
}

/// One frame. Data frames come in pieces, as their bytes do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream.
    SynStream { stream: u32, headers: Headers, fin: bool },
    /// The stream is accepted.
    SynReply { stream: u32, headers: Headers, fin: bool },
    /// The stream ends at once, both ways.
    Reset { stream: u32, status: u32 },
    /// How the other side wants things; of all settings only this one matters here.
    Settings { initial_window: Option<u32> },
    /// To be sent back.
    Ping(u32),
    /// No stream after this one is served.
    GoAway { last_stream: u32, status: u32 },
    /// More headers of a stream.
    Headers { stream: u32, headers: Headers, fin: bool },
    /// So much more may be sent.
    WindowUpdate { stream: u32, delta: u32 },
    /// Bytes of a stream.
    Data { stream: u32, data: Bytes, fin: bool },
}

/// What the other side sent is no SPDY/3.1; the connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("frames of SPDY version {0}, not 3")]
    Version(u16),
    #[error("{0} is too long")]
    TooLong(&'static str),
    #[error("{0}")]
    Malformed(&'static str),
}

/// Writes frames.
pub(super) struct Encoder(Packer);

impl Encoder {
    pub(super) fn new() -> Self {
        Self(Packer::new())
    }

    /// Appends the bytes of a frame. Data must fit into one frame; see [`Frame::Data`].
    pub(super) fn encode(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), Error> {
        let number = |n: &u32| n.to_be_bytes().to_vec();
        let fin_flag = |fin: &bool| if *fin { FIN } else { 0 };
        let pair = |a: &u32, b: &u32| [a.to_be_bytes(), b.to_be_bytes()].concat();
        let (kind, flags, body) = match frame {
            Frame::Data { stream, data, fin } => {
                if data.len() > MAX_DATA {
                    return Err(Error::TooLong("a data frame"));
                }
                out.extend((stream & STREAM_MASK).to_be_bytes());
                out.extend(flags_and_length(fin_flag(fin), data.len()));
                out.extend_from_slice(data);
                return Ok(());
            }
            Frame::SynStream { stream, headers, fin } => {
                let mut body = pair(stream, &0);
                body.extend([0, 0]);
                body.extend(self.0.pack(headers)?);
                (kind::SYN_STREAM, fin_flag(fin), body)
            }
            Frame::SynReply { stream, headers, fin } | Frame::Headers { stream, headers, fin } => {
                let mut body = number(stream);
                body.extend(self.0.pack(headers)?);
                let reply = matches!(frame, Frame::SynReply { .. });
                (if reply { kind::SYN_REPLY } else { kind::HEADERS }, fin_flag(fin), body)
            }
            Frame::Reset { stream, status } => (kind::RST_STREAM, 0, pair(stream, status)),
            Frame::Settings { initial_window } => {
                let mut body = number(&u32::from(initial_window.is_some()));
                body.extend(initial_window.iter().flat_map(|size| pair(&SETTING_INITIAL_WINDOW, size)));
                (kind::SETTINGS, 0, body)
            }
            Frame::Ping(id) => (kind::PING, 0, number(id)),
            Frame::GoAway { last_stream, status } => (kind::GOAWAY, 0, pair(last_stream, status)),
            Frame::WindowUpdate { stream, delta } => (kind::WINDOW_UPDATE, 0, pair(stream, delta)),
        };
        out.extend((VERSION | 0x8000).to_be_bytes());
        out.extend(kind.to_be_bytes());
        out.extend(flags_and_length(flags, body.len()));
        out.extend(body);
        Ok(())
    }
}

fn flags_and_length(flags: u8, length: usize) -> [u8; 4] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [flags, length[1], length[2], length[3]]
}

/// Reads frames.
pub(super) struct Decoder {
    unpacker: Unpacker,
    buffer: BytesMut,
    /// The data frame that is under way.
    data: Option<Rest>,
}

/// What is still to come of a data frame.
struct Rest {
    stream: u32,
    left: usize,
    fin: bool,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { unpacker: Unpacker::new(), buffer: BytesMut::new(), data: None }
    }

    /// Where bytes are to be put that have come.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame, or piece of one; `None` until more bytes have come.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(rest) = &mut self.data {
                let size = rest.left.min(self.buffer.len());
                if size == 0 && rest.left > 0 {
                    return Ok(None);
                }
                rest.left -= size;
                let (stream, ended) = (rest.stream, rest.left == 0);
                let fin = ended && rest.fin;
                if ended {
                    self.data = None;
                }
                let data = self.buffer.split_to(size).freeze();
                return Ok(Some(Frame::Data { stream, data, fin }));
            }
            let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
            let (first, flags) = (u32::from_be_bytes([head[0], head[1], head[2], head[3]]), head[4]);
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            if first & !STREAM_MASK == 0 {
                self.buffer.advance(HEAD);
                self.data = Some(Rest { stream: first, left: length, fin: flags & FIN != 0 });
                continue;
            }
            let version = (first >> 16) as u16 & 0x7fff;
            if version != VERSION {
                return Err(Error::Version(version));
            }
            if length > MAX_CONTROL {
                return Err(Error::TooLong("a control frame"));
            }
            if self.buffer.len() < HEAD + length {
                return Ok(None);
            }
            self.buffer.advance(HEAD);
            let body = self.buffer.split_to(length);
            if let Some(frame) = self.control((first & 0xffff) as u16, flags & FIN != 0, &body)? {
                return Ok(Some(frame));
            }
        }
    }

    /// Reads a control frame; `None` for one that says nothing to us.
    fn control(&mut self, kind: u16, fin: bool, body: &[u8]) -> Result<Option<Frame>, Error> {
        let number = |at: usize| {
            let bytes = body.get(at..).and_then(|rest| rest.first_chunk());
            bytes
                .map(|bytes| u32::from_be_bytes(*bytes))
                .ok_or(Error::Malformed("a control frame is cut off"))
        };
        let stream = || number(0).map(|n| n & STREAM_MASK);
        let block = |at: usize| body.get(at..).ok_or(Error::Malformed("a control frame is cut off"));
        Ok(Some(match kind {
            kind::SYN_STREAM => {
                let (stream, headers) = (stream()?, self.unpacker.unpack(block(10)?)?);
                Frame::SynStream { stream, headers, fin }
            }
            kind::SYN_REPLY => {
                let (stream, headers) = (stream()?, self.unpacker.unpack(block(4)?)?);
                Frame::SynReply { stream, headers, fin }
            }
            kind::HEADERS => {
                let (stream, headers) = (stream()?, self.unpacker.unpack(block(4)?)?);
                Frame::Headers { stream, headers, fin }
            }
            kind::RST_STREAM => Frame::Reset { stream: stream()?, status: number(4)? },
            kind::SETTINGS => Frame::Settings { initial_window: initial_window(block(4)?) },
            kind::PING => Frame::Ping(number(0)?),
            kind::GOAWAY => Frame::GoAway { last_stream: stream()?, status: number(4)? },
            kind::WINDOW_UPDATE => Frame::WindowUpdate { stream: stream()?, delta: number(4)? & STREAM_MASK },
            _ => return Ok(None),
        }))
    }
}

/// The initial window among the entries of a SETTINGS frame: flags and id, then the value.
fn initial_window(entries: &[u8]) -> Option<u32> {
    let (entries, _) = entries.as_chunks::<8>();
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let found = entries.iter().rev().find(|entry| number(&entry[1..4]) == SETTING_INITIAL_WINDOW);
    found.map(|entry| number(&entry[4..]) & STREAM_MASK)
}
