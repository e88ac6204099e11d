"""Certificates for one test run, made by the `openssl` command: an authority and what it signed."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
VALID = ("-days", "2")


@dataclass(frozen=True)
class Pair:
    """A certificate, its key, and the certificate of the authority that signed it."""

    cert: Path
    key: Path
    authority: Path

    def contexts(self):
        """The server's and a client's side of TLS; the client does not look at names."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(self.cert, self.key)
        client = ssl.create_default_context(cafile=self.authority)
        client.check_hostname = False
        return server, client

    def directives(self):
        """The lines of a Redis or a sentinel that shows this certificate and wants such."""
        return {
            "tls-cert-file": str(self.cert),
            "tls-key-file": str(self.key),
            "tls-ca-cert-file": str(self.authority),
        }


def make_pair(folder, name):
    """A certificate of a new authority."""
    ca_key, ca = folder / f"{name}-ca.key", folder / f"{name}-ca.crt"
    key, request, cert = (folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
    authority = ("-subj", f"/CN={name} authority")
    openssl("req", "-x509", *NEW_KEY, *VALID, *authority, "-keyout", ca_key, "-out", ca)
    openssl("req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    signer = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial")
    openssl("x509", "-req", "-in", request, *signer, *VALID, "-out", cert)
    return Pair(cert, key, ca)


def encrypt_key(pair, password):
    """The same with its key behind a password."""
    key = pair.key.with_suffix(".locked")
    openssl("pkey", "-in", pair.key, "-aes256", "-passout", f"pass:{password}", "-out", key)
    return Pair(pair.cert, key, pair.authority)


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)
