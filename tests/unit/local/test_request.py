"""What `make run` refuses, in words that name the variable, before anything is started."""

import argparse

import pytest

from composer.local.request import RequestError, RunRequest, add_arguments, read_request


def request(*arguments: str) -> RunRequest:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_request(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "0"), r"^WORKERS is 0; tire_degradation takes 1 to 10$"),
        (("--workers", "11"), r"^WORKERS is 11; tire_degradation takes 1 to 10$"),
        (("--workers", "x"), r"^WORKERS is 'x'; a whole number$"),
        (("--workers", "2.5"), r"^WORKERS is '2\.5'; a whole number$"),
        (("--model", "nope"), r"^MODEL: unknown model type 'nope'; the catalogue has: .*tire_degradation"),
        (("--engine", "catboost"), r"^ENGINE is 'catboost'; one of xgboost, lightgbm$"),
        (("--device", "tpu"), r"^DEVICE is 'tpu'; cpu or gpu$"),
        (("--rounds", "0"), r"^ROUNDS is 0; 1 to 100000$"),
        (("--run-id", "a b"), r"^RUN_ID is 'a b'; letters, digits"),
        (("--dry-run", "perhaps"), r"^DRY_RUN is 'perhaps'; 1 or 0$"),
    ],
)
def test_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        request(*arguments)


def test_all_models() -> None:
    asked = request("--model", "all")
    assert (asked.conf()["model_type"], asked.workers) == ("all", 2)
    with pytest.raises(RequestError, match="^WORKERS is 11; 1 to 10$"):
        request("--model", "all", "--workers", "11")


def test_a_linear_model_has_one_worker() -> None:
    assert request("--model", "brake_bias").workers == 1
    with pytest.raises(RequestError, match="^WORKERS is 2; brake_bias takes 1 to 1$"):
        request("--model", "brake_bias", "--workers", "2")


def test_defaults() -> None:
    asked = request()
    assert asked.workers == 2
    assert asked.conf() == {
        "model_type": "tire_degradation",
        "num_workers": 2,
        "engine": None,
        "device": "cpu",
        "rounds": None,
        "early_stopping_rounds": None,
        "dry_run": False,
    }
    assert asked.run_id.startswith("make-")


def test_a_gpu_is_asked_for_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from composer.local import request as module

    asked = []
    monkeypatch.setattr(module, "_require_device", lambda engine, device: asked.append((engine, device)))
    assert request("--device", "gpu").device == "gpu"
    assert asked == [("xgboost", "cuda")]
