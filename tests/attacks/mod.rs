//! One file per attack: its name, what the attacker has, and what must happen. `docs/security.md` maps the threats of
//! RFC 8628 §5 and the mitigations of RFC 10027 to these files.

mod approved_by_deception;
