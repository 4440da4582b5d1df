"""PyPI schemathesis: the administration API answers as /api/v1/openapi.json says, whatever an owner of the installation asks.

It asks a server of its own, as somebody who may do everything: what it makes, changes and deletes is in nobody's way."""

import json
import os
import subprocess
import sys
import unittest
from collections import Counter
from pathlib import Path

import requests

from own_server import OwnServer
from support import DEVICE_CODE, approve

# Their password is that of everybody in tests/directory.toml. `trial` is what deeds are tried on, and who owns `platform` tries.
DIRECTORY = """
[[organization]]
slug = "platform"
mfa = "off"

[[organization.provider]]
slug = "password"
kind = "password"

[[organization.user]]
email = "owner@platform.example"
role = "owner"
password = { env = "TEST_PASSWORD" }

[[organization]]
slug = "trial"
mfa = "off"

[[organization.service]]
slug = "cli"
client_id = "trial-cli"
device_login = true
scopes = { read = "Read your projects" }
default_scopes = ["read"]

[[organization.provider]]
slug = "password"
kind = "password"

[[organization.user]]
email = "ada@trial.example"
password = { env = "TEST_PASSWORD" }
"""
PASSWORD = os.environ["TEST_PASSWORD"]

# What random requests must not be expected to get: what is right by the document may still name something that isn't there, or stand
# against what is (404, 409, 422).
NOT_CHECKED = "positive_data_acceptance"


class Schemathesis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = OwnServer(DIRECTORY)
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()

    def tokens(self, client, scope, person):
        """A device login, approved by somebody."""
        code = self.post("/auth/device/code", client_id=client, scope=scope)
        approve(code["verification_uri_complete"], person=f"{person}:{PASSWORD}")
        return self.post("/auth/token", grant_type=DEVICE_CODE, client_id=client, device_code=code["device_code"])

    def post(self, path, **fields):
        response = requests.post(self.server.issuer + path, data=fields, timeout=30)
        self.assertEqual(response.status_code, 200, response.text)
        return response.json()

    def test_every_answer_is_described(self):
        scene = self.server.scene
        document, real, answers = scene / "openapi.json", scene / "real.json", scene / "answers"
        described = requests.get(f"{self.server.issuer}/api/v1/openapi.json", timeout=30).json()
        document.write_text(json.dumps(described))
        owner = self.tokens("platform-admin-cli", "admin:read admin:write", "owner@platform.example")
        # Devices that may be signed out, and logins that may be denied.
        for _ in range(3):
            self.tokens("trial-cli", "read", "ada@trial.example")
        codes = [self.post("/auth/device/code", client_id="trial-cli") for _ in range(3)]
        self.assertTrue(codes)
        real.write_text(json.dumps({"issuer": self.server.issuer, "token": owner["access_token"]}))
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("schemathesis_administration_hooks.py")),
            "REAL_VALUES": str(real),
            "ANSWERS": str(answers),
        }
        configuration = Path(__file__).with_name("schemathesis_administration.toml")
        command = [Path(sys.executable).with_name("schemathesis"), "--config-file", configuration, "run", document]
        command += ["--url", self.server.issuer]
        command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "4", "--seed", "8628", "--workers", "1"]
        command += ["--exclude-checks", NOT_CHECKED, "--continue-on-failure", "--generation-database", "none"]
        command += ["--max-time", "90", "--no-color", "--warnings", "off"]
        run = subprocess.run(
            command, env=environment, cwd=scene, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

        # It met all that the document describes, and not refusals only.
        seen = Counter(answers.read_text().splitlines())
        for path, operations in described["paths"].items():
            for method in operations:
                met = [line for line in seen if line.startswith(f"{method.upper()} {path} ")]
                self.assertTrue(any(line.split()[2].startswith("2") for line in met), (method, path, seen))
                self.assertTrue(any(line.split()[2].startswith("4") for line in met), (method, path, seen))
        self.assertNotIn("a panic", self.server.log())
        # Whoever asked can go on: nothing that was tried took that away.
        me = requests.get(
            f"{self.server.issuer}/api/v1/organizations",
            headers={"Authorization": f"Bearer {owner['access_token']}"},
            timeout=30,
        )
        self.assertEqual(me.status_code, 200, me.text)
