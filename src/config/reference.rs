//! The settings as `docs/configuration.md` has them: the parts of it between two marks.

use std::fmt::Write as _;

use super::settings::{SETTINGS, Unset};

/// What stands before a generated part; its name comes in between.
const BEGIN: (&str, &str) = ("<!-- generated: ", " (scripts/regenerate) -->\n");

/// What stands after it.
const END: &str = "<!-- end -->\n";

/// The document with its generated parts made anew. An error names what is missing in it.
pub fn renewed(document: &str) -> Result<String, String> {
    let document = with_part(document, "example", &example())?;
    with_part(&document, "settings", &table())
}

fn with_part(document: &str, name: &str, part: &str) -> Result<String, String> {
    let begin = format!("{}{name}{}", BEGIN.0, BEGIN.1);
    let (before, rest) = document.split_once(&begin).ok_or_else(|| format!("there is no line {begin:?}"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("there is no line {END:?} after {begin:?}"))?;
    Ok(format!("{before}{begin}\n{part}\n{END}{after}"))
}

/// A file with everything that can be set.
fn example() -> String {
    let (mut text, mut last) = ("```toml\n".to_owned(), None);
    for setting in SETTINGS {
        let (section, name) = setting.place();
        if let Some(section) = section.filter(|section| last != Some(*section)) {
            let _into_a_string = write!(text, "\n[{section}]\n");
        }
        last = section;
        let _into_a_string = writeln!(text, "{name} = {}", setting.example);
    }
    text + "```\n"
}

fn table() -> String {
    let mut text = "| key | type | default | environment | |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        let default = match setting.default {
            Unset::Needed => "needed".to_owned(),
            Unset::Is(literal) => format!("`{literal}`"),
            Unset::None(words) => words.to_owned(),
        };
        let end = match (setting.secret, setting.kind.is_list()) {
            (true, true) => ", separated by commas, best as `…_FILE`",
            (true, false) => ", best as `…_FILE`",
            (false, true) => ", separated by commas",
            (false, false) => "",
        };
        let (kind, variable) = (setting.kind.name(), setting.variable());
        let _into_a_string =
            writeln!(text, "| `{}` | {kind} | {default} | `{variable}`{end} | {} |", setting.key, setting.what);
    }
    text
}
