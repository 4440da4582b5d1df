"""What schemathesis is told besides the document of the administration API. Loaded by the schemathesis that
test_schemathesis_administration.py starts.

Random names meet nothing but 404. So every other request that isn't meant to be wrong is about something that is there, which was made
for it: an organization to be deleted, somebody to be locked, a key that signs nothing yet to be retired. That leaves alone what the
others need: the organization `platform`, the person who asks, their session, and the keys that signed their token."""

import itertools
import json
import os
from collections import defaultdict
from pathlib import Path

import requests
import schemathesis
from schemathesis.generation import GenerationMode

REAL = json.loads(Path(os.environ["REAL_VALUES"]).read_text())
ANSWERS = Path(os.environ["ANSWERS"])
API = f"{REAL['issuer']}/api/v1"
TRIAL = {"organization": "trial"}

_turns = defaultdict(itertools.count)
_numbers = itertools.count()


def ask(method, path, body=None):
    headers = {"Authorization": f"Bearer {REAL['token']}", "If-Match": "*"}
    response = requests.request(method, API + path, json=body, headers=headers, timeout=30)
    response.raise_for_status()
    return response.json() if response.content else None


def fresh(word):
    return f"{word}-{next(_numbers)}"


def organization():
    return {"organization": ask("POST", "/organizations", {"slug": fresh("org"), "name": "Org"})["slug"]}


def service(**more):
    body = {"slug": fresh("service"), "device_login": True, "scopes": [{"name": "read", "text": "Read"}]} | more
    return TRIAL | {"service": ask("POST", "/organizations/trial/services", body)["slug"]}


def provider():
    body = {"slug": fresh("sso"), "kind": "github", "client_id": "countersign", "client_secret": fresh("secret")}
    return TRIAL | {"provider": ask("POST", "/organizations/trial/providers", body)["slug"]}


def webhook_url():
    # Nobody listens there, and a trial says so at once.
    return f"http://127.0.0.1:9/{fresh('hook')}"


def webhook():
    return TRIAL | {"webhook": ask("POST", "/organizations/trial/webhooks", {"url": webhook_url()})["id"]}


def user():
    made = ask("POST", "/organizations/trial/users", {"email": f"{fresh('user')}@trial.example", "mail": False})
    return TRIAL | {"user": made["id"]}


def file():
    slug = fresh("org")
    return f'[[organization]]\nslug = "{slug}"\n[[organization.provider]]\nslug = "password"\nkind = "password"\n'


def first(path, name):
    return TRIAL | {name: ask("GET", f"/organizations/trial/{path}")["items"][0]["id"]}


def unused_key():
    keys = ask("GET", "/keys")["items"]
    published = [key for key in keys if key["stage"] == "published"]
    if not published:
        published = [key for key in ask("POST", "/keys/rotate")["items"] if key["stage"] == "published"]
    return {"kid": published[0]["kid"]}


def no_unused_keys():
    for key in ask("GET", "/keys")["items"]:
        if key["stage"] == "published":
            ask("POST", f"/keys/{key['kid']}/retire")
    return {}


# What is asked for: the parts of the address, and the body.
REQUESTS = {
    "list_organizations": lambda: ({}, None),
    "create_organization": lambda: ({}, {"slug": fresh("org"), "name": "Org"}),
    "show_organization": lambda: (TRIAL, None),
    "update_organization": lambda: (organization(), {"name": fresh("Org")}),
    "suspend_organization": lambda: (organization(), None),
    "activate_organization": lambda: (organization(), None),
    "delete_organization": lambda: (organization(), None),
    "list_services": lambda: (TRIAL, None),
    "create_service": lambda: (TRIAL, {"slug": fresh("service"), "device_login": True}),
    "show_service": lambda: (service(), None),
    "update_service": lambda: (service(), {"name": fresh("Service")}),
    "delete_service": lambda: (service(), None),
    "rotate_service_secret": lambda: (service(confidential=True), None),
    "list_providers": lambda: (TRIAL, None),
    "create_provider": lambda: (TRIAL, {"slug": fresh("sso"), "kind": "github", "client_id": "c", "client_secret": "s"}),
    "show_provider": lambda: (provider(), None),
    "update_provider": lambda: (provider(), {"name": fresh("Provider")}),
    "delete_provider": lambda: (provider(), None),
    "list_webhooks": lambda: (TRIAL, None),
    "create_webhook": lambda: (TRIAL, {"url": webhook_url()}),
    "show_webhook": lambda: (webhook(), None),
    "update_webhook": lambda: (webhook(), {"events": ["reported"]}),
    "delete_webhook": lambda: (webhook(), None),
    "rotate_webhook_secret": lambda: (webhook(), None),
    "test_webhook": lambda: (webhook(), None),
    "apply_files": lambda: ({}, {"files": [{"name": "new.toml", "text": file()}]}),
    "list_users": lambda: (TRIAL, None),
    "invite_user": lambda: (TRIAL, {"email": f"{fresh('user')}@trial.example"}),
    "show_user": lambda: (user(), None),
    "update_user": lambda: (user(), {"name": fresh("User")}),
    "lock_user": lambda: (user(), None),
    "unlock_user": lambda: (user(), None),
    "reset_mfa": lambda: (user(), None),
    "delete_user": lambda: (user(), None),
    "list_sessions": lambda: (TRIAL, None),
    "revoke_session": lambda: (first("sessions", "session"), None),
    "list_grants": lambda: (TRIAL, None),
    "deny_grant": lambda: (first("grants", "grant"), None),
    "list_events": lambda: (TRIAL, None),
    "show_statistics": lambda: (TRIAL, None),
    "list_keys": lambda: ({}, None),
    "rotate_keys": lambda: (no_unused_keys(), None),
    "retire_key": lambda: (unused_key(), None),
}

# Of these there are a few, and none can be made here.
RARE = {"revoke_session": 3, "deny_grant": 3}


def is_meant_to_be_wrong(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.NEGATIVE


@schemathesis.hook
def before_call(context, case, kwargs):
    name = case.operation.definition.raw.get("operationId")
    if name not in REQUESTS or is_meant_to_be_wrong(case) or case.method.upper() != case.operation.method.upper():
        return
    turn = next(_turns[name])
    if turn % 2 or turn // 2 >= RARE.get(name, turn + 1):
        return
    parts, body = REQUESTS[name]()
    case.path_parameters = parts
    case.query.clear()
    if body is not None:
        case.body = body
        case.media_type = "application/json"
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"


@schemathesis.auth()
class AccessToken:
    def get(self, case, context):
        return REAL["token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def after_call(context, case, response):
    with ANSWERS.open("a") as answers:
        answers.write(f"{case.method.upper()} {case.operation.path} {response.status_code}\n")
