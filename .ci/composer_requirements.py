"""Derive Composer's ``requirements.txt`` from the lock: what the Airflow side needs directly, as the image ships it.

``--check`` compares instead of writing. Airflow itself is the image's and is left out: a line that conflicts with the
image makes the whole update fail.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "requirements.txt"
HEADER = """\
# PyPI packages of the Composer environment. Made from requirements/airflow.txt by `make lock`; do not edit.
# The wheel comes from Artifact Registry (config/pip/pip.conf in the environment's bucket).
# Dask, XGBoost and LightGBM live in the training image, never here.
"""


def render() -> str:
    """The file's text."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements/airflow.txt").read_text(), re.MULTILINE))
    names = [re.split(r"[\[<>=~ ]", r)[0] for r in project["optional-dependencies"]["airflow"]]
    lines = [f"{name}=={pins[name]}" for name in sorted(names) if name != "apache-airflow"]
    return HEADER + "\n".join([f"{project['name']}=={project['version']}", *lines]) + "\n"


def main() -> int:
    """Write the file, or with ``--check`` say whether it is what it should be."""
    text = render()
    if "--check" not in sys.argv:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print("requirements.txt is not what requirements/airflow.txt says: run `make lock`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
