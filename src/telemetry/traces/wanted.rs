//! Whether the environment asks for traces (OpenTelemetry's environment variable specification).

use std::collections::HashMap;
use std::time::Duration;

/// Why there are no traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// Nobody asks for any.
    Silence,
    /// Somebody does, for some that there aren't: the variable, and what it may be.
    Impossible(&'static str, &'static str),
}

/// Traces that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How long the collector may take for an answer.
    pub timeout: Duration,
    /// Whether the service's name is set.
    pub named: bool,
}

/// The specification's own.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Wanted {
    /// Reads `OTEL_…`; of other variables nothing.
    pub fn read(environment: impl Iterator<Item = (String, String)>) -> Result<Self, Unwanted> {
        // An empty value is none.
        let set: HashMap<String, String> =
            environment.filter(|(name, value)| name.starts_with("OTEL_") && !value.is_empty()).collect();
        let get = |name: &str| set.get(name).map(String::as_str);
        // What is said of traces counts before what is said of everything.
        let of_traces = |name: &str| {
            get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Unwanted::Silence);
        }
        match get("OTEL_TRACES_EXPORTER") {
            Some("otlp") => {}
            Some("none") => return Err(Unwanted::Silence),
            Some(_) => return Err(Unwanted::Impossible("OTEL_TRACES_EXPORTER", "otlp or none")),
            None if of_traces("ENDPOINT").is_some() => {}
            None => return Err(Unwanted::Silence),
        }
        if of_traces("PROTOCOL").is_some_and(|protocol| protocol != "http/protobuf") {
            return Err(Unwanted::Impossible("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"));
        }
        let timeout = of_traces("TIMEOUT").and_then(|text| text.parse().ok()).map_or(TIMEOUT, Duration::from_millis);
        let attributes = get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let named_there = attributes.split(',').any(|pair| pair.trim_start().starts_with("service.name="));
        Ok(Self { timeout, named: named_there || get("OTEL_SERVICE_NAME").is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Wanted, Unwanted> {
        Wanted::read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn traces_are_told_only_where_they_are_asked_for() {
        for silent in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "login")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("COUNTERSIGN_LISTEN", "127.0.0.1:1"), ("OTEL_TRACES_EXPORTER", "none")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "true")],
        ] {
            assert_eq!(read(silent), Err(Unwanted::Silence), "{silent:?}");
        }
        for asked in
            [&[ENDPOINT][..], &[("OTEL_TRACES_EXPORTER", "otlp")], &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "x")]]
        {
            assert_eq!(read(asked), Ok(Wanted { timeout: TIMEOUT, named: false }), "{asked:?}");
        }
    }

    #[test]
    fn what_there_is_not_is_named() {
        let grpc = [ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert!(matches!(read(&grpc), Err(Unwanted::Impossible("OTEL_EXPORTER_OTLP_PROTOCOL", _))));
        let for_traces = [grpc[0], grpc[1], ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")];
        assert!(read(&for_traces).is_ok());
        let zipkin = [("OTEL_TRACES_EXPORTER", "zipkin")];
        assert!(matches!(read(&zipkin), Err(Unwanted::Impossible("OTEL_TRACES_EXPORTER", _))));
    }

    #[test]
    fn name_and_timeout_are_the_environments() {
        for named in [("OTEL_SERVICE_NAME", "login"), ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=login")] {
            assert!(read(&[ENDPOINT, named]).unwrap().named);
        }
        let timeout = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", "250")]).unwrap().timeout;
        assert_eq!(timeout, Duration::from_millis(250));
    }
}
