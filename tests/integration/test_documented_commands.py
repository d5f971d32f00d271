"""Every command in the pages is run: here, by another test that is named, or it says what it needs that is not here.

A command is a line of a block without a language, or a code span that begins with a program. What holds it is, in this
order: the mark before it (``tests.fakes.documentation``), or for ``make`` and ``python -m`` a line of the tables below.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from composer.local.monitoring import program
from tests.bench.scale import NEEDED
from tests.fakes.documentation import REPOSITORY, Command, block_lines, command, named_tests, page, page_names, parse
from tests.fakes.run_plan import settings

LANGUAGES = ("", "text", "json", "python")
#: Programs that are named, not commands that somebody types.
NAMED = frozenset({"git archive", "kubectl logs", "python -m", "terraform fmt", "terraform validate"})


@dataclass(frozen=True)
class By:
    """Run by ``test``, in which ``words`` must stand."""

    test: str
    words: str


@dataclass(frozen=True)
class TooLong:
    """Not run by a test: what it takes, and what is looked at instead."""

    why: str


HERE = "run below"
UP = "tests/integration/test_up.py"
MAKE: Mapping[str, str | By | TooLong] = {
    "help": HERE,
    "run": By(UP, '("run", f"LAPS='),
    "score": By(UP, 'made("score", '),
    "runs": By(UP, '"composer.runs"'),
    "models": HERE,
    "costs": HERE,
    "new-model": By("tests/unit/composer/test_new_model.py", '["make", "new-model"]'),
    "preflight": By(UP, '"composer.preflight"'),
    "gate": By("tests/integration/test_gate.py", '"composer.gate"'),
    "deploy": By("tests/integration/deploy/test_deploy.py", '"composer.deploy"'),
    "up": By("tests/integration/stack_up.py", '"composer.local.up", "up"'),
    "down": By("tests/integration/stack_up.py", '"composer.local.up", "down"'),
    "metrics": By(UP, '"composer.local.metrics"'),
    "airflow": By(UP, '"composer.local.airflow_cli"'),
    "clean": HERE,
    "test": By(".ci/run", "make test"),
    "check": By(".ci/run", "make check"),
    "test-fastf1": By("tests/unit/data_tables/test_fastf1_recorded.py", "fastf1"),
    "test-cluster": By("tests/contract/kubernetes/test_attempts.py", "place"),
    "test-newest": TooLong("the whole suite in a second environment; that its files are there is checked"),
    "chaos": TooLong("15 minutes; make test has its short form, and its folders are checked"),
    "bench": TooLong("50 minutes; the names of its figures are checked"),
    "lock": TooLong("needs the package index"),
}
MODULES: Mapping[str, str | By | TooLong] = {
    "composer.monitoring.dashboard": HERE,
    "composer.monitoring.rules": HERE,
    "composer.monitoring.metrics_table": HERE,
    "composer.policy.page": HERE,
    "trainer.contract.schema": HERE,
    "tests.bench.scale": HERE,
    "tests.chaos.kill_worker_pods": HERE,
    "trainer.serve": By("tests/fakes/prediction_server.py", "trainer.serve"),
}
#: Variables that programs read from their environment, and where.
READ = {
    "AIRFLOW_URL": "composer/on_airflow.py",
    "AIRFLOW_TOKEN": "composer/on_airflow.py",
    "KUBECONFIG": "Makefile",
    "F1_TEST_IMAGE": "tests/contract/kubernetes/place.py",
    "UPDATE_GOLDEN": "tests/unit/kubernetes/test_manifests.py",
}
PROMTOOL = program("promtool")
FIXES = "mark it (see tests/fakes/documentation.py), or add a line to the tables of this test"


def commands() -> list[Command]:
    return [one for name in page_names() for one in page(name).commands]


def distinct(program: str) -> list[Command]:
    return list({(c.words, c.environment): c for c in commands() if c.words[0] == program}.values())


def words_of(name: str) -> str:
    """What a test, or all tests of a folder, say."""
    place = REPOSITORY / name
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def problem_with(one: Command) -> str:
    """Why nothing holds this command; "" where something does."""
    if mark := one.source.mark:
        return problem_with_mark(mark, one.source.page, keys_of(one))
    if " ".join(one.words) in NAMED:
        return ""
    # Of `python -X importtime -c "..."`, which measures, it is enough that it can be read.
    if one.words[0] == "python" and "-c" in one.words:
        compile(one.words[-1], one.place, "exec")
        return ""
    held = MAKE.get(one.target) if one.target else MODULES.get(one.module)
    if held is None:
        return f"nothing runs it: {FIXES}"
    if isinstance(held, By) and held.words not in words_of(held.test):
        return f"{held.test} does not run it any more: {held.words} is not there"
    return ""


def keys_of(one: Command) -> tuple[str, ...]:
    """What stands in a test that runs this command: the command's beginning, or the module behind it."""
    if one.target:
        return (f"make {one.target}", *re.findall(r"python -m ([\w.]+)", made(one.target)[1]))
    return (one.module or one.words[0],)


