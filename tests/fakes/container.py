"""A program started in an image's file system as a pod starts it: its user, a read-only root, no network, no repository.

Linux namespaces are all that this takes, and root. The base is lent by this machine: its shared libraries and the
interpreter that runs us; there is no shell and no other program.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from f1_training.kubernetes import podspec
from tests.fakes.image import Image

#: Arguments: the new root, the image, the folder that is /tmp, the uid, the working directory, what of this machine is
#: lent, ``--``, the program.
START = """
root=$1 image=$2 scratch=$3 user=$4 workdir=$5; shift 5
mount -t tmpfs -o mode=0755 root "$root"
lend() { mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; }
for folder in "$image"/*; do lend "$folder" "/${folder##*/}"; done
for name in lib lib64; do test ! -L "/$name" || cp -P "/$name" "$root/$name"; done
while test "$1" != --; do lend "$1" "$1"; shift; done
lend "$scratch" /tmp
mount -o remount,bind,ro "$root"
for folder in "$image"/*; do test "${folder##*/}" = tmp || mount -o remount,bind,ro "$root/${folder##*/}"; done
exec unshare --root="$root" --wd="$workdir" --setgid "$user" --setuid "$user" "$@"
"""


@functools.cache
def unavailable() -> str:
    """Why this machine cannot do it; empty where it can."""
    if os.geteuid() != 0:
        return "only root can become the pod's user"
    tried = subprocess.run([*_unshared(), "true"], capture_output=True, text=True, timeout=20, check=False)
    return tried.stderr.strip()


def run(
    image: Image, words: Sequence[str], scratch: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The image's program ``words``, with ``scratch`` as its /tmp."""
    root = scratch / "root"
    tmp = scratch / "tmp"
    for folder in (root, tmp):
        folder.mkdir(exist_ok=True)
    tmp.chmod(0o1777)
    places = [str(root), str(image.root), str(tmp), str(podspec.USER), image.workdir]
    return subprocess.run(
        [*_unshared(), "bash", "-euc", START, "bash", *places, *_lent(image), "--", *words],
        env={**image.environment, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _unshared() -> list[str]:
    return ["unshare", "--mount", "--net"]


def _lent(image: Image) -> list[str]:
    """Folders of this machine that stand for the base: where the environment's interpreter is, and what it loads."""
    interpreter = Path(os.readlink(image.path("/opt/venv/bin/python3.11")))
    homes = [interpreter.parent, Path(sys.base_prefix), Path(sys.base_prefix).resolve()]
    system = [folder for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64") if _is_folder(folder)]
    return list(dict.fromkeys([*map(str, homes), *system, "/proc", "/dev"]))


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
