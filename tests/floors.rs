//! Keeps the floors: reads the crate's own imports, and fails on one that goes up, to a door beside, or in a circle.
//!
//! `src/lib.rs` is the map. A comment `// N: …` opens a floor, `Ground` the lowest; the modules after it are its rooms.
//! A room may use what is below it. Rooms of the ground use each other, but not in a circle. What a room does within
//! itself is its own business; its tests, which may look anywhere, are read as well.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Rooms and the floor of each, lowest first.
type Floors = BTreeMap<String, usize>;

/// The import of one room by another: where, from and to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    file: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Upward(Import),
    Sideways(Import),
    Circle(Vec<String>),
    NoFloor(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upward(Import { from, to, file }) => write!(f, "{file}: {from} imports {to} from a floor above"),
            Self::Sideways(Import { from, to, file }) => write!(f, "{file}: {from} imports {to} beside it"),
            Self::Circle(rooms) => write!(f, "a circle: {}", rooms.join(" → ")),
            Self::NoFloor(room) => write!(f, "{room} is on no floor of src/lib.rs"),
        }
    }
}

/// Reads the map.
fn floors(lib: &str) -> Floors {
    let (mut floor, mut floors) = (None, Floors::new());
    for line in lib.lines() {
        let title = line.strip_prefix("// ").and_then(|comment| comment.split_once(':')).map(|(title, _)| title);
        if title.is_some_and(|title| title == "Ground" || title.starts_with(|sign: char| sign.is_ascii_digit())) {
            floor = Some(floor.map_or(0, |floor| floor + 1));
        }
        let room = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        if let (Some((room, _)), Some(floor)) = (room.and_then(|rest| rest.split_once(';')), floor) {
            floors.insert(room.to_owned(), floor);
        }
    }
    floors
}

/// Collects which rooms a file names, by `crate::room`, and by `super::` as far as it leads out of the file's room.
struct Reader<'a> {
    rooms: &'a Floors,
    /// The module path that is being read, the room first.
    module: Vec<String>,
    found: BTreeSet<String>,
}

