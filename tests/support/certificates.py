"""An authority for these tests only, and what it certifies."""

from __future__ import annotations

import datetime
import functools
import ssl

import trustme

LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)


class Certificates:
    """Contexts with certificates of one authority, each context made anew."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.stranger = trustme.CA()
        self.localhost = self.authority.issue_cert("localhost", "127.0.0.1", "::1")
        self.other_host = self.authority.issue_cert("elsewhere.example")
        self.client_only = self.authority.issue_cert("saburo@example.org")
        self.expired = self.authority.issue_cert(
            "localhost", not_before=LONG_AGO, not_after=LONG_AGO + datetime.timedelta(days=30)
        )

    def server(
        self,
        certificate: trustme.LeafCert | None = None,
        *,
        version: ssl.TLSVersion | None = None,
        ask_client: bool = False,
    ) -> ssl.SSLContext:
        """Has a certificate of localhost, or `certificate`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (certificate or self.localhost).configure_cert(context)
        if ask_client:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return at(context, version)

    def client(
        self,
        *,
        version: ssl.TLSVersion | None = None,
        with_certificate: bool = False,
        trusting: trustme.CA | None = None,
    ) -> ssl.SSLContext:
        """Trusts only the authority, or the one given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        (trusting or self.authority).configure_trust(context)
        if with_certificate:
            self.client_only.configure_cert(context)
        return at(context, version)


def at(context: ssl.SSLContext, version: ssl.TLSVersion | None) -> ssl.SSLContext:
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@functools.cache
def certificates() -> Certificates:
    """Made once, as keys take a while."""
    return Certificates()
