"""What a hub may answer, and what is refused of it: on a transport that sends what a test says."""

import asyncio

import orjson
import pytest

from flowllm.backends.local import hub as hubs
from flowllm.backends.local import pulling
from flowllm.backends.local.hub import Hub, Source
from flowllm.backends.local.pulling import Wish, pull
from flowllm.core.errors import ProviderFailure, SetupError
from tests.local_models.encoders import write_embedder
from tests.local_models.hub import COMMIT, SmallHub, files_of

SOURCE = Source("acme/tiny", "main")


class Said:
    """The body of an answer: pieces, then its end, or silence where ``hangs``."""

    def __init__(self, pieces, *, hangs=False):
        self.pieces, self.hangs = iter(pieces), hangs
        self.read_pieces, self.closed = 0, False

    async def read(self):
        piece = next(self.pieces, None)
        if piece is None and self.hangs:
            await asyncio.Event().wait()
        self.read_pieces += piece is not None
        return piece or b""

    async def aclose(self):
        self.closed = True


class Saying:
    """A transport that gives every request one answer, or what a function makes of it."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    async def send(self, request, seconds):
        self.asked.append(request)
        return self.answer(request) if callable(self.answer) else self.answer

    async def aclose(self):
        """Nothing is held."""


def hub_of(answer):
    hub = Hub("https://hub.test")
    hub._transport = Saying(answer)
    return hub


async def whole(hub, start):
    async with hub.file(SOURCE, COMMIT, "x.json", start) as (begins, pieces):
        return begins, b"".join([piece async for piece in pieces])


@pytest.mark.parametrize(
    ("status", "headers", "start", "begins"),
    [
        (200, {}, 0, 0),
        (200, {}, 5, 0),
        (200, {"Content-Encoding": "identity"}, 0, 0),
        (206, {"Content-Range": "bytes 5-9/10"}, 5, 5),
    ],
)
async def test_where_an_answer_begins(status, headers, start, begins):
    body = Said([b"abc", b"de"])
    assert await whole(hub_of((status, headers, body)), start) == (begins, b"abcde")
    assert body.closed


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (206, {"content-range": "bytes 4-9/10"}, "sends another part of x.json"),
        (206, {"content-range": "bytes 50-59/60"}, "sends another part of x.json"),
        (206, {}, "sends another part of x.json"),
        (200, {"content-encoding": "gzip"}, "does not send x.json as it is"),
        (206, {"content-range": "bytes 5-9/10", "content-encoding": "br"}, "does not send x.json as it is"),
        (416, {}, "does not send x.json as it is"),
    ],
)
async def test_bytes_that_are_not_those_asked_for_are_refused(status, headers, said):
    body = Said([b"abcde"])
    with pytest.raises(ProviderFailure, match=said) as caught:
        await whole(hub_of((status, headers, body)), 5)
    assert (caught.value.code, body.read_pieces, body.closed) == ("invalid_response", 0, True)


async def test_a_body_that_is_silent_counts_as_broken_off(monkeypatch):
    monkeypatch.setattr(hubs, "SILENCE", 0.0)
    async with asyncio.timeout(20):
        with pytest.raises(ProviderFailure, match=r"x\.json stopped coming for 0 s") as caught:
            await whole(hub_of((200, {}, Said([], hangs=True))), 0)
    assert caught.value.code == "truncated"


@pytest.mark.parametrize(
    ("asked", "told"),
    [("a" * 40, COMMIT), ("A" * 40, COMMIT), ("a" * 64, COMMIT), ("c" * 40, "c" * 64)],
)
async def test_a_commit_that_was_asked_for_is_the_one_that_comes(asked, told):
    body = Said([orjson.dumps({"sha": told, "siblings": []})])
    with pytest.raises(ProviderFailure, match=f"was asked for acme/tiny@{asked} and names the commit {told}") as caught:
        await hub_of((200, {}, body)).listing(Source("acme/tiny", asked))
    assert caught.value.code == "invalid_response"


@pytest.mark.parametrize("asked", [COMMIT, COMMIT.upper(), "main", "v1", "abad1dea", "a" * 39])
async def test_other_revisions_are_what_the_hub_says(asked):
    body = Said([orjson.dumps({"sha": COMMIT, "siblings": []})])
    assert (await hub_of((200, {}, body)).listing(Source("acme/tiny", asked))).commit == COMMIT


async def test_a_list_of_files_has_a_limit(monkeypatch):
    listing = orjson.dumps({"sha": COMMIT, "siblings": []})
    monkeypatch.setattr(hubs, "_LISTING", len(listing))
    assert (await hub_of((200, {}, Said([listing]))).listing(SOURCE)).commit == COMMIT
    body = Said([listing, b" "] + [b"x"] * 9)
    with pytest.raises(ProviderFailure, match="is larger than") as caught:
        await hub_of((200, {}, body)).listing(SOURCE)
    assert (caught.value.code, body.read_pieces) == ("body_too_large", 2)


class Watched:
    """Looks on."""

    def planned(self, files, kept):
        """Nothing to do."""

    def came(self, file, done):
        """Nothing to do."""


@pytest.fixture
def small(tmp_path):
    """The files of a model, and a hub that sends them."""
    small = SmallHub(files_of(write_embedder(tmp_path / "origin")))

    def answer(request):
        if "/api/models/" in request.url:
            return 200, {}, Said([orjson.dumps(small.listing())])
        name = request.url.partition(f"/resolve/{COMMIT}/")[2]
        return 200, {}, small.fakes.get(name) or Said([small.files[name]])

    small.hub = hub_of(answer)
    small.wish = Wish(SOURCE, "acme/tiny", tmp_path / "shelf")
    return small


async def test_a_body_longer_than_was_told_is_broken_off(small):
    size = len(small.files["config.json"])
    body = small.fakes["config.json"] = Said([bytes(size)] + [b"x"] * 99)
    with pytest.raises(SetupError, match="is not what the hub lists"):
        await pull(small.hub, small.wish, Watched())
    assert (body.read_pieces, body.closed) == (2, True)


async def test_a_model_is_read_beside_the_event_loop(small, monkeypatch):
    read = []

    def watched(place, name):
        work = getattr(place, name)

        def seen(*words):
            read.append((name, asyncio._get_running_loop() is None))
            return work(*words)

        monkeypatch.setattr(place, name, seen)

    watched(pulling, "_fed")
    watched(pulling, "read_graph")
    watched(pulling.manifest, "write_manifest")
    watched(pulling.manifest, "check_manifest")
    for _ in range(2):
        await pull(small.hub, small.wish, Watched())
    names = {"_fed", "read_graph", "write_manifest", "check_manifest"}
    assert set(read) == {(name, True) for name in names}


@pytest.mark.parametrize(("kept", "here"), [(b"", 0), (b"{", 1), (b"x" * 10_000, 0)])
async def test_only_bytes_that_were_not_here_count_as_fetched(small, kept, here):
    part = small.wish.target.with_name(f".tiny-{COMMIT[:12]}.part")
    part.mkdir(parents=True)
    (part / "config.json").write_bytes(kept)
    (part / "other").mkdir()
    (part / "other" / "old.json").write_text("{}")
    done = await pull(small.hub, small.wish, Watched())
    assert done.fetched == done.size - here == sum(map(len, small.files.values())) - here
    assert files_of(done.folder).keys() == {*small.files, "manifest.json"}, "nothing of an earlier try is left"
