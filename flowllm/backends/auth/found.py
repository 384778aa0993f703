"""What is there to sign with, as far as this machine can tell without asking a network.

Places are named, secrets are not read further than to see that they are there.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson

from flowllm.backends.auth.keys import masked
from flowllm.backends.auth.signing import LIBRARIES, installed
from flowllm.core.aws_profile import Section, profile_name, sections
from flowllm.core.card import Auth

Find = Callable[[Auth], tuple[str, str] | None]
"""A key and where it was found."""

_PROFILES = {
    "aws_access_key_id": "access key",
    "credential_process": "process",
    "sso_session": "single sign-on",
    "sso_start_url": "single sign-on",
    "login_session": "login",
    "web_identity_token_file": "web identity",
    "role_arn": "role",
}


def signs_with(auth: Auth, find: Find, environment: Mapping[str, str] | None = None) -> str:
    """Where the credentials of a scheme that mints come from, empty where none are seen."""
    known = os.environ if environment is None else environment
    return next({"aws": _aws, "azure": _azure, "google": _google}[auth.scheme](find, known), "")


def what_signs(auth: Auth, find: Find, environment: Mapping[str, str] | None = None) -> str:
    """The same in words; what a machine's own role may give is not known here."""
    module, extra = LIBRARIES[auth.scheme]
    absent = "" if installed(module) else f", and {module} is not installed (extra: {extra})"
    key = f"${auth.env[0]} is not set, " if auth.env else ""
    return (signs_with(auth, find, environment) or f"{key}no credentials found here") + absent


def _aws(find: Find, environment: Mapping[str, str]) -> Iterator[str]:
    access, secret = (find(Auth("bearer", (name,))) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if access and secret:
        yield f"access key {masked(access[0])} ({access[1]})"
    profile = profile_name(environment)
    for section in sections(environment, profile):
        yield from _profile(section, profile)
    if environment.get("AWS_ROLE_ARN") and environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        yield "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"
    for name in ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        if environment.get(name):
            yield f"container ({name})"


def _profile(section: Section, profile: str) -> Iterator[str]:
    """How a profile of a shared file gets its credentials."""
    if section.words is None:
        yield f"profile {profile} ({section.file} cannot be read)"
        return
    for word, kind in _PROFILES.items():
        if word in section.words:
            yield f"profile {profile}: {kind} ({section.file})"


def _google(find: Find, environment: Mapping[str, str]) -> Iterator[str]:
    said = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    if said:
        yield f"{_kind(Path(said))} (GOOGLE_APPLICATION_CREDENTIALS)"
    folder = Path(environment.get("CLOUDSDK_CONFIG") or _home(environment) / ".config" / "gcloud")
    file = folder / "application_default_credentials.json"
    if file.is_file():
        yield f"{_kind(file)} ({file})"


def _kind(file: Path) -> str:
    """What a file of credentials says it is."""
    try:
        data = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return f"{file} is not there"
    except (OSError, orjson.JSONDecodeError):
        return f"{file} cannot be read"
    kind = data.get("type") if isinstance(data, Mapping) else None
    return kind.replace("_", " ") if isinstance(kind, str) else f"{file} holds no credentials"


def _azure(find: Find, environment: Mapping[str, str]) -> Iterator[str]:
    if environment.get("AZURE_TENANT_ID") and environment.get("AZURE_CLIENT_ID"):
        for name in ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"):
            if environment.get(name):
                yield f"service principal ({name})"
    if environment.get("IDENTITY_ENDPOINT"):
        yield "managed identity (IDENTITY_ENDPOINT)"
    folder = Path(environment.get("AZURE_CONFIG_DIR") or _home(environment) / ".azure")
    if (folder / "azureProfile.json").is_file():
        yield f"az login ({folder})"


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or "~").expanduser()
