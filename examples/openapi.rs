//! Prints the OpenAPI document of the OAuth endpoints. `scripts/regenerate` keeps it in `docs/openapi.json`.

use std::error::Error;
use std::io::Write as _;

use countersign::oauth::openapi;

fn main() -> Result<(), Box<dyn Error>> {
    writeln!(std::io::stdout().lock(), "{}", openapi::document().to_pretty_json()?)?;
    Ok(())
}
