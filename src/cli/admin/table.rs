//! Lists, for people: aligned columns that fit the terminal. Into a pipe everything goes as long as it is.

use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::client::environment::{Terminal, wants_no_colour};

use super::details;

/// Between two columns.
const GAP: usize = 2;
/// No column is made narrower.
const NARROWEST: usize = 6;

/// A column.
#[derive(Clone, Copy)]
pub struct Column {
    /// What stands above it.
    pub title: &'static str,
    /// Where its text is from.
    pub text: fn(&Value) -> String,
    /// Whether half of it is worth nothing: an id, which is to be copied.
    pub whole: bool,
}

/// A column that can be cut off.
pub const fn column(title: &'static str, text: fn(&Value) -> String) -> Column {
    Column { title, text, whole: false }
}

/// A column that can't.
pub const fn whole(title: &'static str, text: fn(&Value) -> String) -> Column {
    Column { title, text, whole: true }
}

/// A member as people read it.
pub fn member(item: &Value, name: &str) -> String {
    item.get(name).map_or_else(|| "–".to_owned(), details::value)
}

/// As the output of this process takes it.
pub fn of_process(items: &[Value], columns: &[Column]) -> String {
    let terminal = Terminal::of_stdout();
    let bold = terminal.is_some() && !wants_no_colour();
    of(items, columns, terminal.map(|terminal| terminal.columns.into()), bold)
}

fn of(items: &[Value], columns: &[Column], room: Option<usize>, bold: bool) -> String {
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    let cells = |item: &Value| columns.iter().map(|column| (column.text)(item)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = items.iter().map(cells).collect();
    let mut widths: Vec<usize> = titles.iter().map(|title| title.width()).collect();
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.width()));
    }
    if let Some(room) = room.filter(|room| *room > 0) {
        narrow(&mut widths, columns, room);
    }
    let heading = line(&titles, &widths);
    let heading = if bold { format!("\u{1b}[1m{heading}\u{1b}[0m\n") } else { format!("{heading}\n") };
    rows.iter().fold(heading, |text, row| text + &line(row, &widths) + "\n")
}

/// Takes from the widest column, again and again, until all fit or none can give.
fn narrow(widths: &mut [usize], columns: &[Column], room: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        let can_give = widths.iter_mut().zip(columns).filter(|(width, column)| !column.whole && **width > NARROWEST);
        match can_give.map(|(width, _)| width).max() {
            Some(width) => *width -= 1,
            None => return,
        }
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let cell = |(cell, width): (&String, &usize)| {
        let cell = cut(cell, *width);
        let padding = " ".repeat(width.saturating_sub(cell.width()) + GAP);
        cell + &padding
    };
    cells.iter().zip(widths).map(cell).collect::<String>().trim_end().to_owned()
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let needs = c.width().unwrap_or_default();
        let fits = needs <= left;
        left = left.saturating_sub(needs);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 3] = [
        column("NAME", |item| member(item, "name")),
        column("PLACE", |item| member(item, "place")),
        whole("ID", |item| member(item, "id")),
    ];

    fn items() -> Vec<Value> {
        vec![
            json!({ "name": "Ada", "place": "London", "id": "0123456789" }),
            json!({ "name": "名前の長い人物である", "place": "\u{1b}[31mTokyo", "id": "1" }),
        ]
    }

    #[test]
    fn columns_are_aligned_by_the_room_that_letters_take() {
        assert_eq!(
            of(&items(), &COLUMNS, None, false),
            "NAME                  PLACE      ID\n\
             Ada                   London     0123456789\n\
             名前の長い人物である  [31mTokyo  1\n"
        );
    }

    #[test]
    fn the_widest_gives_first_and_ids_never() {
        assert_eq!(
            of(&items(), &COLUMNS, Some(32), false),
            "NAME       PLACE      ID\n\
             Ada        London     0123456789\n\
             名前の長…  [31mTokyo  1\n"
        );
        let narrowest = of(&items(), &COLUMNS, Some(5), false);
        assert!(narrowest.contains("0123456789") && narrowest.contains("Ada     London  "), "{narrowest}");
    }

    #[test]
    fn titles_are_bold_only_where_that_is_wanted() {
        assert!(of(&[], &COLUMNS, None, true).starts_with("\u{1b}[1mNAME  PLACE  ID\u{1b}[0m\n"));
    }
}
