//! A user code, as people type it (RFC 8628 §6.1).

use countersign::device::codes::{ALPHABET, UserCode};

use crate::{FOREIGN, KEYRING, target};

const WORDS: &[&str] = &["WDJB", "MJHT", "-", "–", " ", "BCDFGHJKLMNPQRSTVWXZ", "AEIOU", "0", "Ｂ", "ſ", "K"];

#[test]
fn user_code() {
    target("user_code", Vec::new(), WORDS, |bytes| {
        let typed = String::from_utf8_lossy(bytes);
        let letters: String = typed.chars().map(|c| c.to_ascii_uppercase()).filter(|c| is_letter(*c)).collect();
        let is_one = typed.len() <= 64 && matches!(letters.len(), 8 | 10);
        let Some(code) = UserCode::parse(&typed) else {
            assert!(!is_one, "a code is refused");
            return;
        };
        assert!(is_one, "something else is taken for a code");
        let shown = code.to_string();
        assert_eq!(shown.replace('-', ""), letters, "other letters than were typed");
        assert_eq!(shown.find('-'), Some(letters.len() / 2));
        assert_eq!(UserCode::parse(&shown).as_ref(), Some(&code), "what is shown reads as another code");
        assert_eq!(UserCode::parse(&letters.to_ascii_lowercase()).as_ref(), Some(&code));
        assert_eq!(code.mac(&KEYRING), UserCode::parse(&shown).unwrap().mac(&KEYRING));
        assert_ne!(code.mac(&KEYRING), code.mac(&FOREIGN));
        assert!(!format!("{code:?}").contains(&letters));
    });
}

fn is_letter(c: char) -> bool {
    u8::try_from(c).is_ok_and(|byte| ALPHABET.contains(&byte))
}
