//! The mail server: everything but a mail, unless one is asked for.

use crate::clock::Clock;
use crate::config::Config;
use crate::notice::mail::Mailer;

use super::super::opening;
use super::finding::{Finding, Outcome, Verdict};

const MAIL: &str = "mail";
const SENT: &str = "test mail";

pub(super) async fn look(config: &Config, clock: &Clock, send_mail_to: Option<&str>) -> Vec<Finding> {
    let mailer = match opening::mailer(config) {
        Ok(Mailer::None) => {
            let mut findings = vec![Verdict::skipped("mail.smtp is not set: nobody gets a mail").of(MAIL)];
            let asked = send_mail_to.map(|_| {
                Verdict::failure("there is no mail server to send it", "set mail.smtp and mail.from").of(SENT)
            });
            findings.extend(asked);
            return findings;
        }
        Ok(mailer) => mailer,
        Err(error) => {
            let mend = "correct mail.smtp and mail.from: countersign config check";
            return vec![Verdict::failure(error.to_string(), mend).of(MAIL)];
        }
    };
    let verdict = match mailer.greet().await {
        Ok(()) => Verdict::ok("the mail server takes this program; nothing was sent"),
        Err(says) => {
            let mend = mend(&says);
            Verdict::failure(says, mend)
        }
    };
    let greeted = verdict.outcome == Outcome::Ok;
    let mut findings = vec![verdict.of(MAIL)];
    match send_mail_to {
        Some(address) if greeted => findings.push(send(&mailer, config, clock, address).await.of(SENT)),
        Some(_) => findings.push(Verdict::skipped("the mail server doesn't take this program").of(SENT)),
        None => {}
    }
    findings
}

async fn send(mailer: &Mailer, config: &Config, clock: &Clock, address: &str) -> Verdict {
    match mailer.send_test(&config.public_url, clock.now(), address).await {
        Ok(()) => {
            Verdict::ok(format!("the mail server took a mail to {address}: look whether it arrives, and not as spam"))
        }
        Err(says) => {
            let mend = mend(&says);
            Verdict::failure(says, mend)
        }
    }
}

/// What helps against what the mailer says.
fn mend(says: &str) -> &'static str {
    let code = says.rsplit_once("answered ").map(|(_, code)| code);
    match code {
        Some("530" | "535" | "534" | "538") => "correct user and password in mail.smtp, percent-encoded (@ is %40)",
        Some("550" | "553" | "554") => "let the mail server send for mail.from and to this address",
        Some(_) => "look at the mail server's log: it refuses this program",
        None if says.contains("TLS") => {
            "give the mail server a certificate of a public CA with its name, and that name to mail.smtp"
        }
        None if says.contains("offers no way") => {
            "use smtps:// (port 465), or have the mail server offer STARTTLS, and a login if mail.smtp has one"
        }
        None => {
            "look at host and port of mail.smtp (smtps:// is 465, smtp:// is 587), and let this machine through (firewall)"
        }
    }
}
