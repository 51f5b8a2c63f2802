"""Reaching a standing scheduler: certificates, and a first handshake that tells what is wrong before Dask tries.

Decides whether an address can be talked to with these certificates. Never says what stands in a key or certificate, and
never asks for a passphrase.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distributed.security import Security

from builder.errors import BuilderError, error

ANSWER_S = 5.0
START_ONE = "start one with dask scheduler and dask worker --nthreads 1, or leave --scheduler away"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files for TLS: who signs, who we are, and our key; None: as Dask's own configuration says."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def is_empty(self) -> bool:
        """Whether none is named."""
        return self.ca is None and self.cert is None and self.key is None


class NoAnswer(Exception):
    """Nobody answers at an address: later somebody may."""


def security_for(address: str, certificates: Certificates) -> Any:
    """What Dask needs to talk to an address; None for one without TLS.

    Raises
    ------
    ConfigError
        ``config``: the scheduler speaks TLS and a file is not named, cannot be read or does not fit.
    """
    if urlsplit(address).scheme not in ("tls", "wss"):
        return None
    if certificates.is_empty:
        configured: Any = Security(require_encryption=True)
        if configured.tls_ca_file is not None:
            return configured
    paths = {}
    for name in ("ca", "cert", "key"):
        path = getattr(certificates, name)
        if path is None:
            raise _wrong_file(name, f"a {urlsplit(address).scheme}:// scheduler needs '{name}'", ())
        try:
            path.read_bytes()
        except OSError as cause:
            raise _wrong_file(name, f"the file of '{name}' cannot be read", [("reason", str(cause))]) from None
        paths[name] = str(path)
    context_for(certificates)
    return Security(
        tls_ca_file=paths["ca"],
        tls_client_cert=paths["cert"],
        tls_client_key=paths["key"],
        require_encryption=True,
    )


def context_for(certificates: Certificates) -> ssl.SSLContext:
    """A context for one handshake, made as Dask makes its own: the CA must have signed, names are not compared."""
    try:
        context = ssl.create_default_context(cafile=str(certificates.ca))
    except (ssl.SSLError, OSError) as cause:
        raise _wrong_file("ca", "the file of 'ca' holds no certificate", [("file", str(certificates.ca))]) from cause
    context.check_hostname = False
    try:
        context.load_cert_chain(str(certificates.cert), str(certificates.key), password=_no_passphrase)
    except _Encrypted:
        facts = [("file", str(certificates.key))]
        raise _wrong_file("key", "the key is locked with a passphrase, which builder never asks for", facts) from None
    except (ssl.SSLError, OSError, ValueError) as cause:
        facts = [("cert", str(certificates.cert)), ("key", str(certificates.key)), ("reason", _reason(cause))]
        raise _wrong_file("key", "'cert' and 'key' are not a certificate and its key", facts) from None
    return context


def greet(address: str, certificates: Certificates) -> None:
    """Nothing, after a first handshake with a scheduler; Dask's own says only that time ran out.

    Raises
    ------
    NoAnswer
        Nobody listens there.
    ConfigError
        ``no-cluster``: it speaks TLS and we do not, or the other way round; a certificate is not accepted.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not parts.port:
        return
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S) as plain:
            if parts.scheme == "tcp":
                _first_word(plain, address)
            elif not certificates.is_empty:
                _shake_hands(plain, address, certificates)
    except BuilderError:
        raise
    except OSError as cause:
        raise NoAnswer(_reason(cause)) from cause


def is_listening(address: str) -> bool:
    """Whether anything may still answer at an address; False only where the machine itself says that nothing does."""
    parts = urlsplit(address)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True


def _first_word(plain: socket.socket, address: str) -> None:
    """Hear whether a scheduler speaks first, as one without TLS does; one with TLS waits for the client."""
    try:
        if plain.recv(1):
            return
        said = "it closed the connection"
    except TimeoutError:
        said = f"it takes the connection and says nothing for {ANSWER_S:g} s, as schedulers with TLS do"
    raise refused(
        address,
        f"the scheduler at {address} does not talk without TLS",
        [("reason", said)],
        "use tls:// with ca, cert and key under [cluster]; or it is no Dask scheduler",
    )


def _shake_hands(plain: socket.socket, address: str, certificates: Certificates) -> None:
    """Make the handshake; where our certificate is refused, that is heard with the first word."""
    context = context_for(certificates)
    try:
        with context.wrap_socket(plain) as secure:
            secure.recv(1)
    except ssl.SSLCertVerificationError as cause:
        raise refused(
            address,
            f"the certificate of the scheduler at {address} is not signed by the CA in 'ca'",
            [("reason", cause.verify_message), ("ca", str(certificates.ca))],
            "name the CA file that signed the scheduler's certificate as ca under [cluster]",
        ) from None
    except ssl.SSLError as cause:
        if cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"):
            raise refused(
                address,
                f"the scheduler at {address} does not speak TLS",
                [("reason", _reason(cause))],
                "use tcp://, or start it with --tls-ca-file, --tls-cert and --tls-key",
            ) from None
        raise refused(
            address,
            f"the scheduler at {address} does not accept our certificate",
            [("reason", _reason(cause)), ("cert", str(certificates.cert))],
            "name a cert and key under [cluster] that the scheduler's CA has signed",
        ) from None


def refused(address: str, message: str, facts: list[tuple[str, str]], hint: str) -> BuilderError:
    """The error of a cluster that cannot be used as it is."""
    return error("no-cluster", message, place=address, facts=facts, hint=hint)


def _wrong_file(key: str, message: str, facts: Any) -> BuilderError:
    hint = 'name PEM files under [cluster]: ca = "ca.pem", cert = "client.pem", key = "client-key.pem"'
    return error("config", message, place=f"[cluster] {key}", facts=facts, hint=hint)


class _Encrypted(Exception):
    pass


def _no_passphrase() -> str:
    raise _Encrypted


def _reason(cause: BaseException) -> str:
    """A cause in one line, without the file and line of the C code that Python's ssl adds."""
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.lower().replace("_", " ")
    return str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
