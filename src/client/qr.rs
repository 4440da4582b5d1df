//! A QR code in text: two modules per character, one above the other.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code that a scanner needs to find it (ISO/IEC 18004 §9.1).
const QUIET_ZONE: usize = 4;
/// Black on white from the fixed part of the 256-colour palette: themes can't turn it around.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// The lines of a QR code of `text`, quiet zone included, if they fit into `columns` and `rows`.
pub(crate) fn lines(text: &str, columns: usize, rows: usize) -> Option<Vec<String>> {
    // A screen isn't torn or stained; the least correction gives the smallest code.
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let side = code.width() + 2 * QUIET_ZONE;
    if side > columns || side.div_ceil(2) > rows {
        return None;
    }
    let modules = code.to_colors();
    let dark = |x: usize, y: usize| -> bool {
        let inside = |n: usize| n.checked_sub(QUIET_ZONE).filter(|n| *n < code.width());
        let module = inside(x).zip(inside(y)).and_then(|(x, y)| modules.get(y * code.width() + x));
        module == Some(&Color::Dark)
    };
    let block = |x, y| match (dark(x, y), dark(x, y + 1)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    let line = |y| format!("{BLACK_ON_WHITE}{}{RESET}", (0..side).map(|x| block(x, y)).collect::<String>());
    Some((0..side).step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "http://localhost:8080/activate?user_code=WDJB-MJHT";

    #[test]
    fn it_is_shown_only_where_it_fits() {
        assert_eq!(lines(ADDRESS, 80, 24).unwrap().len(), 19);
        assert!(lines(ADDRESS, 36, 24).is_none());
        assert!(lines(ADDRESS, 37, 18).is_none());
        assert!(lines(ADDRESS, 37, 19).is_some());
    }

    #[test]
    fn it_has_a_quiet_zone_and_its_finder_patterns() {
        let lines = lines(ADDRESS, 80, 24).unwrap();
        let plain: Vec<String> = lines.iter().map(|line| line.replace(BLACK_ON_WHITE, "").replace(RESET, "")).collect();
        assert!(plain[..2].iter().all(|line| line.trim().is_empty()));
        assert!(plain[2].starts_with("    █▀▀▀▀▀█ ") && plain[2].ends_with(" █▀▀▀▀▀█    "), "{}", plain[2]);
        assert!(plain.iter().all(|line| line.chars().count() == 37));
    }
}
