"""PyPI authsome, by its own flow classes, with the provider file of docs/clients/authsome.md."""

import asyncio
import sys
import unittest
from datetime import timedelta
from pathlib import Path

from authsome.auth.flows.device_code import DeviceCodeFlow
from authsome.auth.models.enums import ConnectionStatus, FlowType
from authsome.auth.models.provider import ProviderDefinition
from authsome.auth.sessions import AuthSession
from authsome.errors import AuthenticationFailedError
from authsome.utils import parse_jsonc, utc_now
import requests

from support import SECRET, SERVER, approve, deny

ROOT = Path(__file__).parents[3]
FILE = ROOT / "examples/clients/authsome/countersign.jsonc"
GUIDE = ROOT / "docs/clients/authsome.md"


def provider(**settings):
    """What authsome makes of the file for this server, as `authsome login acme --base-url` does."""
    definition = ProviderDefinition.model_validate(parse_jsonc(FILE.read_text()))
    for name, value in settings.items():
        setattr(definition.oauth, name, value)
    return definition.resolve_urls(SERVER)


class Login:
    """One `authsome login`, in the two halves that its daemon calls."""

    def __init__(self, client_id, client_secret=None, **settings):
        self.provider = provider(**settings)
        self.client = {"client_id": client_id, "client_secret": client_secret}
        self.session = AuthSession(
            session_id="sess_test", provider="acme", connection_name="default", flow_type="device_code"
        )
        self.flow = DeviceCodeFlow()

    def begin(self):
        asyncio.run(self.flow.begin(self.provider, "ada", "default", self.session, **self.client))
        return self.session.payload["verification_uri_complete"]

    def resume(self):
        return asyncio.run(self.flow.resume(self.provider, "ada", "default", self.session, {}, **self.client)).connection

    def refresh(self, connection):
        return self.flow.refresh(self.provider, connection, **self.client)

    def revoke(self, connection):
        asyncio.run(self.flow.revoke(self.provider, connection, **self.client))


def userinfo(connection):
    headers = {"Authorization": f"{connection.token_type} {connection.access_token}"}
    return requests.get(f"{SERVER}/auth/userinfo", headers=headers, timeout=10)


class Authsome(unittest.TestCase):
    def test_the_guide_shows_the_file(self):
        self.assertIn(f"\n```jsonc\n{FILE.read_text()}```\n", GUIDE.read_text())

    def test_the_file_is_one_that_authsome_registers(self):
        definition = ProviderDefinition.model_validate(parse_jsonc(FILE.read_text())).resolve_urls()
        self.assertEqual(definition.flow, FlowType.DEVICE_CODE)
        oauth = definition.oauth
        for url in (oauth.authorization_url, oauth.device_authorization_url, oauth.token_url, oauth.revocation_url):
            self.assertTrue(url.startswith("https://login.acme.example/"), url)
        # A name that authsome doesn't know is a mistake in writing, which it would not tell.
        self.assertEqual((definition.model_extra, oauth.model_extra, definition.export.model_extra), ({}, {}, {}))

    def test_the_paths_are_those_of_the_metadata(self):
        metadata = requests.get(f"{SERVER}/.well-known/oauth-authorization-server", timeout=10).json()
        oauth = provider().oauth
        self.assertEqual(oauth.authorization_url, metadata["authorization_endpoint"])
        self.assertEqual(oauth.device_authorization_url, metadata["device_authorization_endpoint"])
        self.assertEqual(oauth.token_url, metadata["token_endpoint"])
        self.assertEqual(oauth.revocation_url, metadata["revocation_endpoint"])

    def test_logs_in_refreshes_and_revokes(self):
        login = Login("quick-cli")
        approve(login.begin())
        connection = login.resume()
        self.assertEqual(connection.status, ConnectionStatus.CONNECTED)
        self.assertAlmostEqual(connection.expires_at, utc_now() + timedelta(minutes=15), delta=timedelta(seconds=30))
        self.assertEqual(userinfo(connection).status_code, 200)

        first = connection.access_token, connection.refresh_token
        connection = login.refresh(connection)
        self.assertTrue({connection.access_token, connection.refresh_token}.isdisjoint(first))
        self.assertEqual(userinfo(connection).status_code, 200)

        login.revoke(connection)
        self.assertEqual(userinfo(connection).status_code, 401)
        with self.assertRaises(requests.HTTPError):
            login.refresh(connection)

    def test_names_its_client_by_basic_too(self):
        login = Login("quick-cli", authorization_method="basic")
        approve(login.begin())
        self.assertEqual(userinfo(login.refresh(login.resume())).status_code, 200)

    def test_sees_that_the_person_denied(self):
        login = Login("quick-cli")
        deny(login.begin())
        with self.assertRaisesRegex(AuthenticationFailedError, "denied"):
            login.resume()

    def test_needs_a_public_client(self):
        # It sends no secret when it asks for a code: the guide says so.
        with self.assertRaisesRegex(AuthenticationFailedError, "400"):
            Login("vault", SECRET, scopes=["secrets"]).begin()


if __name__ == "__main__":
    print(f"authsome with Python {sys.version.split()[0]}", file=sys.stderr)
    unittest.main(verbosity=2)
