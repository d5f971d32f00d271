"""Mutual TLS 1.3 between chief and workers, from the certificates that are mounted into each pod."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.contract import FailureReason, TrainingFailure

if TYPE_CHECKING:
    from distributed import Security

CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.crt", "tls.crt", "tls.key"


def security(folder: Path | None) -> Security:
    """Dask's security settings from ``folder`` (environment ``TRAINING_TLS_DIR``): ca.crt, tls.crt and tls.key.

    Both sides show a certificate of the job's own CA and refuse any other, plain connections, and TLS 1.2. Dask checks
    no host names (it sets ``check_hostname = False``), so who holds a certificate of the job is trusted wherever it
    is; that is why every attempt gets a CA of its own.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the file that is not there.
    """
    import ssl

    from distributed import Security  # a job of one worker must not pay for importing Dask

    if folder is None:
        message = "TRAINING_TLS_DIR is not set; a job of several workers needs a folder with ca.crt, tls.crt, tls.key"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    missing = [name for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE) if not (folder / name).is_file()]
    if missing:
        message = f"TRAINING_TLS_DIR {folder} lacks {', '.join(missing)}; mount the job's certificates there"
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    ca, certificate, key = (str(folder / name) for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE))
    sides = ("client", "scheduler", "worker")
    pairs = {f"tls_{side}_{kind}": path for side in sides for kind, path in (("cert", certificate), ("key", key))}
    return Security(tls_ca_file=ca, require_encryption=True, tls_min_version=ssl.TLSVersion.TLSv1_3, **pairs)
