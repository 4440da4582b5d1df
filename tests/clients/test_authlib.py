"""PyPI Authlib."""

import unittest

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from support import DEVICE_CODE, SECRET, SERVER, approve, deny

TOKEN = f"{SERVER}/auth/token"


def ask_for_code(client_id, scope, secret=None):
    """Authlib has no request of its own for a code; its documentation posts one, as this does."""
    session = OAuth2Session(client_id, secret)
    fields = {"client_id": client_id, "scope": scope} | ({"client_secret": secret} if secret else {})
    response = session.post(f"{SERVER}/auth/device/code", data=fields, withhold_token=True)
    response.raise_for_status()
    return session, response.json()


def poll(session, code):
    return session.fetch_token(TOKEN, grant_type=DEVICE_CODE, device_code=code["device_code"])


class Authlib(unittest.TestCase):
    def assert_answers(self, session, code, error):
        with self.assertRaises(OAuthError) as raised:
            poll(session, code)
        self.assertEqual(raised.exception.error, error)
        self.assertTrue(raised.exception.description)

    def test_logs_in(self):
        session, code = ask_for_code("quick-cli", "openid read")
        self.assert_answers(session, code, "authorization_pending")
        approve(code["verification_uri_complete"])
        token = poll(session, code)
        self.assertEqual(token["scope"], "openid read")
        self.assertFalse(token.is_expired())
        self.assert_answers(session, code, "invalid_grant")

    def test_logs_a_confidential_client_in(self):
        session, code = ask_for_code("vault", "secrets", SECRET)
        approve(code["verification_uri_complete"])
        self.assertEqual(poll(session, code)["scope"], "secrets")

    def test_sees_that_the_person_denied(self):
        session, code = ask_for_code("quick-cli", "read")
        deny(code["verification_uri_complete"])
        self.assert_answers(session, code, "access_denied")
