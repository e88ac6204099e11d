"""TLS contexts out of the ``tls-*`` directives, for our listeners and for outgoing links."""

from __future__ import annotations

import ssl

from sentinel_py.config.settings import ServerSettings

# Two of them are broken: whoever asks for those gets the oldest that is not.
_VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1_2,
    "tlsv1.1": ssl.TLSVersion.TLSv1_2,
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
    return _serving(settings, _AUTH[settings.tls_auth_clients])


def http_context(settings: ServerSettings) -> ssl.SSLContext:
    """For ``sentinel http-tls``: browsers and scrapers log in, and are asked for no certificate."""
    return _serving(settings, ssl.CERT_NONE)


def _serving(settings: ServerSettings, verify_mode: ssl.VerifyMode) -> ssl.SSLContext:
    if not settings.tls_cert_file:
        raise TlsError("No tls-cert-file configured!")
    if not settings.tls_key_file:
        raise TlsError("No tls-key-file configured!")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = verify_mode
    _configure(context, settings)
    _load_own_certificate(context, settings)
    return context


def client_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """For outgoing links with ``tls-replication yes``; Redis verifies chains, not host names."""
    if not settings.tls_replication:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _configure(context, settings)
    if settings.tls_client_cert_file:
        _load_certificate(
            context,
            settings.tls_client_cert_file,
            settings.tls_client_key_file,
            settings.tls_client_key_file_pass,
        )
    elif settings.tls_cert_file:
        _load_own_certificate(context, settings)
    return context


def _configure(context: ssl.SSLContext, settings: ServerSettings) -> None:
    _trust(context, settings.tls_ca_cert_file, settings.tls_ca_cert_dir)
    _restrict_versions(context, settings.tls_protocols)
    if settings.tls_ciphers:
        try:
            context.set_ciphers(settings.tls_ciphers)
        except ssl.SSLError:
            raise TlsError(f"Failed to configure ciphers: {settings.tls_ciphers}") from None


def _trust(context: ssl.SSLContext, file: str, folder: str) -> None:
    if file or folder:
        try:
            context.load_verify_locations(file or None, folder or None)
        except OSError as error:
            raise TlsError(
                f"Failed to configure CA certificate(s) file/directory: {_reason(error)}"
            ) from error
    elif context.verify_mode != ssl.CERT_NONE:
        raise TlsError(
            "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, "
            "tls-replication or tls-auth-clients are enabled!"
        )


def _restrict_versions(context: ssl.SSLContext, words: str) -> None:
    try:
        versions = [_VERSIONS[word] for word in words.lower().split()]
    except KeyError:
        raise TlsError(
            "Invalid tls-protocols specified. "
            "Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."
        ) from None
    context.minimum_version = min(versions, default=ssl.TLSVersion.TLSv1_2)
    if versions:
        context.maximum_version = max(versions)


def _load_own_certificate(context: ssl.SSLContext, settings: ServerSettings) -> None:
    _load_certificate(
        context, settings.tls_cert_file, settings.tls_key_file, settings.tls_key_file_pass
    )


def _load_certificate(context: ssl.SSLContext, cert: str, key: str, password: str) -> None:
    try:
        # Never without a password, as OpenSSL would ask the terminal for one.
        context.load_cert_chain(cert, key or None, password)
    except OSError as error:
        raise TlsError(
            f"Failed to load certificate {cert} with key {key or cert}: {_reason(error)}"
        ) from error


def _reason(error: OSError) -> str:
    """What is wrong, without numbers of errors and lines of OpenSSL's source."""
    if isinstance(error, ssl.SSLError):
        return error.reason or "not in PEM form, or the password of the key is another one"
    return error.strerror or str(error)
