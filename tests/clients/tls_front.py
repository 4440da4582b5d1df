"""A server behind TLS, as an organization runs it: `countersign serve`, and before it a front whose certificate a test CA
signed. Everything is on loopback, in a directory of its own, and ends with the test.
"""

import atexit
import datetime
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ports import free_port

DIRECTORY = """
[[organization]]
slug = "acme"
name = "Acme"
mfa = "off"

[[organization.service]]
slug = "cli"
name = "Acme CLI"
client_id = "acme-cli"
device_login = true
scopes = { read = "Read your projects" }
default_scopes = ["read"]
refresh = "always"
dpop = "required"
interval = 1

[[organization.provider]]
slug = "password"
kind = "password"

[[organization.user]]
email = "ada@acme.example"
name = "Ada"
password = { env = "TEST_PASSWORD" }
"""


class ServerBehindTls:
    """Between `start` and `stop`, `issuer` is its https address and `ca` the file of the CA that vouches for it. Interrupted
    or terminated, the tests' process stops it too, at its own end.
    """

    def __init__(self):
        self._server = self._front = self._directory = None

    def start(self):
        # What ends a program silently, by default, has to pass through its exits here.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        atexit.register(self.stop)
        self._directory = tempfile.TemporaryDirectory()
        scene = Path(self._directory.name)
        # Open to pass through: root's PostgreSQL is another account's and has to get there.
        scene.chmod(0o755)
        self.ca = str(scene / "ca.pem")
        self._front = _listener()
        behind = free_port()
        self.issuer = f"https://localhost:{self._front.getsockname()[1]}"
        self._serve(scene, behind)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*_certificate(scene))
        threading.Thread(target=_accept, args=(self._front, context, behind), daemon=True).start()
        self._wait()

    def stop(self):
        """Ends what `start` began, however far it came. That the server would not end by itself is an error."""
        atexit.unregister(self.stop)
        try:
            if self._front is not None:
                self._front.close()
            if self._server is not None:
                self._server.terminate()
                try:
                    self._server.wait(60)
                finally:
                    # Its PostgreSQL ends with it, whichever way it goes.
                    self._server.kill()
                    self._server.wait()
        finally:
            if self._directory is not None:
                self._directory.cleanup()

    def _serve(self, scene, port):
        data = str(scene / "data")
        settings = {"PUBLIC_URL": self.issuer, "LISTEN": f"127.0.0.1:{port}", "DATA_DIR": data}
        settings["TRUSTED_PROXIES"] = "127.0.0.1/32"
        telemetry = f"127.0.0.1:{free_port()}"
        self.telemetry = f"http://{telemetry}"
        settings["TELEMETRY_LISTEN"] = telemetry
        environment = os.environ | {f"COUNTERSIGN_{name}": value for name, value in settings.items()}
        program = os.environ["SERVER_BINARY"]
        self._log = scene / "log"
        with self._log.open("w") as log:
            self._server = subprocess.Popen([program, "serve"], env=environment, stdin=subprocess.DEVNULL, stderr=log)
        directory = scene / "acme.toml"
        directory.write_text(DIRECTORY)
        # Faster than the server, `apply` would run the database itself, and end it under the server.
        self._until(lambda: "issuer=" in self._log.read_text())
        subprocess.run([program, "apply", directory], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)

    def _wait(self):
        def answers():
            try:
                return requests.get(f"{self.issuer}/.well-known/jwks.json", verify=self.ca, timeout=5).ok
            except (requests.ConnectionError, requests.Timeout):
                return False

        self._until(answers)

    def _until(self, ready):
        for _ in range(600):
            if ready():
                return
            if self._server.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError(f"the server does not start: {self._log.read_text()}")


def _listener():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def _accept(listener, context, behind):
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve_one, args=(plain, context, behind), daemon=True).start()


def _serve_one(plain, context, behind):
    try:
        with context.wrap_socket(plain, server_side=True) as client, socket.create_connection(("127.0.0.1", behind)) as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()
    except OSError:
        pass


def _pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _certificate(scene):
    """Makes a CA and a certificate for localhost that it signed: the files of the certificate and its key."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = _name("A CA of the tests")
    _write(scene / "ca.pem", _sign(ca_name, ca_key.public_key(), ca_name, ca_key, _ca_extensions(ca_key)))
    extensions = [
        (x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
    ]
    _write(scene / "cert.pem", _sign(_name("localhost"), key.public_key(), ca_name, ca_key, extensions))
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (scene / "key.pem").write_bytes(pem)
    return scene / "cert.pem", scene / "key.pem"


def _ca_extensions(key):
    usage = dict.fromkeys(
        ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
        + ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"],
        False,
    )
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(**(usage | {"key_cert_sign": True})), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(subject, public_key, issuer, issuer_key, extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _write(path, certificate):
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
