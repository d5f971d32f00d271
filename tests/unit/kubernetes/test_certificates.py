"""An attempt's certificate is valid for both sides of a connection, for its names, for its time, and for no more."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from f1_training.kubernetes.certificates import Certificates, issue
from trainer.contract import ContractError

NAMES = ("chief.ns.svc", "chief")


def context(made: Certificates, folder: Path, *, server: bool) -> ssl.SSLContext:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("ca", made.ca), ("crt", made.certificate), ("key", made.key)):
        (folder / name).write_text(text)
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    made_context = ssl.create_default_context(purpose, cafile=str(folder / "ca"))
    made_context.load_cert_chain(folder / "crt", folder / "key")
    made_context.verify_mode = ssl.CERT_REQUIRED
    made_context.minimum_version = ssl.TLSVersion.TLSv1_3
    return made_context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    left, right = socket.socketpair()
    for end in (left, right):
        end.settimeout(5)

    def serve() -> None:
        try:
            with server.wrap_socket(left, server_side=True) as connection:
                connection.sendall(b"x")
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=name) as connection:
            if connection.recv(1) != b"x":
                raise ConnectionError("the server refused")
    finally:
        right.close()
        thread.join(5)


@pytest.mark.parametrize("name", NAMES)
def test_both_sides_trust_each_other_over_tls_1_3(tmp_path: Path, name: str) -> None:
    made = issue(NAMES, 3600)
    handshake(context(made, tmp_path, server=True), context(made, tmp_path, server=False), name)


def test_another_name_is_refused(tmp_path: Path) -> None:
    made = issue(NAMES, 3600)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(context(made, tmp_path, server=True), context(made, tmp_path, server=False), "other.ns.svc")


def test_another_attempt_s_certificate_is_refused(tmp_path: Path) -> None:
    mine, other = issue(NAMES, 3600), issue(NAMES, 3600)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context(mine, tmp_path / "a", server=True), context(other, tmp_path / "b", server=False), NAMES[0])


def test_it_is_valid_for_the_attempt_and_a_little_more() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    certificate = x509.load_pem_x509_certificate(issue(NAMES, 3600, now).certificate.encode())
    assert certificate.not_valid_before_utc <= now
    assert now + timedelta(hours=1) <= certificate.not_valid_after_utc <= now + timedelta(hours=2)


@pytest.mark.parametrize(("names", "valid_s", "field"), [((), 1, "names"), (NAMES, 0, "valid_s")])
def test_nothing_to_certify_is_refused(names: tuple[str, ...], valid_s: float, field: str) -> None:
    with pytest.raises(ContractError, match=field):
        issue(names, valid_s)
