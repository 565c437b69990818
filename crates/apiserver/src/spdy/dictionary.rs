//! What both sides take for sent before the first block of headers (draft 3.1, section 2.6.10.1).

/// The words that stand at the beginning, each after its length in four bytes.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards \
    pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding \
    upgrade user-agent vary via warning www-authenticate method get status";

/// What follows, with lengths and blanks of its own.
const STATUS_AND_VERSION: &[u8] = b"\0\0\0\x06200 OK\0\0\0\x07version\0\0\0\x08HTTP/1.1";

/// More words.
const MORE_WORDS: &str = "url public set-cookie keep-alive origin";

/// The rest has no lengths.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The whole dictionary.
pub(super) fn dictionary() -> Vec<u8> {
    let mut all = Vec::new();
    let words = |all: &mut Vec<u8>, words: &str| {
        for word in words.split_ascii_whitespace() {
            all.extend([0, 0, 0, word.len() as u8]);
            all.extend_from_slice(word.as_bytes());
        }
    };
    words(&mut all, WORDS);
    all.extend_from_slice(STATUS_AND_VERSION);
    words(&mut all, MORE_WORDS);
    all.extend_from_slice(REST.as_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_that_streams_name() {
        // The id that stands in the header of every peer's zlib stream (RFC 1950, DICTID).
        let (mut low, mut high) = (1_u32, 0_u32);
        for byte in dictionary() {
            low = (low + u32::from(byte)) % 65521;
            high = (high + low) % 65521;
        }
        assert_eq!((high << 16) | low, 0xe3c6_a7c2);
        assert_eq!(dictionary().len(), 1423);
    }
}
