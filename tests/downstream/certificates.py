"""An authority of our own, and what it certifies: this machine, and a client.

The contexts are made for each test anew, because libraries change those they are given.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme


class Certificates:
    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.cert, self.key = self._write(
            authority.issue_cert("localhost", "127.0.0.1", "::1"), folder / "server"
        )
        self.client_cert, self.client_key = self._write(
            authority.issue_cert("saburo@example.org"), folder / "client"
        )
        self.strangers_ca = folder / "stranger.pem"
        trustme.CA().cert_pem.write_to_path(str(self.strangers_ca))

    def server(self, *, ask_client: bool = False) -> ssl.SSLContext:
        """Proves to be localhost; asks for a certificate of the client, if told to."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(self.cert, self.key)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """Trusts the authority and nobody else."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if with_certificate:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context

    def stranger(self) -> ssl.SSLContext:
        """Trusts another authority, which certified nobody here."""
        return ssl.create_default_context(cafile=str(self.strangers_ca))

    @staticmethod
    def _write(certificate: trustme.LeafCert, stem: Path) -> tuple[Path, Path]:
        cert, key = stem.with_suffix(".crt"), stem.with_suffix(".key")
        certificate.cert_chain_pems[0].write_to_path(str(cert))
        certificate.private_key_pem.write_to_path(str(key))
        os.chmod(key, 0o600)  # PostgreSQL insists
        return cert, key
