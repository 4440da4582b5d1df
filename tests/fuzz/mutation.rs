//! New inputs from known ones: random bytes alone would not come past the first check of any parser here.

/// One change: its kind, where, how much, and a number for what is put in.
pub type Edit = (u8, u16, u8, u16);

/// No input is longer, in bytes: longer ones are slow and find nothing more.
const LONGEST: usize = 16 * 1024;

/// What breaks parsers of text, wherever it stands.
const TRICKY: [&str; 24] = [
    "",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "%",
    "%00",
    "%2",
    "+",
    "&",
    "=",
    ";",
    ",",
    ":",
    "\u{feff}",
    "\u{130}",
    "\u{212a}",
    "\u{1f600}",
    "18446744073709551616",
    "-1",
];

/// Makes inputs from known ones.
#[derive(Debug)]
pub struct Mutator {
    known: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

impl Mutator {
    pub fn new(known: Vec<Vec<u8>>, words: &'static [&'static str]) -> Self {
        Self { known, words }
    }

    /// The known input of this number, changed a few times.
    pub fn make(&self, seed: u16, edits: &[Edit]) -> Vec<u8> {
        let mut bytes = self.known(seed).to_vec();
        // Most inputs stay near a known one.
        let count = edits.len().min(1 + usize::from(seed >> 8) % 8);
        for edit in edits.iter().take(count) {
            self.change(&mut bytes, *edit);
            bytes.truncate(LONGEST);
        }
        bytes
    }

    fn known(&self, number: u16) -> &[u8] {
        &self.known[usize::from(number) % self.known.len()]
    }

    fn word(&self, number: u16) -> &'static [u8] {
        let number = usize::from(number) % (self.words.len() + TRICKY.len());
        self.words.get(number).unwrap_or_else(|| &TRICKY[number - self.words.len()]).as_bytes()
    }

    fn change(&self, bytes: &mut Vec<u8>, (kind, at, length, number): Edit) {
        let at = usize::from(at) % (bytes.len() + 1);
        let end = (at + usize::from(length) % 24).min(bytes.len());
        let [low, high] = number.to_le_bytes();
        match kind % 14 {
            0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (low % 8)),
            1 => bytes.get_mut(at).into_iter().for_each(|byte| *byte = low),
            2 => bytes.insert(at, low),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copy = bytes[at..end].to_vec();
                let to = usize::from(number) % (bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            5 => drop(bytes.splice(at..at, self.word(number).iter().copied())),
            6 => drop(bytes.splice(at..end, self.word(number).iter().copied())),
            7 => {
                let other = self.known(u16::from(high));
                let from = usize::from(low) % (other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            8 => bytes.truncate(at),
            9 => bytes[at..end].reverse(),
            10 => {
                let copy = bytes[at..end].repeat(usize::from(low));
                bytes.splice(at..at, copy);
            }
            11 => bytes[at..end].iter_mut().for_each(|byte| *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 }),
            // A whole line, for formats that have them.
            12 => {
                let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                let line = lines[at % lines.len()].to_vec();
                let to = lines.iter().take(usize::from(low) % lines.len()).map(|line| line.len() + 1).sum::<usize>();
                bytes.splice(to..to, line.into_iter().chain([b'\n']));
            }
            _ => {
                let other = self.known(u16::from(high));
                let lines: Vec<&[u8]> = other.split(|byte| *byte == b'\n').collect();
                let line = lines[usize::from(low) % lines.len()].to_vec();
                let to = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                bytes.splice(to..to, line.into_iter().chain([b'\n']));
            }
        }
    }
}
