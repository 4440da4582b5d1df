"""What schemathesis is told besides the document: at every other request codes, clients and tokens that are real, so that it
meets more than refusals. Loaded by the schemathesis that test_schemathesis.py starts."""

import itertools
import json
import os
from collections import defaultdict
from pathlib import Path

import schemathesis

REAL = json.loads(Path(os.environ["REAL_VALUES"]).read_text())
ANSWERS = Path(os.environ["ANSWERS"])
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

_turns = defaultdict(itertools.count)


def _polls_and_refreshes():
    """One login that was approved, then refreshes of another, each with the token that the one before was answered."""
    yield {"grant_type": DEVICE_CODE, "client_id": "demo-cli", "device_code": REAL["device_code"]}
    while True:
        yield {"grant_type": "refresh_token", "client_id": "demo-cli", "refresh_token": REAL["refresh_token"]}


_token_requests = _polls_and_refreshes()
_REQUESTS = {
    "/auth/device/code": lambda: {"client_id": "demo-cli", "scope": "openid read"},
    "/auth/device/verify": lambda: {"user_code": REAL["user_code"]},
    "/auth/token": lambda: next(_token_requests),
    "/auth/revoke": lambda: {"client_id": "demo-cli", "token": "none that is known"},
    "/auth/introspect": lambda: {
        "client_id": "demo-api",
        "client_secret": REAL["client_secret"],
        "token": REAL["access_token"],
    },
}


@schemathesis.hook
def before_call(context, case, kwargs):
    request = _REQUESTS.get(case.operation.path)
    if request is None or not isinstance(case.body, dict) or next(_turns[case.operation.path]) % 2:
        return
    case.body = request()
    for name in ("Authorization", "DPoP", "Prefer"):
        case.headers.pop(name, None)


@schemathesis.auth().apply_to(path="/auth/userinfo")
class AccessToken:
    def get(self, case, context):
        return REAL["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def after_call(context, case, response):
    with ANSWERS.open("a") as answers:
        answers.write(f"{case.method.upper()} {case.operation.path} {response.status_code}\n")
    # Other methods are tried as well: OPTIONS is answered for browsers (CORS), without a body.
    if (case.method.upper(), case.operation.path, response.status_code) == ("POST", "/auth/token", 200):
        REAL["refresh_token"] = response.json().get("refresh_token", REAL["refresh_token"])
