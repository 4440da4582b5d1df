//! Settings from the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Place};
use super::nearest::did_you_mean;
use super::reading::Found;
use super::settings::{PREFIX, SETTINGS, Setting};

/// Variables that belong to the commands and not to the configuration.
const OF_COMMANDS: [&str; 3] = ["CONFIG", "CLIENT_ID", "KEYRING"];

/// Behind a variable's name: it names a file that holds the value.
const OF_FILE: &str = "_FILE";

/// What Kubernetes invents for a Service named `countersign`.
const OF_KUBERNETES: [&str; 3] = ["SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// What the `COUNTERSIGN_…` variables set, in the order of their names, and what is wrong with them.
pub(super) fn read(
    environment: impl Iterator<Item = (String, String)>,
) -> (Vec<(&'static Setting, Found)>, Vec<Fault>) {
    let (mut found, mut faults): (Vec<(&'static Setting, Found)>, _) = (Vec::new(), Vec::new());
    // Whoever hands over a variable twice means the last.
    for (variable, value) in environment.collect::<BTreeMap<_, _>>() {
        let Some(name) = variable.strip_prefix(PREFIX).filter(|name| !OF_COMMANDS.contains(name)) else { continue };
        let of_file = name.strip_suffix(OF_FILE);
        let full_name = format!("{PREFIX}{}", of_file.unwrap_or(name));
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == full_name) else {
            faults.push(unknown(&variable, name));
            continue;
        };
        let fault = |place, what: String, mend: &str| Fault {
            place: Some(place),
            key: Some(setting.key.to_owned()),
            what,
            mend: mend.to_owned(),
        };
        let place = match of_file {
            Some(_) => Place::NamedBy(variable.clone(), PathBuf::from(&value)),
            None => Place::Variable(variable.clone()),
        };
        // `X` comes before `X_FILE`.
        if found.iter().any(|(known, _)| known.key == setting.key) {
            faults.push(fault(place, format!("{full_name} is set as well"), "set one of them, not both"));
            continue;
        }
        let text = if of_file.is_some() {
            match std::fs::read_to_string(Path::new(&value)) {
                Ok(text) => text.trim_end().to_owned(),
                Err(error) => {
                    let what = format!("the file can't be read: {error}");
                    // Whoever wrote the value itself there would find it in the log.
                    let place = if setting.secret { Place::Variable(variable.clone()) } else { place };
                    faults.push(fault(place, what, "the variable must hold the path of a file with the value"));
                    continue;
                }
            }
        } else {
            value
        };
        found.push((setting, Found { value: setting.kind.read(&text), place }));
    }
    (found, faults)
}

fn unknown(variable: &str, name: &str) -> Fault {
    let invented = OF_KUBERNETES.iter().any(|start| name.starts_with(start));
    let mend = if invented {
        "Kubernetes invents it for a Service named countersign: set enableServiceLinks: false in the pod".to_owned()
    } else {
        let end = if variable.ends_with(OF_FILE) { OF_FILE } else { "" };
        let known = SETTINGS.iter().map(|setting| format!("{}{end}", setting.variable()));
        did_you_mean(variable, known, "docs/configuration.md lists every setting")
    };
    let what = "this environment variable names no setting".to_owned();
    Fault { place: Some(Place::Variable(variable.to_owned())), key: None, what, mend }
}
