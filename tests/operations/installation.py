"""An installation as the runbooks of docs/operations.md find one: files where the Debian package has them, a PostgreSQL with two
roles, a server that `systemctl` starts on a socket that it holds. Commands run as they stand in the document; only the directories
are others."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode

from ports import free_port
from postgres import BINARY, ROOT, Postgres, directory, programs

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
PASSWORD = "correct-horse-battery-staple"

DIRECTORY = """
[[organization]]
slug = "acme"
name = "Acme"
mfa = "off"

[[organization.service]]
slug = "cli"
client_id = "acme-cli"
device_login = true
refresh = "always"
interval = 1

[[organization.service]]
slug = "agent"
client_id = "acme-agent"
client_secret = { file = "secrets/acme-agent" }
device_login = true

[[organization.provider]]
slug = "password"
kind = "password"

[[organization.provider]]
slug = "sso"
kind = "google"
client_id = "acme"
client_secret = { file = "secrets/acme-sso" }

[[organization.user]]
email = "ada@acme.example"
password = { file = "secrets/ada" }
"""

# What stands in for systemd: one service, on the socket that is this script's third file.
SYSTEMCTL = r"""#!/bin/bash
set -u
run={scene}/run
stop() {
    [ -e $run/pid ] || return 0
    kill -TERM "$(cat $run/pid)" 2>/dev/null
    while kill -0 "$(cat $run/pid)" 2>/dev/null; do sleep 0.05; done
    rm $run/pid
}
start() {
    set -a; . {scene}/etc/countersign.env; set +a
    unset COUNTERSIGN_CONFIG
    LISTEN_FDS=1 setsid bash -c 'LISTEN_PID=$BASHPID exec countersign serve --config {scene}/etc/countersign.toml' \
        </dev/null >>{scene}/log 2>&1 &
    echo $! > $run/pid
}
[ "$2" = countersign ] || exit 5
case "$1" in
    restart) stop; start ;;
    stop) stop ;;
    start) start ;;
    is-active) kill -0 "$(cat $run/pid)" 2>/dev/null ;;
    *) exit 4 ;;