def problem_with_mark(mark: str, name: str, keys: tuple[str, ...]) -> str:
    missing = [test for test in named_tests(mark) if not (REPOSITORY / test).exists()]
    if missing:
        return f"the mark names {', '.join(missing)}, which is not there"
    if mark.startswith(("Needs", "Takes long")):
        return ""
    said = "".join(words_of(test) for test in named_tests(mark))
    runs = Path(name).name in said or any(key and key in said for key in keys)
    return "" if runs else f"the test that the mark names knows neither the page nor the command: {mark}"


@functools.cache
def made(*words: str) -> tuple[int, str]:
    """What ``make -n`` would do; not with the variables of a `make test` that started this test."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["make", "-n", *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", page_names())
def test_every_command_is_run_by_somebody_or_says_why_not(name: str) -> None:
    found = [(c, problem_with(c)) for c in page(name).commands]
    problems = [f"{c.place}: `{c.source.text}`: {problem}" for c, problem in found if problem]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", page_names())
def test_every_block_says_what_it_is(name: str) -> None:
    for block in page(name).blocks:
        assert block.language in LANGUAGES, f"{block.place}: {block.language!r}; one of {LANGUAGES}, none for commands"
        if block.language:
            problem = problem_with_mark(block.mark, name, ()) if block.mark else ""
            assert not problem, f"{block.place}: {problem}"
            continue
        strange = [line for line in block_lines(block) if command(line) is None]
        assert not strange, f"{strange[0].place}: {strange[0].text!r} is no command; output and pictures are ```text"


@pytest.mark.parametrize("name", page_names())
def test_what_is_shown_of_settings_and_programs_can_be_read(name: str) -> None:
    for block in page(name).blocks:
        if block.language == "python":
            compile(block.text, block.place, "exec")
        if block.language == "json":
            shown = json.loads(block.text.replace("sha256:...", f"sha256:{'0' * 64}"))
            # The page on costs shows that section alone.
            assert settings(**(shown if name != "docs/costs.md" else {"costs": shown})), block.place


def test_the_tables_hold_what_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(MAKE) == targets
    assert {t for t, held in MAKE.items() if held == HERE} <= {made_of(e).target for e in EXECUTED} | {"clean", "help"}
    assert not [m for m in MODULES if MODULES[m] == HERE and m not in Path(__file__).read_text().partition("FIXES")[2]]


@pytest.mark.parametrize("one", distinct("make"), ids=lambda c: f"{c.place} {c.target}")
def test_make_takes_what_is_documented(one: Command) -> None:
    code, whole = made(*one.words[1:])
    assert code == 0, f"{one.place}: {whole}"
    for name, value in one.variables.items():
        if name in READ:
            assert name in (REPOSITORY / READ[name]).read_text(), f"{one.place}: nothing reads {name}"
            continue
        others = [word for word in one.words[1:] if not word.startswith(f"{name}=")]
        changed = made(*others, f"{name}=zz9")[1]
        assert "zz9" in changed or changed != made(*others)[1], f"{one.place}: {name}={value} changes nothing"


@pytest.mark.parametrize(
    "one", [c for c in distinct("make") if c.variables.get("ARGS", "FILE") != "FILE" and c.target not in ("deploy", "airflow")],
    ids=lambda c: f"{c.place} {c.variables['ARGS']}",
)  # fmt: skip
def test_the_tests_that_are_named_are_there(one: Command) -> None:
    arguments = shlex.split(one.variables["ARGS"])
    chosen = arguments[arguments.index("-k") + 1] if "-k" in arguments else ""
    places = [word for word in arguments if word.startswith(("tests/", "."))]
    if not places and one.target == "chaos":
        places = re.findall(r"tests/\S+", made("chaos")[1])
    assert places, f"{one.place}: no test is named"
    for place in places:
        assert (REPOSITORY / place.partition("::")[0]).exists(), f"{one.place}: {place} is not there"
    found = "".join(re.findall(r"def (test_\w+)", "\n".join(words_of(p) for p in places)))
    files = [str(file) for p in places for file in [REPOSITORY / p, *(REPOSITORY / p).rglob("*.py")]]
    assert chosen in found + "".join(files), f"{one.place}: -k {chosen} selects nothing"


def test_the_figures_that_are_named_are_measured() -> None:
    measured = words_of("tests/bench")
    for one in distinct("make"):
        for figure in filter(None, one.variables.get("FIGURES", "").split(",")):
            assert f'"{figure}"' in measured, f"{one.place}: nothing measures {figure}"


@dataclass(frozen=True)
class Ends:
    """A command as it is documented, how it ends where nothing is up, and what it says."""

    line: str
    code: int
    words: str


EXECUTED = [
    Ends("make models", 0, "no model is registered below "),
    Ends("make costs", 0, "tire_degradation  4"),
    Ends("make runs", 2, "nothing is up: start it with `make up`"),
    Ends("make metrics", 2, "nothing is up: start it with `make up`"),
    Ends("make down", 0, "nothing is up"),
    Ends("make score LAPS=path", 2, "LAPS: path does not exist"),
    Ends("make run LAPS=laps.parquet", 2, "LAPS: laps.parquet does not exist"),
    Ends("make deploy", 0, "Nothing was done. Carry it out with APPLY=1"),
    Ends("python -m composer.policy.page", 0, ""),
]


def made_of(ends: Ends) -> Command:
    """The command among those that are documented: what nobody documents is not run."""
    return next(c for c in commands() if [*c.environment, *c.words] == shlex.split(ends.line))


def clean_environment(var: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPYCACHEPREFIX") if name in os.environ}
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}"
    return {**kept, "F1_VAR": str(var), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def run(words: list[str], var: Path, code: int = 0) -> str:
    """What a program says, which must end with ``code``."""
    done = subprocess.run(words, cwd=REPOSITORY, env=clean_environment(var), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("ends", EXECUTED, ids=lambda e: e.line)
def test_it_runs_as_documented(ends: Ends, tmp_path: Path) -> None:
    one = made_of(ends)
    ours = ["-s", "-o", ".venv/.run", f"BIN={Path(sys.executable).parent}"]
    words = ["make", *ours, *one.words[1:]] if one.target else [sys.executable, *one.words[1:]]
    assert ends.words in run(words, tmp_path, ends.code)


def test_make_help_lists_every_target(tmp_path: Path) -> None:
    listed = re.findall(r"^  make (\S+) +\S", run(["make", "help"], tmp_path), re.MULTILINE)
    assert sorted(listed) == sorted(MAKE)


def test_make_clean_leaves_what_is_committed(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in (".venv/bin", "var/cache", "build", "dist", "plugins/f1_training.egg-info", "docs"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, env=clean_environment(tmp_path), check=True, timeout=30)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Makefile", "docs", "plugins"]


def test_the_rules_of_alerts_are_rules(tmp_path: Path) -> None:
    for option in ([], ["--cloud-monitoring"]):
        text = run([sys.executable, "-m", "composer.monitoring.rules", *option], tmp_path)
        assert yaml.safe_load(text)["groups"][0]["rules"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed; .ci/prometheus fetches it")
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    (tmp_path / "rules.yaml").write_text(run([sys.executable, "-m", "composer.monitoring.rules"], tmp_path))
    assert "SUCCESS" in run([PROMTOOL, "check", "rules", str(tmp_path / "rules.yaml")], tmp_path)


def test_the_dashboard_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    said = run([sys.executable, "-m", "composer.monitoring.dashboard", str(tmp_path / "page")], tmp_path)
    assert f"--web.user-assets={tmp_path / 'page'}" in said
    assert (tmp_path / "page" / "index.html").exists()


def test_the_table_of_metrics_and_the_schema_are_what_is_printed(tmp_path: Path) -> None:
    table = run([sys.executable, "-m", "composer.monitoring.metrics_table"], tmp_path)
    assert table.strip() in (REPOSITORY / "docs/monitoring.md").read_text()
    schema = run([sys.executable, "-m", "trainer.contract.schema"], tmp_path)
    assert schema == (REPOSITORY / "trainer/contract/models/schema.json").read_text()


def test_the_page_on_scale_is_worked_out_from_its_unit_costs(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs/scale.md").read_text()
    costs = {name: re.findall(rf"^\| `{name}` \| ([\d.]+)", text, re.MULTILINE)[0] for name in NEEDED}
    file = tmp_path / "results.jsonl"
    file.write_text("\n".join(json.dumps({"figure": name, "value": float(costs[name])}) for name in NEEDED))
    said = run([sys.executable, "-m", "tests.bench.scale", str(file)], tmp_path)
    for name, shown in {"a round: computing": "1.38 s", "a round: exchanging": "0.09 s"}.items():
        assert re.search(rf"^{name} +{shown}$", said, re.MULTILINE), said
        assert f"{name} | {shown}" in text


def test_worker_pods_are_killed_until_the_chief_is_gone(tmp_path: Path) -> None:
    """On two processes that look like a worker's and a chief's pod, of a job that nobody else has."""
    job = f"documented-{os.getpid()}-"
    environment = {**clean_environment(tmp_path), "TRAINING_JOB_ID": f"{job}1"}
    program = "import time; time.sleep(60)"

    def pod(module: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program, module], env=environment, start_new_session=True)

    worker, chief = pod("trainer.worker"), pod("trainer.chief")
    words = [sys.executable, "-m", "tests.chaos.kill_worker_pods", "--job", job, "--every-s", "0.2"]
    killer = subprocess.Popen(words, cwd=REPOSITORY, env=clean_environment(tmp_path), stdout=subprocess.PIPE, text=True)
    try:
        assert worker.wait(timeout=30) == -signal.SIGKILL
        chief.kill()
        chief.wait(timeout=10)
        assert "1 kills landed" in killer.communicate(timeout=30)[0]
    finally:
        for process in (worker, chief, killer):
            process.kill()
    assert not psutil.pid_exists(worker.pid) or worker.poll() is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`make no-such-target`", "nothing runs it"),
        ("```\npython -m composer.nothing\n```", "nothing runs it"),
        ("`gcloud storage ls`", "nothing runs it"),
        ("<!-- Run by tests/unit/nothing.py. -->\n```\nmake up\n```", "which is not there"),
        ("<!-- Run by tests/unit/core/test_retry.py. -->\n```\nmake up\n```", "knows neither the page nor the command"),
        ("<!-- Needs Google Cloud: -->\n`gcloud storage ls`", "nothing runs it"),
        ("<!-- Needs Google Cloud: a bucket. -->\n\n`gcloud storage ls`", "nothing runs it"),
    ],
)
def test_a_command_that_nobody_runs_is_noticed(text: str, problem: str) -> None:
    (one,) = parse("docs/page.md", text).commands
    assert problem in problem_with(one)


def test_what_is_marked_is_let_through() -> None:
    text = "<!-- Needs Google Cloud: a bucket. -->\n1. `gcloud storage ls`, then\n   `gcloud storage\n   cat x`\n"
    found = parse("docs/page.md", text).commands
    assert [" ".join(c.words) for c in found] == ["gcloud storage ls", "gcloud storage cat x"]
    assert [problem_with(c) for c in found] == ["", ""]
