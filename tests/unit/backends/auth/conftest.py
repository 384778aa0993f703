"""No credentials of this machine, and a server on it."""

import os

import pytest

from flowllm.core import secrets
from tests.unit.backends.auth.servers import serving

CLOUDS = ("AWS_", "GOOGLE_", "GCLOUD_", "GCE_", "AZURE_", "CLOUDSDK_", "IDENTITY_", "MSI_")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A home of its own; what is registered is forgotten again."""
    for name in os.environ:
        if name.startswith(CLOUDS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(secrets, "_SECRETS", {})
    return tmp_path


@pytest.fixture
def server():
    with serving() as made:
        yield made


class Clock:
    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()
