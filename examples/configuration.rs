//! Writes the generated parts of `docs/configuration.md` anew, and the settings' JSON Schema, into a directory:
//! `cargo run --example configuration DIRECTORY`. `scripts/regenerate` puts them into `docs/`.

use std::error::Error;
use std::path::{Path, PathBuf};

use countersign::config::{reference, schema};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: configuration DIRECTORY")?);
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md"))?;
    std::fs::write(directory.join("configuration.md"), reference::renewed(&document)?)?;
    let schema = format!("{:#}\n", schema::schema());
    Ok(std::fs::write(directory.join("countersign.schema.json"), schema)?)
}
