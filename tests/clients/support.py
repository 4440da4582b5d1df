"""What the tests of clients for Python share."""

import os
import subprocess
from pathlib import Path

SERVER = os.environ["SERVER_URL"]
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
SECRET = os.environ["TEST_CLIENT_SECRET"]

# Libraries refuse plain HTTP, rightly, except where they are told that it is a test.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"


def approve(uri, *without, person=None, ca=None):
    """Lets the demo person, or `person` (address:password), approve, except for these scopes. `ca`: who vouches for the server."""
    options = [option for scope in without for option in ("--without", scope)]
    _walk(uri, "approve", *options, *(["--person", person] if person else []), ca=ca)


def deny(uri):
    """Lets the demo person deny."""
    _walk(uri, "deny")


def _walk(*arguments, ca=None):
    program = Path(__file__).with_name("approve.mjs")
    environment = os.environ | ({"NODE_EXTRA_CA_CERTS": ca} if ca else {})
    command = ["node", program, *arguments]
    subprocess.run(command, check=True, timeout=90, stdin=subprocess.DEVNULL, env=environment)
