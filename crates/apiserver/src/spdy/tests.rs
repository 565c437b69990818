//! The codec against itself and against nonsense; the connection against a client made of frames.

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::Connection;
use super::frame::{Decoder, Encoder, Frame, reset};
use super::headers::Headers;

fn any_headers() -> impl Strategy<Value = Headers> {
    prop::collection::vec(("[a-z-]{1,12}", "[ -~]{0,40}"), 0..5)
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let id = 1_u32..0x7fff_ffff;
    prop_oneof![
        (id.clone(), any_headers(), any::<bool>()).prop_map(|(stream, headers, fin)| Frame::SynStream {
            stream,
            headers,
            fin
        }),
        (id.clone(), any_headers(), any::<bool>()).prop_map(|(stream, headers, fin)| Frame::SynReply {
            stream,
            headers,
            fin
        }),
        (id.clone(), any_headers(), any::<bool>()).prop_map(|(stream, headers, fin)| Frame::Headers {
            stream,
            headers,
            fin
        }),
        (id.clone(), 1_u32..12).prop_map(|(stream, status)| Frame::Reset { stream, status }),
        prop::option::of(id.clone()).prop_map(|initial_window| Frame::Settings { initial_window }),
        any::<u32>().prop_map(Frame::Ping),
        (id.clone(), 0_u32..3).prop_map(|(last_stream, status)| Frame::GoAway { last_stream, status }),
        (id.clone(), id.clone()).prop_map(|(stream, delta)| Frame::WindowUpdate { stream, delta }),
        (id, prop::collection::vec(any::<u8>(), 0..300), any::<bool>())
            .prop_map(|(stream, data, fin)| Frame::Data { stream, data: data.into(), fin }),
    ]
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let (mut encoder, mut wire) = (Encoder::new(), Vec::new());
    frames.iter().for_each(|frame| encoder.encode(frame, &mut wire).unwrap());
    wire
}

/// Pieces of one data frame make one again.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut all: Vec<Frame> = Vec::new();
    let mut open = false;
    for frame in frames {
        match (all.last_mut(), frame) {
            (
                Some(Frame::Data { data: held, fin: false, stream: held_stream }),
                Frame::Data { data, fin, stream },
            ) if open && *held_stream == stream => {
                let fin_now = fin;
                *held = [held.as_ref(), data.as_ref()].concat().into();
                if let Some(Frame::Data { fin, .. }) = all.last_mut() {
                    *fin = fin_now;
                }
            }
            (_, frame) => all.push(frame),
        }
        open = matches!(all.last(), Some(Frame::Data { fin: false, .. }));
    }
    all
}

proptest! {
    #[test]
    fn frames_come_back_however_their_bytes_are_cut(
        frames in prop::collection::vec(any_frame(), 1..12),
        cuts in prop::collection::vec(1_usize..40, 1..30),
    ) {
        let wire = encoded(&frames);
        let mut decoder = Decoder::new();
        let (mut seen, mut rest) = (Vec::new(), wire.as_slice());
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at(rest.len().min(*cut));
            decoder.buffer().extend_from_slice(piece);
            while let Some(frame) = decoder.next().unwrap() {
                seen.push(frame);
            }
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(joined(seen), joined(frames));
        prop_assert!(decoder.buffer().is_empty());
    }

    #[test]
    fn nonsense_is_refused_and_never_panics(
        frames in prop::collection::vec(any_frame(), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let mut wire = encoded(&frames);
        let at = at.index(wire.len() + 1);
        wire.splice(at..at, noise);
        let mut decoder = Decoder::new();
        decoder.buffer().extend_from_slice(&wire);
        // Every frame takes bytes away, so this ends.
        while let Ok(Some(_)) = decoder.next() {}
    }
}

#[test]
fn a_control_frame_that_is_too_long_is_refused_before_it_is_waited_for() {
    let mut decoder = Decoder::new();
    decoder.buffer().extend_from_slice(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]);
    assert!(decoder.next().is_err());
    let mut decoder = Decoder::new();
    decoder.buffer().extend_from_slice(&[0x80, 2, 0, 1, 0, 0, 0, 0]);
    assert!(decoder.next().is_err(), "SPDY/2");
}

/// The frames of a client over a pipe.
struct Client {
    io: DuplexStream,
    encoder: Encoder,
    decoder: Decoder,
}

impl Client {
    fn connect() -> (Self, Connection) {
        let (ours, theirs) = tokio::io::duplex(8 << 10);
        (Self { io: ours, encoder: Encoder::new(), decoder: Decoder::new() }, Connection::serve(theirs))
    }

    async fn send(&mut self, frame: Frame) {
        let mut wire = Vec::new();
        self.encoder.encode(&frame, &mut wire).unwrap();
        self.io.write_all(&wire).await.unwrap();
    }

    async fn open(&mut self, stream: u32) {
        let headers = vec![("streamtype".to_owned(), "data".to_owned())];
        self.send(Frame::SynStream { stream, headers, fin: false }).await;
    }

