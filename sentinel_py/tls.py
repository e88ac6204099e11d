"""TLS contexts out of the ``tls-*`` directives, for our listeners and for outgoing links."""

from __future__ import annotations

import ssl

from sentinel_py.settings import ServerSettings

_VERSIONS = {
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}

_AUTH = {"yes": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "no": ssl.CERT_NONE}


class TlsError(Exception):
    """TLS cannot be set up as configured; one line for the log."""


def server_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """For ``tls-port``; None if that is not set."""
    if not settings.tls_port:
        return None
    if not settings.tls_cert_file:
        raise TlsError("No tls-cert-file configured!")
    if not settings.tls_key_file:
        raise TlsError("No tls-key-file configured!")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _configure(context, settings)
    context.verify_mode = _AUTH[settings.tls_auth_clients]
    _load_certificate(context, settings.tls_cert_file, settings.tls_key_file, settings)
    return context


def client_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """For outgoing links with ``tls-replication yes``; Redis verifies chains, not host names."""
    if not settings.tls_replication:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _configure(context, settings)
    cert = settings.tls_client_cert_file or settings.tls_cert_file
    key = settings.tls_client_key_file or settings.tls_key_file
    if cert:
        _load_certificate(context, cert, key, settings)
    return context


def _configure(context: ssl.SSLContext, settings: ServerSettings) -> None:
    if not (settings.tls_ca_cert_file or settings.tls_ca_cert_dir):
        raise TlsError("Either tls-ca-cert-file or tls-ca-cert-dir must be specified!")
    try:
        context.load_verify_locations(
            settings.tls_ca_cert_file or None, settings.tls_ca_cert_dir or None
        )
        if settings.tls_ciphers:
            context.set_ciphers(settings.tls_ciphers)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"Failed to load CA certificates or ciphers: {error}") from error
    versions = [
        _VERSIONS[word] for word in settings.tls_protocols.lower().split() if word in _VERSIONS
    ]
    context.minimum_version = min(versions, default=ssl.TLSVersion.TLSv1_2)
    if versions:
        context.maximum_version = max(versions)


def _load_certificate(
    context: ssl.SSLContext, cert: str, key: str, settings: ServerSettings
) -> None:
    try:
        context.load_cert_chain(cert, key or None, settings.tls_key_file_pass or None)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"Failed to load certificate {cert}: {error}") from error
