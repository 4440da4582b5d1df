//! What a device is called: by itself when it asks for a code, by its person later.

/// The longest name, in characters.
pub const LONGEST: usize = 64;

/// A name of more than [`LONGEST`] characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// A name as it is kept: one line, and nothing in it that can't be seen or that makes it look like another. `None` when
/// nothing is left.
pub fn read(written: &str) -> Result<Option<String>, TooLong> {
    let visible: String = written.chars().filter(|c| !c.is_control() && !reorders_or_hides(*c)).collect();
    let name = visible.trim();
    if name.chars().count() > LONGEST {
        return Err(TooLong);
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// Signs that reverse text, have no width, or are blank although they count as letters.
const fn reorders_or_hides(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shortened_by_nobody_and_cleaned_of_tricks() {
        let reads = |written: &str| read(written).unwrap();
        assert_eq!(reads(" ada@build-7\n").as_deref(), Some("ada@build-7"));
        assert_eq!(reads("\u{202E}evil\u{200B}").as_deref(), Some("evil"));
        assert_eq!(reads("Büro 🖥️").as_deref(), Some("Büro 🖥️"));
        assert_eq!(reads("حاسوب").as_deref(), Some("حاسوب"));
        for nothing in ["", " \t", "\u{200b}", "\u{3164}\u{2800}", "\u{2066}\u{AD}\u{2069}", "\u{E0041}"] {
            assert_eq!(reads(nothing), None, "{nothing:?}");
        }
        assert!(read(&"ü".repeat(64)).is_ok());
        assert_eq!(read(&"ü".repeat(65)), Err(TooLong));
    }
}