impl Reader<'_> {
    /// A path as it is written: found if it leads from the crate's root to a room.
    fn name(&mut self, path: &[String]) {
        let mut supers = 0;
        let absolute = match path.first().map(String::as_str) {
            Some("crate" | "countersign") => path.get(1),
            Some("super") => {
                supers = path.iter().take_while(|segment| *segment == "super").count();
                (supers == self.module.len()).then(|| path.get(supers)).flatten()
            }
            _ => None,
        };
        assert!(supers <= self.module.len(), "{path:?} in {:?} leads out of the crate", self.module);
        if let Some(room) = absolute.filter(|room| self.rooms.contains_key(*room)) {
            self.found.insert(room.clone());
        }
    }

    fn name_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| {
            let mut path = before.to_vec();
            path.push(ident.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.name_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.name(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.name(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.name(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.name_tree(before, tree)),
        }
    }

    /// Macros hide paths from the parser: their tokens are read one by one.
    fn name_in_tokens(&mut self, tokens: &proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens.clone() {
            match token {
                proc_macro2::TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.name(&path);
                        path.clear();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                proc_macro2::TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                other => {
                    self.name(&path);
                    path.clear();
                    colons = 0;
                    if let proc_macro2::TokenTree::Group(group) = other {
                        self.name_in_tokens(&group.stream());
                    }
                }
            }
        }
        self.name(&path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.name_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.name(&segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.name_in_tokens(&called.tokens);
        visit::visit_macro(self, called);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }
}

/// What rooms import of each other, told by their files: module path, file name, source.
fn imports(floors: &Floors, files: &[(Vec<String>, String, String)]) -> BTreeSet<Import> {
    let mut imports = BTreeSet::new();
    for (module, file, source) in files {
        let Some(from) = module.first() else { continue };
        let parsed = syn::parse_file(source).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut reader = Reader { rooms: floors, module: module.clone(), found: BTreeSet::new() };
        reader.visit_file(&parsed);
        let others = reader.found.into_iter().filter(|to| to != from);
        imports.extend(others.map(|to| Import { from: from.clone(), to, file: file.clone() }));
    }
    imports
}

/// Everything that is wrong.
fn faults(floors: &Floors, files: &[(Vec<String>, String, String)]) -> Vec<Fault> {
    let rooms: BTreeSet<&String> = files.iter().filter_map(|(module, ..)| module.first()).collect();
    let homeless = rooms.into_iter().filter(|room| !floors.contains_key(*room));
    let mut faults: Vec<Fault> = homeless.map(|room| Fault::NoFloor(room.clone())).collect();
    let imports: Vec<Import> =
        imports(floors, files).into_iter().filter(|import| floors.contains_key(&import.from)).collect();
    for import in &imports {
        let (from, to) = (floors.get(&import.from), floors.get(&import.to));
        match from.cmp(&to) {
            std::cmp::Ordering::Less => faults.push(Fault::Upward(import.clone())),
            std::cmp::Ordering::Equal if from != Some(&0) => faults.push(Fault::Sideways(import.clone())),
            _ => {}
        }
    }
    faults.extend(floors.keys().filter_map(|room| circle(room, &imports)).map(Fault::Circle).take(1));
    faults
}

/// A way from a room back to it.
fn circle(start: &str, imports: &[Import]) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let here = way.last()?;
        for import in imports.iter().filter(|import| import.from == *here) {
            let mut longer = way.clone();
            longer.push(import.to.clone());
            if import.to == start {
                return Some(longer);
            }
            if seen.insert(import.to.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

/// The files of a directory and what is below: `src/http/fields.rs` is the module `http::fields`.
fn read(source: &Path, directory: &Path, files: &mut Vec<(Vec<String>, String, String)>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(source, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(source).unwrap();
            let mut module: Vec<String> =
                below.with_extension("").iter().map(|part| part.to_str().expect("UTF-8").to_owned()).collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            let root = module.len() == 1 && ["lib", "main"].contains(&module.concat().as_str());
            if !root {
                files.push((module, below.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
}

#[test]
fn every_room_imports_from_floors_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors = floors(&std::fs::read_to_string(source.join("lib.rs")).unwrap());
    let mut files = Vec::new();
    read(&source, &source, &mut files);
    assert!(floors.len() > 10 && files.len() > 50, "the map or the house was not found");
    assert!(imports(&floors, &files).len() > 50, "the imports were not found");
    let faults: Vec<String> = faults(&floors, &files).iter().map(Fault::to_string).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[cfg(test)]
mod made_up {
    use super::*;

    const LIB: &str = "//! A house.\n\n// Ground: earth.\npub mod clock;\npub mod ids; // ids\n\n// 1: first.\npub mod http;\npub mod secrets;\n\n// 1½: between.\npub mod config;\n\n// 2: second.\npub mod audit;\n";

    fn faults_of(path: &str, source: &str) -> Vec<String> {
        let module: Vec<String> = path.split('/').map(str::to_owned).collect();
        let file = (module, format!("{path}.rs"), source.to_owned());
        faults(&floors(LIB), &[file]).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn the_map_is_read() {
        let expected = [("audit", 3), ("clock", 0), ("config", 2), ("http", 1), ("ids", 0), ("secrets", 1)];
        assert_eq!(floors(LIB), expected.map(|(room, floor)| (room.to_owned(), floor)).into());
    }

    #[test]
    fn what_is_below_may_be_used() {
        for source in [
            "use crate::{clock::Clock, ids};",
            "use super::ids::GrantId;",
            "use crate::secrets as keys; fn f() -> crate::config::File { crate::http::fields::read() }",
            "use crate::audit::other; use self::inner; use std::fmt; use super::audit::this;",
        ] {
            assert_eq!(faults_of("audit", source), [""; 0], "{source}");
        }
        assert_eq!(faults_of("ids", "use crate::clock::Clock;"), [""; 0]);
        assert_eq!(faults_of("http/fields", "use super::limits; mod tests { use super::super::limits; }"), [""; 0]);
    }

    #[test]
    fn what_is_above_is_forbidden_however_it_is_written() {
        for source in [
            "use crate::audit::Event;",
            "use crate::{ids, audit::{self, Event}};",
            "use super::super::audit::*;",
            "use crate::audit as log;",
            "fn f() { crate::audit::append(); }",
            "fn f(event: &crate::audit::Event<'_>) {}",
            "mod tests { use super::super::super::audit::Event; }",
            "fn f() { assert!(g(crate::audit::Kind::Denied), \"{}\", 1); }",
            "impl crate::audit::Append for X {}",
        ] {
            assert_eq!(
                faults_of("http/fields", source),
                ["http/fields.rs: http imports audit from a floor above"],
                "{source}"
            );
        }
    }

    #[test]
    fn what_is_beside_is_forbidden_but_on_the_ground() {
        assert_eq!(faults_of("http", "use crate::secrets::Random;"), ["http.rs: http imports secrets beside it"]);
        assert_eq!(faults_of("ids", "use crate::clock::Clock;"), [""; 0]);
    }

    #[test]
    fn a_circle_is_found_on_the_ground_too() {
        let file = |room: &str, source: &str| (vec![room.to_owned()], format!("{room}.rs"), source.to_owned());
        let files = [file("clock", "use crate::ids::GrantId;"), file("ids", "use crate::clock::Clock;")];
        let found = faults(&floors(LIB), &files);
        assert_eq!(found, [Fault::Circle(["clock", "ids", "clock"].map(str::to_owned).to_vec())]);
    }

    #[test]
    fn a_room_without_a_floor_is_found() {
        assert_eq!(faults_of("attic/boxes", "use crate::ids;"), ["attic is on no floor of src/lib.rs"]);
    }
}
