//! Netlink messages as bytes: building requests, reading answers (RFC 3549, include/uapi/linux/netlink.h).

/// `struct nlmsghdr`'s length in bytes.
pub(crate) const HEADER_LEN: usize = 16;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A request being put together. Values are in the host's byte order unless a method says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of `kind` whose fixed part (`struct ifinfomsg` and the like) is `fixed`.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Message {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        Message { bytes }
    }

    pub(crate) fn attr(mut self, kind: u16, value: &[u8]) -> Message {
        let len = u16::try_from(value.len() + 4).expect("a netlink attribute is shorter than 64 KiB");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// A string with its closing NUL.
    pub(crate) fn string(self, kind: u16, value: &str) -> Message {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    pub(crate) fn u8(self, kind: u16, value: u8) -> Message {
        self.attr(kind, &[value])
    }

    pub(crate) fn u32(self, kind: u16, value: u32) -> Message {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// In network byte order, as all of nf_tables' numbers are.
    pub(crate) fn be32(self, kind: u16, value: u32) -> Message {
        self.attr(kind, &value.to_be_bytes())
    }

    /// In network byte order.
    pub(crate) fn be64(self, kind: u16, value: u64) -> Message {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Attributes (after an optional fixed part, as `VETH_INFO_PEER` has) inside an attribute.
    pub(crate) fn nest(mut self, kind: u16, fill: impl FnOnce(Message) -> Message) -> Message {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        let mut filled = fill(self);
        let len = u16::try_from(filled.bytes.len() - start).expect("a netlink nest is shorter than 64 KiB");
        filled.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        filled
    }

    /// Bytes without an attribute's header: the fixed part inside a nest.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Message {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Adds flags and the sequence number, and closes the header.
    pub(crate) fn seal(mut self, more_flags: u16, sequence: u32) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).expect("a netlink message is shorter than 4 GiB");
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | more_flags;
        self.bytes[0..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// The attributes of an answer, as `(kind, value)`.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.get(..4)?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this kind.
    pub(crate) fn find(self, kind: u16) -> Option<&'a [u8]> {
        let mut attributes = self;
        attributes.find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes inside this one; none if it is missing.
    pub(crate) fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.find(kind).unwrap_or_default())
    }

    pub(crate) fn u32(self, kind: u16) -> Option<u32> {
        self.find(kind)?.try_into().ok().map(u32::from_ne_bytes)
    }

    pub(crate) fn be32(self, kind: u16) -> Option<u32> {
        self.find(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn be64(self, kind: u16) -> Option<u64> {
        self.find(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(crate) fn ipv4(self, kind: u16) -> Option<std::net::Ipv4Addr> {
        let bytes: [u8; 4] = self.find(kind)?.try_into().ok()?;
        Some(bytes.into())
    }

    pub(crate) fn string(self, kind: u16) -> Option<String> {
        let bytes = self.find(kind)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_written() {
        let message = Message::new(16, NLM_F_ACK, &[])
            .string(3, "eth0")
            .u8(5, 7)
            .nest(18, |inner| inner.raw(&[1, 2, 3, 4]).u32(1, 99))
            .be32(4, 0x0102_0304);
        let bytes = message.seal(NLM_F_EXCL, 42);
        assert_eq!(u32::from_ne_bytes(bytes[0..4].try_into().unwrap()) as usize, bytes.len());
        assert_eq!(bytes[6..8], (NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL).to_ne_bytes());
        assert_eq!(bytes[8..12], 42u32.to_ne_bytes());

        let attributes = Attributes(&bytes[HEADER_LEN..]);
        assert_eq!(attributes.string(3).as_deref(), Some("eth0"));
        assert_eq!(attributes.find(5), Some(&[7u8][..]));
        assert_eq!(Attributes(&attributes.find(18).unwrap()[4..]).u32(1), Some(99));
        assert_eq!(attributes.be32(4), Some(0x0102_0304));
    }

    #[test]
    fn broken_attributes_end_the_reading() {
        assert_eq!(Attributes(&[3, 0, 1, 0]).count(), 0, "shorter than its own header");
        assert_eq!(Attributes(&[200, 0, 1, 0, 1]).count(), 0, "longer than the message");
        assert_eq!(Attributes(&[1, 2]).count(), 0, "half a header");
    }
}
