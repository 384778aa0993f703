"""Where keys come from.

A key is looked for in the environment, then in the project's ``.env``, then in the store that
``flowllm keys`` fills. Every key that is found is registered as a secret before it is used.
"""

import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import orjson

from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import SetupError
from flowllm.core.secrets import register

VERSION = 1
SHOWN = 4
"""Characters at the end of a key that may be shown, where it is long enough to stay secret."""


class KeyStore:
    """Keys by the name of their environment variable, in a file that only its owner can read.

    A file of an unknown version or shape is a `SetupError`, never overwritten.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        """The file; by default ``keys.json`` in the user's configuration folder."""
        if self._path is None:
            from platformdirs import user_config_path

            self._path = user_config_path("flowllm") / "keys.json"
        return self._path

    def set(self, name: str, key: str) -> None:
        """Keep ``key`` under ``name``, replacing what was there."""
        key = key.strip()
        plain = key.isascii() and key.isprintable()
        if not key or not plain or not name.isidentifier():
            kind = "an empty key" if not key else "a key" if plain else "a key with a line break or a strange letter"
            message = f"`{name}` with {kind} cannot be kept"
            raise SetupError("missing_key", message, hint="flowllm keys set OPENAI_API_KEY")
        register(key)
        with self._lock:
            self._write(self._read() | {name: key})

    def get(self, name: str) -> str | None:
        """The key, or None."""
        key = self._read().get(name)
        return register(key) if key else None

    def list(self) -> dict[str, str]:
        """Names with their keys masked."""
        return {name: masked(key) for name, key in sorted(self._read().items())}

    def remove(self, name: str) -> bool:
        """Forget a key; whether there was one."""
        with self._lock:
            keys = self._read()
            found = keys.pop(name, None) is not None
            if found:
                self._write(keys)
        return found

    def _read(self) -> dict[str, str]:
        try:
            data = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            raise self._unreadable(type(error).__name__) from None
        keys = data.get("keys") if isinstance(data, dict) and data.get("version") == VERSION else None
        if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
            raise self._unreadable("another version")
        return keys

    def _unreadable(self, reason: str) -> SetupError:
        message = f"the key file {self.path} cannot be read ({reason})"
        return SetupError("missing_key", message, hint="move the file away and set the keys again")

    def _write(self, keys: Mapping[str, str]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = orjson.dumps({"version": VERSION, "keys": dict(keys)}, option=orjson.OPT_INDENT_2)
        # mkstemp makes the file 0600 before anything is in it.
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".keys-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class KeySource:
    """Keys by precedence: environment, ``.env``, store."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        dotenv: Path | None = None,
        store: KeyStore | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._dotenv = dotenv
        self._from_file: Mapping[str, str | None] | None = None
        self._store = store or KeyStore()

    def __call__(self, auth: Auth) -> str | None:
        """The key for ``auth``, registered as a secret, or None."""
        found = self.find(auth)
        return found[0] if found else None

    def find(self, auth: Auth) -> tuple[str, str] | None:
        """The key and where it was found (``environment``, ``.env``, ``keys``)."""
        if auth.scheme == "none":
            return None
        for place, lookup in (("environment", self._environment.get), (".env", self._read_dotenv().get)):
            for name in auth.env:
                if key := (lookup(name) or "").strip():
                    return register(key), place
        for name in auth.env:
            if stored := self._store.get(name):
                return stored, "keys"
        return None

    def variables(self) -> dict[str, str]:
        """The environment over ``.env`` as they are now, without what is blank: what settings are read from."""
        places = (self._read_dotenv(), self._environment)
        return {name: value for place in places for name, value in place.items() if value and value.strip()}

    def _read_dotenv(self) -> Mapping[str, str | None]:
        if self._from_file is None:
            self._from_file = {}
            if self._dotenv is not None and self._dotenv.is_file():
                from dotenv import dotenv_values

                self._from_file = dotenv_values(self._dotenv, interpolate=False)
        return self._from_file


def masked(key: str) -> str:
    """A key as it may be shown: its end, and only where enough of it stays hidden."""
    return f"…{key[-SHOWN:]}" if len(key) >= SHOWN * 4 else "…"


def require_plain(key: str, auth: Auth, provider: str) -> str:
    """The key; `SetupError` ``missing_key``, without it, where no header could carry it."""
    if key.isascii() and key.isprintable():
        return key
    name = auth.env[0] if auth.env else f"{provider.upper()}_API_KEY"
    message = f"the key of `{provider}` holds a sign that no key has, such as a line break or a letter with an accent"
    raise SetupError("missing_key", message, hint=f"flowllm keys set {name}")


def require_key(card: ProviderCard, key: str | None) -> str | None:
    """The key, or `SetupError` ``missing_key`` where the provider needs one."""
    auth = card.auth
    if key or auth.scheme == "none" or not auth.required:
        return key
    name = auth.env[0] if auth.env else f"{card.name.upper()}_API_KEY"
    message = f"the provider `{card.name}` needs a key and ${name} is not set"
    raise SetupError("missing_key", message, hint=f"flowllm keys set {name}")
