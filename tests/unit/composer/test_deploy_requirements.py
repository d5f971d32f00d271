"""A requirement that the Composer image cannot meet is found before anybody waits half an hour for it."""

import pytest

from composer.deploy.gcloud import DeployError
from composer.deploy.requirements import conflicts, read_requirements, read_shipped, require_no_conflict

FROZEN = """\
# What the Composer image ships (composer-3-airflow-3.3.1-build.2).
apache-airflow==3.3.1
apache-airflow-providers-google==22.2.2
Typing_Extensions==4.15.0
"""
COLUMNS = """\
PACKAGE                          VERSION
apache-airflow                   3.3.1
apache-airflow-providers-google  22.2.2
typing-extensions                4.15.0
"""


def told(requirements: str, shipped: str = FROZEN, version: str = "0.1.0") -> list[str]:
    found = conflicts(read_requirements(requirements), read_shipped(shipped), "f1-training", version)
    return [conflict.told() for conflict in found]


@pytest.mark.parametrize("text", [FROZEN, COLUMNS])
def test_both_ways_to_list_packages_are_read(text: str) -> None:
    shipped = read_shipped(text)
    assert shipped.versions == {
        "apache-airflow": "3.3.1",
        "apache-airflow-providers-google": "22.2.2",
        "typing-extensions": "4.15.0",
    }
    assert shipped.image == ("composer-3-airflow-3.3.1-build.2" if text is FROZEN else "")


@pytest.mark.parametrize(
    "line",
    [
        "apache-airflow-providers-google==22.2.2",
        "apache-airflow-providers-google>=22,<23",
        "typing_extensions==4.15.0",
        "f1-training==0.1.0",
        "gcsfs==2026.10.1  # the image has none",
        "# only a comment",
    ],
)
def test_what_fits(line: str) -> None:
    assert told(line) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "apache-airflow-providers-google==22.3.0",
            "google==22.3.0: the image ships apache-airflow-providers-google 22.2.2; pin apache-airflow-providers-google==22.2.2 in requirements/composer-image.txt and run `make lock`",
        ),
        ("typing-extensions<4", "typing-extensions<4: the image ships typing-extensions 4.15.0; pin"),
        ("apache-airflow==3.4.0", "apache-airflow==3.4.0: the image is Airflow 3.3.1; leave the line out"),
        ("f1-training==0.2.0", "f1-training==0.2.0: pyproject.toml has version 0.1.0; run `make lock`"),
        ("fsspec==1\nFSSpec==2", "the package is named twice; keep one of them; `fsspec==1` is there, too"),
    ],
)
def test_what_conflicts_is_named_with_both_versions_and_the_fix(line: str, words: str) -> None:
    (found,) = told(line)
    assert words in found


def test_all_conflicts_are_told_at_once() -> None:
    text = "typing-extensions<4\napache-airflow-providers-google==1\n"
    found = conflicts(read_requirements(text), read_shipped(FROZEN), "f1-training", "0.1.0")
    with pytest.raises(
        DeployError, match=r"(?s)composer-3-airflow-3.3.1-build.2; nothing was touched:.*typing.*google"
    ):
        require_no_conflict(found, "composer-3-airflow-3.3.1-build.2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fsspec\n===", "line 2: '===' is no requirement"),
        ("f1-training @ https://example.com/x.whl", "line 1: Composer takes no address; publish f1-training"),
    ],
)
def test_lines_that_composer_does_not_take(text: str, words: str) -> None:
    with pytest.raises(DeployError, match=words):
        read_requirements(text)
