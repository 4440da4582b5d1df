"""PyPI requests_oauth2client: tokens bound to a key (RFC 9449), over TLS, from a server behind a proxy."""

import os
import unittest

import jwskate
import requests
from requests_oauth2client import DPoPKey, DPoPToken, InvalidGrant, OAuth2Client

from support import approve
from tls_front import ServerBehindTls


class BoundOverTls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = ServerBehindTls()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()

    def client(self):
        issuer, session = self.server.issuer, requests.Session()
        # Nothing that is set on this machine counts: REQUESTS_CA_BUNDLE would vouch in place of our CA.
        session.trust_env = False
        session.verify = self.server.ca
        metadata = session.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
        self.assertIn("ES256", metadata["dpop_signing_alg_values_supported"])
        client = OAuth2Client.from_discovery_document(
            metadata,
            issuer=issuer,
            auth="acme-cli",
            device_authorization_endpoint=metadata["device_authorization_endpoint"],
            session=session,
            dpop_bound_access_tokens=True,
        )
        client.update_authorization_server_public_keys()
        return client

    def log_in(self, client):
        code = client.authorize_device(scope="openid email read offline_access")
        person = f"ada@acme.example:{os.environ['TEST_PASSWORD']}"
        approve(code.verification_uri_complete, person=person, ca=self.server.ca)
        return client.device_code(code, dpop=True)

    def test_tells_those_behind_the_proxy_how_it_is(self):
        ready = requests.get(f"{self.server.telemetry}/healthz/ready", timeout=10)
        self.assertEqual((ready.status_code, ready.json()["status"]), (200, "ready"))
        self.client()
        metrics = requests.get(f"{self.server.telemetry}/metrics", timeout=10).text
        self.assertRegex(metrics, r'http_requests_total\{route="/.well-known/openid-configuration",status="200"\} [1-9]')

    def test_logs_in_bound_to_its_key_and_stays_so(self):
        client = self.client()
        token = self.log_in(client)
        self.assertIsInstance(token, DPoPToken)
        thumbprint = token.dpop_key.private_key.thumbprint()
        self.assertEqual(self.confirmed(client, token), thumbprint)
        self.assertTrue(token.id_token.verify(client.authorization_server_jwks, alg="RS256"))
        userinfo = client.session.get(client.userinfo_endpoint, auth=token, timeout=10)
        self.assertEqual(userinfo.json()["email"], "ada@acme.example")

        after = client.refresh_token(token)
        self.assertNotEqual(after.refresh_token, token.refresh_token)
        self.assertEqual(self.confirmed(client, after), thumbprint)
        userinfo = client.session.get(client.userinfo_endpoint, auth=after, timeout=10)
        self.assertEqual(userinfo.json()["org"], "acme")

    def test_a_copied_refresh_token_is_worth_nothing(self):
        client = self.client()
        token = self.log_in(client)
        with self.assertRaises(InvalidGrant):
            # The thief has the token, and a key of their own.
            client.token_request(
                {"grant_type": "refresh_token", "refresh_token": token.refresh_token}, dpop_key=DPoPKey.generate()
            )
        # The session goes on for whoever holds the key.
        self.assertIsInstance(client.refresh_token(token), DPoPToken)

    def test_a_proof_is_good_once(self):
        client = self.client()
        token = self.log_in(client)
        sent = client.session.get(client.userinfo_endpoint, auth=token, timeout=10)
        self.assertEqual(sent.status_code, 200)
        headers = {name: sent.request.headers[name] for name in ("Authorization", "DPoP")}
        again = client.session.get(client.userinfo_endpoint, headers=headers, timeout=10)
        self.assertEqual((again.status_code, again.json()["error"]), (401, "invalid_dpop_proof"))
        bearer = {"Authorization": f"Bearer {token.access_token}"}
        self.assertEqual(client.session.get(client.userinfo_endpoint, headers=bearer, timeout=10).status_code, 401)

    def confirmed(self, client, token):
        """The thumbprint in the access token, whose signature is checked."""
        jwt = jwskate.SignedJwt(token.access_token)
        self.assertTrue(jwt.verify_signature(client.authorization_server_jwks, alg="ES256"))
        return jwt.claims["cnf"]["jkt"]
