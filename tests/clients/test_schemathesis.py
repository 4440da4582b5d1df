"""PyPI schemathesis: the server answers as docs/openapi.json says, whatever it is asked.

It asks a server of its own: what it guesses would use up the guesses of the people in the other tests."""

import json
import os
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path

import requests

from own_server import ROOT, OwnServer
from support import DEVICE_CODE, SECRET, approve

DOCUMENT = ROOT / "docs" / "openapi.json"

# What random requests must not be expected to get. Unknown parameters are ignored and blank ones absent, so that much that
# the document doesn't name is right; and most that it does name is refused, since codes and tokens can't be guessed.
NOT_CHECKED = "negative_data_rejection,positive_data_acceptance"


class Schemathesis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = OwnServer()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()

    def post(self, path, **fields):
        response = requests.post(self.server.issuer + path, data=fields, timeout=30)
        self.assertEqual(response.status_code, 200, response.text)
        return response.json()

    def ask_for_code(self):
        return self.post("/auth/device/code", client_id="demo-cli", scope="openid email profile offline_access")

    def approved(self):
        code = self.ask_for_code()
        approve(code["verification_uri_complete"])
        return code["device_code"]

    def real_values(self):
        tokens = self.post(
            "/auth/token", grant_type=DEVICE_CODE, client_id="demo-cli", device_code=self.approved()
        )
        return {
            "user_code": self.ask_for_code()["user_code"],
            "device_code": self.approved(),
            "access_token": tokens["access_token"],
            "refresh_token": tokens["refresh_token"],
            "client_secret": SECRET,
        }

    def test_every_answer_is_described(self):
        scene = self.server.scene
        real, answers = scene / "real.json", scene / "answers"
        real.write_text(json.dumps(self.real_values()))
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("schemathesis_hooks.py")),
            "REAL_VALUES": str(real),
            "ANSWERS": str(answers),
        }
        command = [Path(sys.executable).with_name("schemathesis"), "run", DOCUMENT, "--url", self.server.issuer]
        command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "8628", "--workers", "1"]
        command += ["--exclude-checks", NOT_CHECKED, "--continue-on-failure", "--generation-database", "none"]
        command += ["--no-color", "--warnings", "off"]
        run = subprocess.run(
            command, env=environment, cwd=scene, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

        # It met all that the document describes, and not refusals only.
        seen = Counter(answers.read_text().splitlines())
        for path, operations in json.loads(DOCUMENT.read_text())["paths"].items():
            for method in operations:
                self.assertGreater(seen[f"{method.upper()} {path} 200"], 0, seen)
                refused = [line for line in seen if line.startswith(f"{method.upper()} {path} 4")]
                self.assertTrue(refused or path.startswith("/.well-known/"), seen)
