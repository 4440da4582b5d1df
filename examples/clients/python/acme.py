"""acme: a tool with device login (RFC 8628), with requests-oauth2client.

    acme login     signs this machine in
    acme token     prints an access token that is valid
    acme whoami    shows who is signed in
    acme logout    signs this machine out
"""

import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import requests
from requests_oauth2client import (
    AccessDenied,
    AuthorizationPending,
    EndpointError,
    ExpiredToken,
    InvalidGrant,
    OAuth2Client,
    OAuth2Error,
    SlowDown,
)

ISSUER = os.environ.get("ACME_ISSUER", "https://login.acme.example")
CLIENT_ID = os.environ.get("ACME_CLIENT_ID", "acme-cli")
SCOPE = "openid email offline_access"
STORE = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "acme" / "tokens.json"


class Trouble(Exception):
    """What the person is told when a command can't do what it should."""


class Session(requests.Session):
    """Nothing waits for ever, and no redirect carries tokens elsewhere."""

    def request(self, method, url, **options):
        options.setdefault("timeout", 30)
        options.setdefault("allow_redirects", False)
        return super().request(method, url, **options)


def discover():
    """The server as it describes itself (RFC 8414): its metadata, and a client for it."""
    session = Session()
    answer = session.get(f"{ISSUER}/.well-known/oauth-authorization-server")
    answer.raise_for_status()
    metadata = answer.json()
    # The library compares the issuer, and takes all addresses from the document but this one.
    client = OAuth2Client.from_discovery_document(
        metadata,
        issuer=ISSUER,
        auth=CLIENT_ID,
        session=session,
        device_authorization_endpoint=metadata["device_authorization_endpoint"],
        testing=ISSUER.startswith("http://localhost"),  # plain HTTP to this machine only
    )
    return metadata, client


def login():
    metadata, client = discover()
    codes = client.authorize_device(scope=SCOPE, device_name=platform.node()[:64])
    if codes.verification_uri_complete:
        tell(f"Open {codes.verification_uri_complete}")
        tell(f"in any browser, and compare the code that it shows: {codes.user_code}")
    else:
        tell(f"Open {codes.verification_uri}")
        tell(f"in any browser, and enter this code: {codes.user_code}")
    keep(poll(metadata, client, codes))
    tell("Signed in.")


def poll(metadata, client, codes):
    interval = codes.interval or 5
    # A server that can hold a poll until the decision says for how long (RFC 7240). Not longer than 20 s: proxies cut.
    wait = min(metadata.get("device_poll_wait_max", 0), 20)
    number, pause, failures = None, interval, 0
    # The server says when a code has expired. Should it not, this ends the wait; two minutes more are for the number.
    while not codes.is_expired(leeway=120):
        time.sleep(pause)
        asked = time.monotonic()
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        try:
            return client.device_code(
                codes, verification_number=number, requests_kwargs={"headers": headers, "timeout": wait + 30}
            )
        except AuthorizationPending as pending:
            failures = 0
            # A poll that was held counts from its start: the time it took needs no waiting again.
            number, pause = None, max(0, interval - (time.monotonic() - asked))
            answer = pending.response.json()
            if answer.get("verification") == "number":
                # Approved, but the page shows a number that has to be typed here.
                number, pause = ask(answer["tries_left"]), 0
        except SlowDown:
            number, interval = None, interval + 5
            pause = interval
        except AccessDenied:
            raise Trouble("the login was denied.") from None
        except ExpiredToken:
            break
        except (requests.RequestException, OAuth2Error) as error:
            response = getattr(error, "response", None)
            if response is not None and response.status_code < 500 and response.status_code != 429:
                raise
            # One poll that failed is not the end: wait, longer each time, and don't ask for it to be held.
            failures = min(failures + 1, 4)
            number, wait, pause = None, 0, interval * 2**failures
    raise Trouble('the code has expired. Run "acme login" again.')


def ask(tries_left):
    tell(f"Type the number that the page shows ({tries_left} tries left): ", end="")
    line = sys.stdin.readline()
    if not line:
        raise Trouble("the server wants a number, and nobody types one.")
    return line.strip() or "none"


def keep(answer, old_refresh_token=None):
    """Writes beside the file first, so that it is replaced as a whole or not at all. mkstemp's mode is 0600."""
    STORE.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    tokens = {
        "access_token": answer.access_token,
        "refresh_token": answer.refresh_token or old_refresh_token,
        "expires_at": int(answer.expires_at.timestamp()),
    }
    descriptor, name = tempfile.mkstemp(dir=STORE.parent)
    try:
        with open(descriptor, "w") as file:
            json.dump(tokens, file)
        os.replace(name, STORE)
    except BaseException:
        os.unlink(name)
        raise
    return tokens


def kept():
    try:
        return json.loads(STORE.read_text())
    except FileNotFoundError:
        raise Trouble('not signed in. Run "acme login".') from None


def fresh():
    """The access token that is kept, or a new one when that is about to expire."""
    tokens = kept()
    if tokens["expires_at"] < time.time() + 60:
        if not tokens["refresh_token"]:
            raise Trouble('the access has expired. Run "acme login" again.')
        _, client = discover()
        try:
            answer = client.refresh_token(tokens["refresh_token"])
        except InvalidGrant as ended:
            STORE.unlink()
            raise Trouble(f'signed out. {ended.description} Run "acme login".') from None
        tokens = keep(answer, tokens["refresh_token"])
    return tokens["access_token"]


def token():
    print(fresh())


def whoami():
    access_token = fresh()
    _, client = discover()
    print(json.dumps(client.userinfo(access_token)))


def logout():
    """Forgets the tokens whether or not the server could be told."""
    tokens = kept()
    STORE.unlink()
    try:
        _, client = discover()
        client.revoke_token(tokens["refresh_token"] or tokens["access_token"])
    except (requests.RequestException, OAuth2Error) as error:
        raise Trouble(f"the tokens are gone from here, but the server could not be told: {error}") from None
    tell("Signed out.")


def tell(line, end="\n"):
    print(line, end=end, file=sys.stderr, flush=True)


def main():
    commands = {"login": login, "token": token, "whoami": whoami, "logout": logout}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: acme login | token | whoami | logout")
    try:
        commands[sys.argv[1]]()
    except Trouble as trouble:
        sys.exit(f"acme: {trouble}")
    except EndpointError as refused:
        sys.exit(f"acme: {refused.description or refused.error}")
    except (requests.RequestException, OAuth2Error, ValueError) as error:
        sys.exit(f"acme: {ISSUER}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
