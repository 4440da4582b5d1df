"""What the tests of clients for Python share."""

import os
import subprocess
from pathlib import Path

SERVER = os.environ["SERVER_URL"]
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
SECRET = os.environ["TEST_CLIENT_SECRET"]

# Libraries refuse plain HTTP, rightly, except where they are told that it is a test.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"


def approve(uri, *without):
    """Lets the demo person approve, except for these scopes."""
    _walk(uri, "approve", *(option for scope in without for option in ("--without", scope)))


def deny(uri):
    """Lets the demo person deny."""
    _walk(uri, "deny")


def _walk(*arguments):
    program = Path(__file__).with_name("approve.mjs")
    subprocess.run(["node", program, *arguments], check=True, timeout=30, stdin=subprocess.DEVNULL)
