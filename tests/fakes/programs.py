#!/usr/bin/env -S python3 -S
# ruff: noqa: T201 - it is a command-line tool
"""``gcloud`` and ``uv`` for tests of the deployment: a process of its own that answers from files, and writes down calls.

Below the folder ``FAKE_CLOUD``: ``environment.json`` as ``gcloud composer environments describe`` shows it,
``images.json`` digests by address, ``wheels.json`` hashes by file, ``buckets/`` objects, ``calls.jsonl`` what was asked,
``fails.json`` words of a command, and what it then says. Flags are those that the real programs know.
"""

import base64
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(os.environ["FAKE_CLOUD"])
PROGRAM, ARGUMENTS = Path(sys.argv[0]).name, sys.argv[1:]
FLAGS = dict(a[2:].partition("=")[::2] for a in ARGUMENTS if a.startswith("--"))
WORDS = [a for a in ARGUMENTS if not a.startswith("--")]


def read(name):
    file = FOLDER / name
    return json.loads(file.read_text()) if file.exists() else {}


def write(name, value):
    (FOLDER / name).write_text(json.dumps(value))


def fail(message):
    print(f"ERROR: (gcloud.{'.'.join(WORDS[:3])}) {message}", file=sys.stderr)
    sys.exit(1)


def local(uri):
    return FOLDER / "buckets" / uri.removeprefix("gs://").removesuffix("/**") if uri.startswith("gs://") else Path(uri)


def objects(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


def describe():
    environment = read("environment.json")
    if not environment or WORDS[3] != environment["name"].rpartition("/")[2]:
        fail("NOT_FOUND: Failed to find environment")
    print(json.dumps(environment))


def update():
    environment = read("environment.json")
    lines = Path(FLAGS["update-pypi-packages-from-file"]).read_text().splitlines()
    split = [next(i for i, c in enumerate(line + "=") if c in "=<>~![") for line in lines]
    packages = {line[:i]: line[i:] for line, i in zip(lines, split, strict=True)}
    environment["config"]["softwareConfig"]["pypiPackages"] = packages
    write("environment.json", environment)


def image():
    digest = read("images.json").get(WORDS[4])
    if not digest:
        fail("Image not found.")
    print(json.dumps({"image_summary": {"digest": digest}}))


def submit():
    values = dict(pair.split("=", 1) for pair in FLAGS["substitutions"].split(","))
    assert Path(FLAGS["config"]).is_file(), "no build configuration"
    folder = f"{values['_REGION']}-docker.pkg.dev/{FLAGS['project']}/{values['_REPOSITORY']}"
    images = read("images.json")
    for name in ("training-worker", "training-worker-gpu", "evaluator"):
        digest = hashlib.sha256(f"{name}{values['_SHA']}".encode()).hexdigest()
        images[f"{folder}/{name}:{values['_SHA']}"] = f"sha256:{digest}"
    write("images.json", images)


def files():
    of = f"files/{FLAGS['package']}%2F"
    found = [
        {"name": f"projects/p/locations/l/repositories/r/{of}{name}", "hashes": [{"type": "SHA256", "value": value}]}
        for name, value in read("wheels.json").items()
        if f"-{FLAGS['version']}-" in name
    ]
    print(json.dumps(found))


def cat():
    file = local(WORDS[2])
    if not file.is_file():
        fail(f"The following URLs matched no objects or files: {WORDS[2]}")
    print(file.read_text(), end="")


def copy():
    target = local(WORDS[3])
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(local(WORDS[2]), target)


def rsync():
    source, target = local(WORDS[2]), local(WORDS[3])
    assert {"recursive", "delete-unmatched-destination-objects"} <= set(FLAGS)
    assert source.is_dir(), f"{source} is no folder"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def remove():
    shutil.rmtree(local(WORDS[2]))


def listed():
    folder = local(WORDS[3])
    found = objects(folder)
    if not found:
        fail("The following URLs matched no objects or files")
    digests = {p: base64.b64encode(hashlib.md5(p.read_bytes()).digest()).decode() for p in found}
    print(json.dumps([{"name": str(p.relative_to(folder.parent)), "md5_hash": d} for p, d in digests.items()]))


def token():
    print("a-token")


def publish():
    assert (os.environ["UV_PUBLISH_USERNAME"], os.environ["UV_PUBLISH_PASSWORD"]) == ("oauth2accesstoken", "a-token")
    wheel = Path(WORDS[1])
    digest = base64.b64encode(hashlib.sha256(wheel.read_bytes()).digest()).decode()
    write("wheels.json", {**read("wheels.json"), wheel.name: digest})


#: As `gcloud ... --help` of version 528.0.0 lists them, as far as a deployment needs them.
WHERE = {"location", "project"}
KNOWN = {
    "gcloud composer environments describe": WHERE,
    "gcloud composer environments update": {*WHERE, "update-pypi-packages-from-file"},
    "gcloud artifacts docker images describe": {"project"},
    "gcloud artifacts files list": {*WHERE, "package", "repository", "version"},
    "gcloud builds submit": {"config", "gcs-source-staging-dir", "project", "service-account", "substitutions"},
    "gcloud storage rsync": {"checksums-only", "delete-unmatched-destination-objects", "recursive"},
    "gcloud storage rm": {"recursive"},
    "uv publish": {"publish-url"},
}

COMMANDS = {
    "gcloud composer environments describe": describe,
    "gcloud composer environments update": update,
    "gcloud artifacts docker images describe": image,
    "gcloud artifacts files list": files,
    "gcloud builds submit": submit,
    "gcloud storage cat": cat,
    "gcloud storage cp": copy,
    "gcloud storage rsync": rsync,
    "gcloud storage rm": remove,
    "gcloud storage objects list": listed,
    "gcloud auth print-access-token": token,
    "uv publish": publish,
}

whole = " ".join([PROGRAM, *WORDS])
name = next((n for n in COMMANDS if f"{whole} ".startswith(f"{n} ")), None)
with (FOLDER / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(name or whole) + "\n")
for words, message in read("fails.json").items():
    if words in whole:
        fail(message)
if name is None:
    fail(f"Invalid choice: {whole}")
if unknown := set(FLAGS) - KNOWN.get(name, set()) - {"format", "quiet"}:
    fail(f"unrecognized arguments: {unknown}")
COMMANDS[name]()
