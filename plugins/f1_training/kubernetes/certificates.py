"""A certificate authority and one certificate for each attempt of a job: what chief and workers trust, and no one else.

The authority's key is forgotten once it has signed; the certificate's key exists only in the attempt's Secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trainer.contract.fields import require

#: Clocks of nodes differ a little.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Certificates:
    """PEM texts, as the Secret holds them. Not shown by ``repr``, so that the key gets into no log."""

    ca: str
    certificate: str
    key: str


def issue(names: tuple[str, ...], valid_s: float, now: datetime | None = None) -> Certificates:
    """A new authority, and a certificate for ``names`` that both sides of a connection show.

    Args:
        names: DNS names; the first is also the subject's common name.
        valid_s: how long the certificate must be valid, in seconds.
        now: the time to start from; default the present.

    Raises:
        ContractError: there is no name, or nothing to be valid for.
    """
    require(bool(names), "names", "is empty")
    require(valid_s > 0, "valid_s", f"is {valid_s}; more than 0")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    begin = now or datetime.now(UTC)
    span = (begin - SKEW, begin + timedelta(seconds=valid_s) + SKEW)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name("f1-training attempt CA")
    ca = (
        _builder(authority, authority, authority_key, span)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        _builder(_name(names[0][:64]), authority, key, span)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificates(
        ca=ca.public_bytes(pem).decode(), certificate=certificate.public_bytes(pem).decode(), key=private.decode()
    )


def _name(common_name: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: Any, issuer: Any, key: Any, span: tuple[datetime, datetime]) -> Any:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
    )


def _usage(*, signs_certificates: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
