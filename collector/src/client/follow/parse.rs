//! ServerUrl-sent events as text (HTML Living Standard §9.2.6), of what our servers send of it.

use std::collections::VecDeque;

/// Bytes of one message: an entry of a journal has some KiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is: `message` if it does not say.
    pub(super) event: String,
    /// The last id of the stream.
    pub(super) id: String,
    pub(super) data: String,
}

/// A message is longer than it may be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an event has more than {MESSAGE_BYTES_MAX} bytes")]
pub(super) struct TooLong;

/// Makes messages of bytes, however they are cut.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    message: Message,
    has_data: bool,
    ready: VecDeque<Message>,
}

impl Parser {
    /// Takes what has arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.message.data.len() > MESSAGE_BYTES_MAX {
                return Err(TooLong);
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            }
        }
        Ok(())
    }

    /// The next message that is whole.
    pub(super) fn pop(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    fn take(&mut self, line: &str) {
        if line.is_empty() {
            let id = self.message.id.clone(); // it holds on
            let mut message = std::mem::replace(
                &mut self.message,
                Message {
                    id,
                    ..Message::default()
                },
            );
            if std::mem::take(&mut self.has_data) {
                if message.event.is_empty() {
                    message.event.push_str("message");
                }
                self.ready.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "id" => value.clone_into(&mut self.message.id),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            _ => {} // a comment, or what later versions send
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nevent: entry\nid: 3\ndata: {\"a\": 1}\n\nevent:progress\r\ndata:[\r\ndata: ]\r\n\r\nretry: 5\n\ndata\n\nevent: cut";

    fn message(event: &str, id: &str, data: &str) -> Message {
        Message {
            event: event.to_owned(),
            id: id.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let expected = [
            message("entry", "3", "{\"a\": 1}"),
            message("progress", "3", "[\n]"),
            message("message", "3", ""),
        ];
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            for piece in STREAM.as_bytes().chunks(size) {
                parser.push(piece).expect("short");
            }
            let messages: Vec<_> = std::iter::from_fn(|| parser.pop()).collect();
            assert_eq!(messages, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_has_a_limit() {
        let long = vec![b'x'; MESSAGE_BYTES_MAX];
        let mut parser = Parser::default();
        assert_eq!(parser.push(&long), Ok(()));
        assert_eq!(parser.push(b"x"), Err(TooLong));
        let mut parser = Parser::default();
        let lines = b"data: 0123456789\n".repeat(MESSAGE_BYTES_MAX / 10 + 1);
        assert_eq!(parser.push(&lines), Err(TooLong), "also line by line");
    }
}
