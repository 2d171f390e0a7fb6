"""TLS for clients over TCP: certificate and key from files, renewed without a restart.

A renewal counts for connections that are made after it; those that are open keep what they have.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from runnerd.errors import StartupError


class ServerCertificate:
    """Owns what the listeners' handshakes are made with: give them `context`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read both files.  Raises errors.StartupError."""
        self._current = read_certificate(certificate, key)
        self.context = read_certificate(certificate, key)
        self.context.sni_callback = self._use_current

    def renew(self, certificate: Path, key: Path) -> None:
        """Take what the files hold now.  Raises errors.StartupError; then the old one stays."""
        self._current = read_certificate(certificate, key)

    def _use_current(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        """Called in each handshake, whether the client names the host or not."""
        connection.context = self._current


def read_certificate(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a certificate and its key make of a handshake.  Raises errors.StartupError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a passphrase would be asked for at a terminal, which a daemon has none of.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except OSError as error:
        raise StartupError(_reason(certificate, key, error)) from error
    except _Encrypted as error:
        raise StartupError(
            f"tls_key {key} is encrypted with a passphrase; write it without one, readable for the"
            " daemon's user alone (openssl pkey -in KEY -out KEY.plain)"
        ) from error
    return context


class _Encrypted(Exception):
    """A key that takes a passphrase."""


def _no_passphrase() -> str:
    raise _Encrypted


def _reason(certificate: Path, key: Path, error: OSError) -> str:
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            path.open("rb").close()
        except OSError as unreadable:
            return (
                f"cannot read {name} {path}: {unreadable.strerror}; it is a PEM file that the"
                " daemon's user may read"
            )
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"tls_key {key} is not the key of tls_certificate {certificate}"
    return (
        f"tls_certificate {certificate} or tls_key {key} is no PEM file with a certificate (and"
        f" those that signed it) or a key: {getattr(error, 'reason', None) or error}"
    )
