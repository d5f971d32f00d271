"""``make deploy``: prints the plan; with ``--apply`` carries it out, with ``--rollback`` undoes the last one."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from composer.deploy import plan
from composer.deploy.deployment import Deployment
from composer.deploy.gcloud import DeployError, Programs
from composer.deploy.target import UNNAMED, Target, read_revision
from composer.local.airflow_api import AirflowApiError
from composer.local.places import REPOSITORY


def main(argv: Sequence[str] | None = None) -> int:
    """0; 78 when it was refused before anything was touched; 69 when it failed."""
    a = arguments().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    touched = False
    try:
        target = Target(
            project=a.project or UNNAMED["project"],
            region=a.region,
            environment=a.environment or UNNAMED["environment"],
            images_repository=a.images_repository,
            python_repository=a.python_repository,
            gpu=a.gpu,
            build_account=a.build_account,
            build_staging=a.build_staging,
        )
        d = Deployment(
            target=target,
            revision=read_revision(a.source, a.revision),
            programs=Programs(say=say),
            folder=a.folder,
            say=say,
            settings_file=a.settings,
        )
        shipped = plan.check(d, a.packages)
        if not a.rollback:
            for line in plan.told(d, shipped):
                say(line)
        if not (a.apply or a.rollback):
            say("Nothing was done. Carry it out with APPLY=1 (--apply).")
            return os.EX_OK
        target.require_named()
        touched = True
        if a.rollback:
            plan.roll_back(d)
            say("the environment is what it was before the last deployment")
            return os.EX_OK
        say("")
        changed = plan.apply(d, shipped)
    except (DeployError, AirflowApiError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE if touched else os.EX_CONFIG
    except KeyboardInterrupt:
        print("error: interrupted; deploy again to go on, or with ROLLBACK=1 to go back", file=sys.stderr)
        return 130
    say("deployed" if changed else "everything was deployed already")
    return os.EX_OK


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="composer.deploy", description=__doc__)
    parser.add_argument("--project", default="")
    parser.add_argument("--region", default="europe-west4")
    parser.add_argument("--environment", default="", help="of Cloud Composer")
    parser.add_argument("--images-repository", default="f1", help="of Artifact Registry, for images")
    parser.add_argument("--python-repository", default="f1-python", help="of Artifact Registry, for the wheel")
    parser.add_argument("--build-account", default="", help="service account that builds run as, if not Cloud Build's")
    parser.add_argument("--build-staging", default="", help="gs:// folder that it reads the source from")
    parser.add_argument("--gpu", action="store_true", help="pods get the image with CUDA")
    parser.add_argument("--settings", type=Path, help="JSON of the Variable f1_training, where it is not the one there")
    parser.add_argument("--packages", type=Path, help="the image's packages, if not requirements/composer-image.txt")
    parser.add_argument("--revision", default="HEAD", help="of git")
    parser.add_argument("--source", type=Path, default=REPOSITORY, help="the repository")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "var" / "deploy", help="for what is built")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="carry the plan out")
    what.add_argument("--rollback", action="store_true", help="set the environment back to before the last deployment")
    return parser


def say(line: str) -> None:
    """For who looks on."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
