"""Where the wheel's two packages lie; everything else about it is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(".", include=["trainer", "trainer.*"]), *find_packages("plugins")],
    package_dir={"f1_training": "plugins/f1_training"},
)
