//! For which APIs tokens are asked (RFC 8707): `resource`, which may stand several times.
//!
//! Clients that were written for other servers say `audience` instead. It counts where it names a resource that could be
//! asked for, and is ignored otherwise, because those clients send it to servers that never heard of it, too.

use crate::http::oauth_error::OAuthError;
use crate::http::parameters::Parameters;

/// The resources that a request asks for, each once, all of which are among those that it may.
pub fn asked(parameters: &Parameters, may: &[String]) -> Result<Vec<String>, OAuthError> {
    let mut resources: Vec<String> = Vec::new();
    for resource in parameters.all("resource") {
        if !may.iter().any(|known| known == resource) {
            let shown: String =
                resource.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).take(80).collect();
            return Err(OAuthError::invalid_target(format!(
                "No token for the resource {shown} can be asked for here."
            )));
        }
        resources.push(resource.to_owned());
    }
    let known = parameters.all("audience").filter(|audience| may.iter().any(|known| known == audience));
    resources.extend(known.map(str::to_owned));
    let mut seen = Vec::new();
    resources.retain(|resource| {
        let new = !seen.contains(resource);
        seen.push(resource.clone());
        new
    });
    Ok(resources)
}

/// The resources of one access token: those that were granted, or fewer when fewer are asked (RFC 8707 §2.2).
pub fn narrowed(parameters: &Parameters, granted: &[String]) -> Result<Vec<String>, OAuthError> {
    let asked = asked(parameters, granted)?;
    Ok(if asked.is_empty() { granted.to_vec() } else { asked })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Fields;

    fn narrow(body: &str, granted: &[&str]) -> Result<Vec<String>, &'static str> {
        let parameters = Fields::from_form(body.as_bytes()).unwrap().try_into().unwrap();
        let granted: Vec<String> = granted.iter().map(|&text| text.to_owned()).collect();
        narrowed(&parameters, &granted).map_err(|error| error.error())
    }

    #[test]
    fn fewer_may_be_asked_and_others_not() {
        assert_eq!(narrow("", &["urn:a", "urn:b"]).unwrap(), ["urn:a", "urn:b"]);
        assert_eq!(narrow("resource=urn:b&resource=urn:b", &["urn:a", "urn:b"]).unwrap(), ["urn:b"]);
        assert_eq!(narrow("resource=urn:c", &["urn:a"]), Err("invalid_target"));
        assert_eq!(narrow("resource=urn:a&resource=urn:c", &["urn:a"]), Err("invalid_target"));
        assert_eq!(narrow("resource=urn:a", &[]), Err("invalid_target"));
        assert_eq!(narrow("audience=urn:b&audience=else", &["urn:a", "urn:b"]).unwrap(), ["urn:b"]);
        assert_eq!(narrow("audience=else", &["urn:a"]).unwrap(), ["urn:a"]);
    }
}