    async fn data(&mut self, stream: u32, data: &'static [u8], fin: bool) {
        self.send(Frame::Data { stream, data: Bytes::from_static(data), fin }).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return Some(frame);
            }
            if self.io.read_buf(self.decoder.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// All bytes up to the end of the stream.
    async fn read_all(&mut self, wanted: u32) -> usize {
        let mut count = 0;
        loop {
            match self.next().await.unwrap() {
                Frame::Data { stream, data, fin } if stream == wanted => {
                    count += data.len();
                    if fin {
                        return count;
                    }
                }
                Frame::WindowUpdate { .. } | Frame::SynReply { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_and_ends_in_each_by_itself() {
    let (mut client, mut connection) = Client::connect();
    client.open(1).await;
    client.data(1, b"hello", true).await;
    let stream = connection.next_stream().await.unwrap();
    assert_eq!((stream.id(), stream.header("streamtype"), stream.header("port")), (1, "data", ""));
    let (mut reader, mut writer) = stream.accept().await.unwrap();
    assert_eq!(client.next().await, Some(Frame::SynReply { stream: 1, headers: vec![], fin: false }));
    assert_eq!(reader.read().await.unwrap(), "hello");
    assert_eq!(reader.read().await, None);
    writer.write(Bytes::from_static(b"world")).await.unwrap();
    writer.finish().await;
    assert_eq!(client.read_all(1).await, 5);
    connection.close().await;
    assert_eq!(client.next().await, Some(Frame::GoAway { last_stream: 1, status: 0 }));
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn pings_are_answered_and_strange_streams_reset() {
    let (mut client, mut connection) = Client::connect();
    client.send(Frame::Ping(7)).await;
    assert_eq!(client.next().await, Some(Frame::Ping(7)));
    client.open(3).await;
    for stream in [2, 3, 1] {
        client.open(stream).await;
        let status = reset::PROTOCOL_ERROR;
        assert_eq!(client.next().await, Some(Frame::Reset { stream, status }), "even, taken, behind");
    }
    connection.refuse_streams();
    client.open(5).await;
    assert_eq!(client.next().await, Some(Frame::Reset { stream: 5, status: reset::REFUSED_STREAM }));
}

#[tokio::test]
async fn a_peer_without_windows_is_sent_more_than_a_window() {
    let (mut client, mut connection) = Client::connect();
    client.open(1).await;
    let (_reader, mut writer) = connection.next_stream().await.unwrap().accept().await.unwrap();
    let big = Bytes::from(vec![7; 1 << 20]);
    let writing = tokio::spawn(async move {
        writer.write(big).await.unwrap();
        writer.finish().await;
    });
    assert_eq!(client.read_all(1).await, 1 << 20);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_peer_with_windows_gets_no_more_than_it_takes() {
    let (mut client, mut connection) = Client::connect();
    client.send(Frame::Settings { initial_window: Some(10) }).await;
    client.open(1).await;
    let (_reader, mut writer) = connection.next_stream().await.unwrap().accept().await.unwrap();
    let writing = tokio::spawn(async move {
        writer.write(Bytes::from_static(b"0123456789")).await.unwrap();
        writer.write(Bytes::from_static(b"more")).await.unwrap();
        writer.finish().await;
    });
    assert!(matches!(client.next().await, Some(Frame::SynReply { .. })));
    assert!(matches!(client.next().await, Some(Frame::Data { data, .. }) if data == "0123456789"));
    // What comes back after a ping was not sent before it.
    client.send(Frame::Ping(1)).await;
    assert_eq!(client.next().await, Some(Frame::Ping(1)));
    client.send(Frame::WindowUpdate { stream: 1, delta: 4 }).await;
    assert_eq!(client.read_all(1).await, 4);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_reset_ends_reading_and_writing() {
    let (mut client, mut connection) = Client::connect();
    client.open(1).await;
    let (mut reader, mut writer) = connection.next_stream().await.unwrap().accept().await.unwrap();
    client.send(Frame::Reset { stream: 1, status: reset::CANCEL }).await;
    assert_eq!(reader.read().await, None);
    writer.gone().await;
    assert!(writer.write(Bytes::from_static(b"x")).await.is_err());
}

#[tokio::test]
async fn a_client_that_leaves_ends_everything() {
    let (mut client, mut connection) = Client::connect();
    client.open(1).await;
    let (mut reader, writer) = connection.next_stream().await.unwrap().accept().await.unwrap();
    drop(client);
    assert_eq!(reader.read().await, None);
    writer.gone().await;
    assert!(connection.next_stream().await.is_none());
    connection.closed().await;
}

#[tokio::test]
async fn what_is_taken_opens_our_window() {
    let (mut client, mut connection) = Client::connect();
    client.open(1).await;
    let (mut reader, _writer) = connection.next_stream().await.unwrap().accept().await.unwrap();
    assert!(matches!(client.next().await, Some(Frame::SynReply { .. })));
    client.data(1, &[0; 40 << 10], true).await;
    let mut taken = 0;
    while let Some(bytes) = reader.read().await {
        taken += bytes.len();
    }
    assert_eq!(taken, 40 << 10);
    assert!(matches!(client.next().await, Some(Frame::WindowUpdate { stream: 1, delta: 32_768..=40_960 })));
}