esac
"""

# Whoever becomes postgres there may do everything, and here knows the superuser's password.
SUDO = """#!/bin/sh
[ "$1 $2" = "-u postgres" ] || exit 1
shift 2
exec env {environment} "$@"
"""

APT_GET = """#!/bin/sh
echo "$@" >> {scene}/installed
"""


def runbook(name):
    """The commands of a runbook."""
    text = (ROOT / "docs/operations.md").read_text()
    blocks = re.findall(rf"^```sh runbook={re.escape(name)}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        raise AssertionError(f"{len(blocks)} runbooks are called {name}")
    return blocks[0]


def names():
    """Every runbook that there is."""
    text = (ROOT / "docs/operations.md").read_text()
    return set(re.findall(r"^```sh runbook=(\S+)$", text, flags=re.MULTILINE))


def patiently(send):
    """What is answered at last: on a machine with much else to do the database may be away for a moment, and Retry-After means it."""
    for _ in range(30):
        status, answer = send()
        if status != 503:
            break
        time.sleep(1)
    return status, answer


class Installation:
    def __init__(self):
        self.scene = directory()
        self.socket = socket.socket()
        # Also where it is the third file already.
        self.socket.set_inheritable(True)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(512)
        self.port = self.socket.getsockname()[1]
        self.issuer = f"http://localhost:{self.port}"
        for name in ["etc", "etc/secrets", "backups", "run", "bin", "data"]:
            (self.scene / name).mkdir()
        self.postgres = Postgres(self.scene, "postgres", "scram-sha-256", "the superuser's")
        for role in ["countersign", "countersign_server"]:
            self.postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
        for statement in ["CREATE DATABASE countersign OWNER countersign",
                          "REVOKE ALL ON DATABASE countersign FROM PUBLIC",
                          "GRANT CONNECT ON DATABASE countersign TO countersign_server"]:
            self.postgres.sql(statement)
        secret = b64encode(os.urandom(32)).decode()
        for name, text in {
            "secrets/installation": secret,
            "secrets/database-url": self.postgres.url("countersign_server", "first"),
            "secrets/database-owner-url": self.postgres.url("countersign", "first"),
            "secrets/acme-agent": "the agent's first secret",
            "secrets/acme-sso": "our secret at the provider",
            "secrets/ada": PASSWORD,
            "directory.toml": DIRECTORY,
            "countersign.toml": f'public_url = "{self.issuer}"\ndata_dir = "{self.scene}/data"\n'
                                f'[telemetry]\nlisten = "127.0.0.1:{free_port()}"\n',
        }.items():
            (self.scene / "etc" / name).write_text(text + "\n")
        # As the package has it, with its examples taken up.
        environment = (ROOT / "packaging/debian/countersign.env").read_text()
        environment = re.sub(r"^#(?=COUNTERSIGN_)", "", environment, flags=re.MULTILINE)
        (self.scene / "etc/countersign.env").write_text(self.here(environment))
        superuser = " ".join(f"{name}='{value}'" if "'" not in value else f'{name}="{value}"'
                             for name, value in self.postgres.environment().items())
        for name, text in {"systemctl": SYSTEMCTL, "sudo": SUDO, "apt-get": APT_GET}.items():
            program = self.scene / "bin" / name
            program.write_text(text.replace("{scene}", str(self.scene)).replace("{environment}", superuser))
            program.chmod(0o755)
        (self.scene / "bin/countersign").symlink_to(BINARY)
        for name in ["psql", "pg_dump", "pg_restore"]:
            (self.scene / "bin" / name).symlink_to(programs() / name)

    def begin(self):
        """Starts the server, and applies the directory."""
        self.sh("systemctl start countersign\nuntil countersign health --ready; do sleep 0.2; done\n"
                "countersign apply /etc/countersign/directory.toml")

    def here(self, text):
        """The same with the directories of this scene."""
        text = text.replace("/etc/countersign", f"{self.scene}/etc")
        return text.replace("/var/backups/countersign", f"{self.scene}/backups")

    def run(self, name, expected=0):
        """Runs a runbook, and gives what it said."""
        return self.sh(runbook(name), expected)

    def sh(self, commands, expected=0):
        """Runs commands as somebody at their shell does, after what every runbook begins with."""
        keep = {"PATH": f"{self.scene}/bin:{os.environ['PATH']}", "HOME": str(self.scene), "LC_ALL": "C"}
        script = self.here(runbook("shell") + commands)

        def hand_over():
            os.dup2(self.socket.fileno(), 3)

        done = subprocess.run(["bash", "-c", script], env=keep, cwd=self.scene, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                              preexec_fn=hand_over, close_fds=False)
        if done.returncode != expected:
            raise AssertionError(f"{script}\n{done.returncode}: {done.stdout}{done.stderr}\n{self.log()[-3000:]}")
        return done.stdout

    def log(self):
        path = self.scene / "log"
        return path.read_text() if path.exists() else ""

    def post(self, path, **form):
        """A form, as OAuth clients send it: the status and the answer."""
        request = urllib.request.Request(self.issuer + path, urllib.parse.urlencode(form).encode())
        status, answer = patiently(lambda: self.send(request))
        return status, json.loads(answer)

    def get(self, path, token=None):
        request = urllib.request.Request(self.issuer + path)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        return patiently(lambda: self.send(request))

    def send(self, request):
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def log_in(self):
        """A whole login of Ada's: the tokens."""
        status, codes = self.post("/auth/device/code", client_id="acme-cli", scope="openid")
        assert status == 200, codes
        approve = ROOT / "tests/clients/approve.mjs"
        person = f"ada@acme.example:{PASSWORD}"
        walk = ["node", approve, codes["verification_uri_complete"], "approve", "--person", person]
        # A page that says to try again is tried again.
        if subprocess.run(walk, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode != 0:
            time.sleep(3)
            subprocess.run(walk, check=True, stdin=subprocess.DEVNULL, timeout=60)
        status, tokens = self.post("/auth/token", client_id="acme-cli", grant_type=DEVICE_CODE,
                                   device_code=codes["device_code"])
        assert status == 200, tokens
        return tokens

    def refresh(self, tokens):
        """The next tokens, or what was said instead."""
        return self.post("/auth/token", client_id="acme-cli", grant_type="refresh_token",
                         refresh_token=tokens["refresh_token"])

    def agent(self, secret):
        """What the confidential client is told with this secret: "codes", or the error."""
        _, answer = self.post("/auth/device/code", client_id="acme-agent", client_secret=secret)
        return answer.get("error", "codes")

    def close(self):
        self.sh("systemctl stop countersign")
        self.postgres.stop()
        self.socket.close()
        shutil.rmtree(self.scene)
