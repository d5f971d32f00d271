"""Dask ignores a setting that it does not know, so that one that was renamed would go unnoticed."""

import dask
import distributed  # noqa: F401 - brings the defaults
import pytest

from trainer.dask_settings import QUIET


@pytest.mark.parametrize("name", list(QUIET))
def test_dask_knows_the_setting(name: str) -> None:
    assert dask.config.get(name, default=None) is not None
