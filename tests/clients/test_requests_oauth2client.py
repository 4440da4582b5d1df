"""PyPI requests_oauth2client: discovery, its own polling job, its own classes of errors, the id_token validated by it."""

import unittest

import requests
from requests_oauth2client import (
    AccessDenied,
    DeviceAuthorizationPollingJob,
    IdToken,
    InvalidGrant,
    InvalidScope,
    OAuth2Client,
)

from support import SECRET, SERVER, approve, deny


def discover(client_id, secret=None):
    metadata = requests.get(f"{SERVER}/.well-known/openid-configuration", timeout=10).json()
    client = OAuth2Client.from_discovery_document(
        metadata,
        issuer=SERVER,
        auth=(client_id, secret) if secret else client_id,
        # The one endpoint that the library does not take from the document itself.
        device_authorization_endpoint=metadata["device_authorization_endpoint"],
        testing=True,
    )
    client.update_authorization_server_public_keys()
    return client


class RequestsOauth2Client(unittest.TestCase):
    def test_logs_in_by_its_polling_job(self):
        client = discover("quick-cli")
        code = client.authorize_device(scope="openid email read deploy")
        job = DeviceAuthorizationPollingJob(client, code)
        self.assertIsNone(job(), "nobody has decided yet")
        approve(code.verification_uri_complete, "deploy")
        token = job()
        self.assertEqual(token.scope, "openid email read")
        self.assertIsInstance(token.id_token, IdToken)
        self.assertTrue(token.id_token.verify(client.authorization_server_jwks, alg="RS256"))
        self.assertEqual(token.id_token.email, "demo@example.com")

    def test_logs_a_confidential_client_in(self):
        client = discover("vault", SECRET)
        code = client.authorize_device(scope="secrets")
        approve(code.verification_uri_complete)
        self.assertEqual(client.device_code(code).scope, "secrets")

    def test_sees_that_the_person_denied(self):
        client = discover("quick-cli")
        code = client.authorize_device()
        deny(code.verification_uri_complete)
        with self.assertRaises(AccessDenied):
            client.device_code(code)

    def test_is_told_what_it_may_not_ask_for(self):
        with self.assertRaises(InvalidScope):
            discover("quick-cli").authorize_device(scope="sudo")

    def test_a_code_that_is_none_is_an_invalid_grant(self):
        with self.assertRaises(InvalidGrant):
            discover("quick-cli").device_code("csd_nothing")
