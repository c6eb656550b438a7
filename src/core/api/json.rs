//! JSON text (RFC 8259), written piece by piece.

use std::fmt::Write;

/// Appends a string with its quotes.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            // Control characters, and two that JavaScript takes for line ends.
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(char)).expect("writing to memory cannot fail");
            }
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// Appends a value: a string if it is UTF-8, otherwise `{"base64": "…"}`.
pub fn value(out: &mut String, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return string(out, text);
    }
    out.push_str("{\"base64\":\"");
    base64(out, bytes);
    out.push_str("\"}");
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(out: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
            out.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
}

/// An array or object being written, with a comma between members.
pub struct Members {
    out: String,
    end: char,
}

impl Members {
    pub fn object() -> Self {
        Self { out: "{".into(), end: '}' }
    }

    pub fn array() -> Self {
        Self { out: "[".into(), end: ']' }
    }

    /// The text to append an array's next member to.
    pub fn item(&mut self) -> &mut String {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        &mut self.out
    }

    /// The text to append the value of an object's next member to.
    pub fn named(&mut self, name: &str) -> &mut String {
        let out = self.item();
        string(out, name);
        out.push(':');
        out
    }

    pub fn finish(mut self) -> String {
        self.out.push(self.end);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn strings_are_escaped() {
        let text = "a\"b\\c\nd\u{1}\u{7f}é🦀\u{2028}";
        assert_eq!(written(|out| string(out, text)), r#""a\"b\\c\nd\u0001\u007fé🦀\u2028""#);
    }

    #[test]
    fn what_is_not_utf8_is_marked() {
        assert_eq!(written(|out| value(out, b"text")), "\"text\"");
        assert_eq!(written(|out| value(out, b"\xff\0")), "{\"base64\":\"/wA=\"}");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(written(|out| base64(out, bytes.as_bytes())), text);
        }
    }

    #[test]
    fn members_are_separated() {
        let mut object = Members::object();
        object.named("a").push('1');
        let mut array = Members::array();
        array.item().push('2');
        array.item().push('3');
        object.named("b").push_str(&array.finish());
        assert_eq!(object.finish(), "{\"a\":1,\"b\":[2,3]}");
        assert_eq!(Members::array().finish(), "[]");
    }
}
