"""A server of its own for tests that would disturb the others at the one that all share."""

import atexit
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import requests

from ports import free_port

ROOT = Path(__file__).resolve().parents[2]


class OwnServer:
    """A `countersign dev` on a port and in a directory of its own, with tests/directory.toml and, if given, another text like it."""

    def __init__(self, toml=None):
        self._directory = self._server = None
        self._toml = toml

    def start(self):
        # What ends a program silently, by default, has to pass through its exits here.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        atexit.register(self.stop)
        self._directory = tempfile.TemporaryDirectory()
        self.scene = Path(self._directory.name)
        # Open to pass through: root's PostgreSQL is another account's and has to get there.
        self.scene.chmod(0o755)
        port = free_port()
        self.issuer = f"http://localhost:{port}"
        command = [os.environ["SERVER_BINARY"], "dev", "--listen", f"127.0.0.1:{port}", "--data-dir", self.scene / "data"]
        command += ["--apply", ROOT / "tests" / "directory.toml"]
        if self._toml is not None:
            (self.scene / "more.toml").write_text(self._toml)
            command += ["--apply", self.scene / "more.toml"]
        with (self.scene / "log").open("w") as log:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()

    def _wait(self):
        for _ in range(600):
            try:
                if requests.get(f"{self.issuer}/.well-known/jwks.json", timeout=5).ok:
                    return
            except (requests.ConnectionError, requests.Timeout):
                pass
            if self._server.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"the server does not start: {self.log()}")

    def log(self):
        return (self.scene / "log").read_text()

    def stop(self):
        """Ends what `start` began, however far it came. That the server would not end by itself is an error."""
        atexit.unregister(self.stop)
        try:
            if self._server is not None:
                self._server.terminate()
                try:
                    self._server.wait(60)
                finally:
                    # Its PostgreSQL ends with it, whichever way it goes.
                    self._server.kill()
                    self._server.wait()
        finally:
            if self._directory is not None:
                self._directory.cleanup()
