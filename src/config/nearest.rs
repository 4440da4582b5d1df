//! "Did you mean …".

/// Below this likeness a suggestion confuses more than it helps.
const NEAR: f64 = 0.8;

/// The known word that is most like this one, if any is like it.
pub(super) fn nearest(word: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    let likeness = |known: &str| {
        // A key in the wrong section is the key of another one.
        let last = |key: &str| key.rsplit_once('.').map(|(_, last)| last.to_owned());
        let moved = last(known).is_some_and(|last_of_known| last(word).as_deref().unwrap_or(word) == last_of_known);
        if moved { 1.0 } else { strsim::jaro(word, known) }
    };
    known
        .into_iter()
        .map(|known| (likeness(&known), known))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// What to do about a word that isn't known: "did you mean …?" or else.
pub(super) fn did_you_mean(word: &str, known: impl IntoIterator<Item = String>, otherwise: &str) -> String {
    nearest(word, known).map_or_else(|| otherwise.to_owned(), |near| format!("did you mean {near}?"))
}
