//! What comes from a server is made harmless before it can reach a terminal, once, where it is read.

/// Longest text taken over from a server, in characters; an address or a description is far shorter.
const LONGEST: usize = 1024;

/// `text` without anything that moves a cursor, starts an escape sequence, or makes text read other than it is
/// written: control characters (C0, C1, DEL), line and paragraph separators, zero-width and bidirectional formatting.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !is_invisible_formatting(*c)).take(LONGEST).collect()
}

const fn is_invisible_formatting(c: char) -> bool {
    matches!(c,
        '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_escape() {
        assert_eq!(printable("\x1b]0;owned\x07no\r\n\u{9b}2J\u{202e}yes\u{200b}"), "]0;ownedno2Jyes");
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        assert_eq!(printable("Zugriff verweigert – für „Ada“"), "Zugriff verweigert – für „Ada“");
    }

    #[test]
    fn endless_text_ends() {
        assert_eq!(printable(&"a".repeat(1_000_000)).len(), LONGEST);
    }
}
