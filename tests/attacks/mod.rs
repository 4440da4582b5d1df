//! One file per attack: its name, what the attacker has, and what must happen. `docs/security.md` maps the threats of
//! RFC 8628 §5 and the mitigations of RFC 10027 to these files.

mod rewriting_the_audit;
mod flood_of_sign_ins;
mod guessing_one_time_passwords;
mod password_spraying;
mod guessing_user_codes;
mod stale_proof;
