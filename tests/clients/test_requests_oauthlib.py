"""PyPI requests-oauthlib with oauthlib's DeviceClient, which authenticates as Basic with an empty password."""

import time
import unittest

from oauthlib.oauth2 import AccessDeniedError, DeviceClient, OAuth2Error
from requests_oauthlib import OAuth2Session

from support import SECRET, SERVER, approve, deny

TOKEN = f"{SERVER}/auth/token"


class Session(OAuth2Session):
    """A session that remembers how it authenticated."""

    def request(self, *arguments, **options):
        response = super().request(*arguments, withhold_token=True, **options)
        self.sent = response.request
        return response


def ask_for_code(client_id, scope, auth=None):
    session = Session(client=DeviceClient(client_id))
    fields = {"scope": scope} if auth else {"client_id": client_id, "scope": scope}
    response = session.post(f"{SERVER}/auth/device/code", data=fields, auth=auth)
    response.raise_for_status()
    return session, response.json()


def poll(session, code, **options):
    # The client id is not in the body: it is in the Authorization header alone, with an empty password.
    return session.fetch_token(TOKEN, device_code=code["device_code"], **options)


# Asked for when this file is loaded, so that it expires while the other tests run.
BRIEF = ask_for_code("brief-cli", "read")
BRIEF_ENDS = time.monotonic() + BRIEF[1]["expires_in"]


class RequestsOauthlib(unittest.TestCase):
    def poll_until(self, session, code, error):
        with self.assertRaises(OAuth2Error) as raised:
            poll(session, code)
        self.assertEqual(raised.exception.error, error)
        self.assertTrue(raised.exception.description)
        return raised.exception

    def test_logs_in_with_an_empty_password(self):
        session, code = ask_for_code("quick-cli", "openid read deploy offline_access")
        self.poll_until(session, code, "authorization_pending")
        self.assertEqual(session.sent.headers["Authorization"], "Basic cXVpY2stY2xpOg==")
        self.assertNotIn("client_id", session.sent.body)
        approve(code["verification_uri_complete"])
        time.sleep(code["interval"])
        token = poll(session, code)
        self.assertEqual(token["token_type"], "Bearer")
        self.assertEqual(set(token["scope"]), {"openid", "read", "deploy", "offline_access"})
        self.assertTrue(token["refresh_token"].startswith("csr_"))
        self.assertAlmostEqual(token["expires_at"], time.time() + 900, delta=30)

    def test_logs_in_with_its_name_in_the_body_too(self):
        session, code = ask_for_code("quick-cli", "read")
        approve(code["verification_uri_complete"])
        self.assertEqual(poll(session, code, include_client_id=True)["scope"], ["read"])

    def test_logs_a_confidential_client_in(self):
        session, code = ask_for_code("vault", "secrets", auth=("vault", SECRET))
        approve(code["verification_uri_complete"])
        # Without its secret it gets nothing, and the code is not spent.
        self.poll_until(session, code, "invalid_client")
        self.assertEqual(poll(session, code, client_secret=SECRET)["scope"], ["secrets"])

    def test_sees_that_the_person_denied(self):
        session, code = ask_for_code("quick-cli", "read")
        deny(code["verification_uri_complete"])
        self.assertIsInstance(self.poll_until(session, code, "access_denied"), AccessDeniedError)

    def test_sees_that_a_code_expired(self):
        time.sleep(max(0.0, BRIEF_ENDS + 0.5 - time.monotonic()))
        self.poll_until(*BRIEF, "expired_token")
