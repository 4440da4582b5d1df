"""A PostgreSQL of the test's own, on a Unix socket, and what else a server's surroundings are made of."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ["SERVER_BINARY"]).resolve()
IS_ROOT = os.geteuid() == 0


def programs():
    """Where PostgreSQL's programs are: those in PATH, or the newest."""
    found = shutil.which("postgres") or max(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=_version)
    return Path(found).resolve().parent


def _version(path):
    return int(path.split("/")[4])


def as_postgres():
    """The beginning of a command that isn't root, which PostgreSQL refuses to be."""
    if not IS_ROOT:
        return []
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        account = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


def directory():
    """A directory that other accounts can pass through."""
    path = Path(tempfile.mkdtemp(prefix="countersign-operations-"))
    path.chmod(0o755)
    return path


class Postgres:
    """One cluster. `superuser` owns it; authentication is `trust` or needs a password."""

    def __init__(self, scene, superuser, authentication="trust", password="x"):
        self.data, self.sockets, self.superuser, self.password = scene / "cluster", scene / "sockets", superuser, password
        self.sockets.mkdir()
        # As in the image of PostgreSQL: whoever gets there may connect.
        self.sockets.chmod(0o777)
        place = scene / "postgresql"
        place.mkdir()
        place.chmod(0o777)
        secret = scene / "superuser"
        secret.write_text(password)
        secret.chmod(0o644)
        self.data = place / "data"
        initdb = [programs() / "initdb", "-D", self.data, "-U", superuser, "-A", authentication, f"--pwfile={secret}"]
        subprocess.run([*as_postgres(), *initdb, "-E", "UTF8", "--locale=C", "--no-sync"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/")
        command = [programs() / "postgres", "-D", self.data, "-c", "listen_addresses=", "-c", "fsync=off",
                   "-c", f"unix_socket_directories={self.sockets}"]
        self.log = open(scene / "postgresql.log", "w")
        self.process = subprocess.Popen([*as_postgres(), *command], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, cwd="/")
        for _ in range(400):
            if subprocess.run([programs() / "pg_isready", "-q", "-h", self.sockets]).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError("PostgreSQL doesn't start")

    def url(self, role, password):
        host = str(self.sockets).replace("/", "%2F")
        return f"postgres://{role}:{password}@localhost/countersign?host={host}"

    def environment(self):
        """With which PostgreSQL's own programs are the superuser."""
        return {"PGHOST": str(self.sockets), "PGUSER": self.superuser, "PGPASSWORD": self.password}

    def sql(self, text, database="postgres"):
        """Says something as the superuser, and gives the answer."""
        command = [programs() / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", text]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | self.environment())
        return answer.stdout.strip()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.log.close()
