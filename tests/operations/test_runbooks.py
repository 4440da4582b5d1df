"""The runbooks of docs/operations.md, run as they are written, one after the other on one installation that is in use."""

import threading
import time
import unittest
import urllib.request

from installation import Installation, names
from postgres import programs

# The real one, with something that happens before it and something that happens after it.
PG_DUMP = """#!/bin/sh
set -e
countersign apply {scene}/earlier.toml >/dev/null
{programs}/pg_dump "$@"
countersign apply {scene}/later.toml >/dev/null
"""


class Runbooks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.it = Installation()
        cls.addClassCleanup(cls.it.close)
        cls.it.begin()

    def test_each_is_tried_here(self):
        tried = {"shell", "backup", "restore", "upgrade", "rotate-secret-1", "rotate-secret-2", "rotate-secret-3",
                 "database-password", "client-secret", "signing-keys", "signing-keys-stolen"}
        self.assertEqual(names(), tried)

    def test_what_was_backed_up_is_there_after_the_restore_and_what_came_later_is_not(self):
        it = self.it
        before = it.log_in()
        it.run("backup")
        self.assertRegex((it.scene / "backups/heads").read_text(), r"^\d+:[0-9a-f]{64}\n")
        self.assertNotEqual((it.scene / "backups/database.dump").read_bytes().find(b"PGDMP"), -1)
        after = it.log_in()
        it.postgres.sql("DELETE FROM session", "countersign")
        it.run("restore")
        self.assertEqual(it.refresh(before)[0], 200, "a device that was signed in before the backup goes on")
        status, answer = it.refresh(after)
        self.assertEqual((status, answer["error"]), (400, "invalid_grant"), "the one that came later logs in again")
        self.assertEqual(it.get("/auth/userinfo", it.log_in()["access_token"])[0], 200)
        owns = "SELECT has_table_privilege('countersign_server', 'audit_event', 'UPDATE')"
        self.assertEqual(it.postgres.sql(owns, "countersign"), "f", "two roles, as before")

    def test_what_happens_while_a_backup_is_made_is_no_loss(self):
        it = self.it
        for slug in ["earlier", "later"]:
            (it.scene / f"{slug}.toml").write_text(f'[[organization]]\nslug = "{slug}"\n')
        program = it.scene / "bin/pg_dump"
        program.unlink()
        self.addCleanup(lambda: (program.unlink(), program.symlink_to(programs() / "pg_dump")))
        program.write_text(PG_DUMP.format(scene=it.scene, programs=programs()))
        program.chmod(0o755)
        it.run("backup")
        it.run("restore")
        there = "SELECT string_agg(slug, ' ') FROM organization WHERE slug IN ('earlier', 'later')"
        self.assertEqual(it.postgres.sql(there, "countersign"), "earlier")
        it.log_in()

    def test_a_broken_chain_ends_the_backup_before_it_overwrites_anything(self):
        it = self.it
        it.log_in()
        it.run("backup")
        before = {name: (it.scene / "backups" / name).read_bytes() for name in ["heads", "database.dump"]}
        # An event that somebody took out of the middle.
        it.postgres.sql("SET session_replication_role = replica; DELETE FROM audit_event WHERE id = ("
                        "SELECT event_id FROM audit_link l WHERE position = 2 AND EXISTS (SELECT FROM audit_link "
                        "WHERE organization_id = l.organization_id AND position > 2) LIMIT 1)", "countersign")
        it.run("backup", expected=1)
        self.assertIn("BROKEN at position 2", (it.scene / "backups/audit").read_text())
        after = {name: (it.scene / "backups" / name).read_bytes() for name in before}
        self.assertEqual(after, before)
        it.run("restore")
        it.run("backup")

    def test_an_audit_that_was_pruned_is_backed_up_and_restored(self):
        it = self.it
        it.log_in()
        # Whatever has happened has its position now.
        it.sh("countersign audit export > /dev/null")
        # As retention does it, which takes 90 days at least: the oldest event of each chain that has others, with its link.
        it.postgres.sql("SET session_replication_role = replica; "
                        "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_link l WHERE position = 1 AND EXISTS ("
                        "SELECT FROM audit_link WHERE organization_id = l.organization_id AND position > 1)); "
                        "DELETE FROM audit_link WHERE NOT EXISTS (SELECT FROM audit_event WHERE id = event_id)", "countersign")
        it.run("backup")
        self.assertIn("the chain begins at position 2", (it.scene / "backups/audit").read_text())
        it.run("restore")
        it.log_in()

    def test_a_new_database_whose_schema_is_the_superusers_is_given_to_the_owner(self):
        # As in PostgreSQL 14, whatever version this is: new databases are like this one.
        it = self.it
        was = it.postgres.sql("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'public'", "template1")
        self.addCleanup(it.postgres.sql, f"ALTER SCHEMA public OWNER TO {was}; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                        "template1")
        it.postgres.sql("ALTER SCHEMA public OWNER TO postgres; GRANT CREATE ON SCHEMA public TO PUBLIC", "template1")
        it.run("backup")
        it.run("restore")
        it.log_in()
        may = "SELECT has_schema_privilege('countersign_server', 'public', 'CREATE')"
        self.assertEqual(it.postgres.sql(may, "countersign"), "f")

    def test_an_older_program_leaves_a_newer_database_alone_and_the_backup_brings_it_back(self):
        it = self.it
        it.run("backup")
        # What a newer program leaves behind.
        newer = ("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
                 "VALUES (99991231000000, 'newer', true, '\\x00', 0)")
        it.postgres.sql(newer, "countersign")
        said = len(it.log())
        it.sh("systemctl restart countersign\nfor i in $(seq 300); do systemctl is-active countersign || exit 0; sleep 0.1; "
              "done\nexit 9")
        self.assertIn("was previously applied but is missing", it.log()[said:])
        it.run("restore")
        it.log_in()

    def test_an_upgrade_refuses_nobody(self):
        it, over, failed, answered = self.it, threading.Event(), [], []

        def ask():
            while not over.is_set():
                try:
                    # A connection of its own each time.
                    with urllib.request.urlopen(f"{it.issuer}/.well-known/jwks.json", timeout=30) as answer:
                        answered.append(answer.status)
                except OSError as error:
                    failed.append(error)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        before = len(answered)
        said = it.run("upgrade")
        time.sleep(0.3)
        over.set()
        for client in clients:
            client.join()
        self.assertEqual((failed, set(answered)), ([], {200}))
        self.assertGreater(len(answered), before)
        self.assertEqual(said.count("countersign "), 2)
        self.assertIn("install --yes ./countersign.deb", (it.scene / "installed").read_text())

    def test_the_old_secret_is_taken_away_and_nobody_is_signed_out(self):
        it = self.it
        tokens = it.log_in()
        _, codes = it.post("/auth/device/code", client_id="acme-cli")
        secrets = it.scene / "etc/secrets"
        old = (secrets / "installation").read_text().strip()
        it.run("rotate-secret-1")
        self.assertEqual((secrets / "installation").read_text().strip().split(",")[0], old)
        self.assertEqual(it.agent("the agent's first secret"), "codes")
        said = it.run("rotate-secret-2")
        self.assertEqual((secrets / "installation").read_text().strip().split(",")[1], old)
        self.assertRegex(said, r"signing keys +[1-9][0-9]* sealed again")
        self.assertIn("secrets at providers    1 sealed again", said)
        self.assertIn("client_secret: the same, under the newer secret", said)
        # Whoever began before goes on, and is the new secret's from then on.
        status, pending = it.post("/auth/token", client_id="acme-cli", device_code=codes["device_code"],
                                  grant_type="urn:ietf:params:oauth:grant-type:device_code")
        self.assertEqual((status, pending["error"]), (400, "authorization_pending"))
        status, tokens = it.refresh(tokens)
        self.assertEqual(status, 200)
        said = it.run("rotate-secret-3")
        self.assertIn("signing keys            0 sealed again", said)
        self.assertNotIn(old, (secrets / "installation").read_text())
        self.assertEqual(it.refresh(tokens)[0], 200)
        self.assertEqual(it.agent("the agent's first secret"), "codes")
        it.log_in()
        self.assertIn("nothing to change", it.sh("countersign apply /etc/countersign/directory.toml"))
        # The seals of the time before are the old secret's.
        it.sh("countersign audit verify --pruned", expected=1)
        it.sh(f'COUNTERSIGN_SECRETS="$(cat /etc/countersign/secrets/installation),{old}"\n'
              "unset COUNTERSIGN_SECRETS_FILE\nexport COUNTERSIGN_SECRETS\ncountersign audit verify --pruned")
        # Backups need no seals.
        it.run("backup")
        it.run("restore")
        self.assertEqual(it.get("/auth/userinfo", it.log_in()["access_token"])[0], 200)

    def test_the_database_knows_another_password(self):
        it = self.it
        tokens = it.log_in()
        it.run("database-password")
        url = (it.scene / "etc/secrets/database-url").read_text()
        self.assertNotIn(":first@", url)
        self.assertNotIn(url.split(":")[2].split("@")[0], (it.scene / "postgresql.log").read_text())
        self.assertEqual(it.refresh(tokens)[0], 200)
        it.log_in()

    def test_a_client_has_another_secret(self):
        it = self.it
        old = (it.scene / "etc/secrets/acme-agent").read_text().strip()
        self.assertEqual(it.agent(old), "codes")
        self.assertIn("client_secret: changed", it.run("client-secret"))
        # The server hears of it a moment later.
        for _ in range(30):
            if it.agent(old) == "invalid_client":
                break
            time.sleep(1)
        self.assertEqual(it.agent(old), "invalid_client")
        new = (it.scene / "etc/secrets/acme-agent").read_text().strip()
        self.assertEqual(it.agent(new), "codes")
        (it.scene / "etc/secrets/acme-agent").write_text("the agent's first secret\n")
        it.sh("countersign apply /etc/countersign/directory.toml")

    def test_signing_keys_are_rotated_and_stolen_ones_refused(self):
        it = self.it
        tokens = it.log_in()
        said = it.run("signing-keys")
        self.assertEqual((said.count("signing "), said.count("published ")), (3, 3))
        self.assertEqual(it.get("/auth/userinfo", tokens["access_token"])[0], 200)
        it.run("signing-keys-stolen")
        # By themselves servers notice within a minute.
        it.sh("systemctl restart countersign\nuntil countersign health --ready; do sleep 0.2; done")
        self.assertEqual(it.get("/auth/userinfo", tokens["access_token"])[0], 401)
        self.assertEqual(it.refresh(tokens)[0], 200, "the device goes on")
        # And once more, while those that were retired are in the list.
        listed = it.sh("countersign keys list")
        self.assertGreaterEqual(listed.count(" retired "), 3)
        it.run("signing-keys-stolen")
        again = it.sh("countersign keys list")
        self.assertEqual((again.count(" signing "), again.count(" verifying ")), (3, 0))
        self.assertGreaterEqual(again.count(" retired "), listed.count(" retired ") + 3)
        it.sh("systemctl restart countersign\nuntil countersign health --ready; do sleep 0.2; done")
        it.log_in()


if __name__ == "__main__":
    unittest.main()
