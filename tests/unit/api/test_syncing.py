"""A table into a folder of registry files: what is written, what is refused, and what a fault leaves behind."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from flowllm.api import syncing
from flowllm.api.syncing import TABLE, Source, sync_models
from flowllm.catalog import Registry
from flowllm.catalog.importing import writing
from flowllm.core.errors import PipelineInvalid, UsageError

DAY = "2026-11-20"


def row(provider, price=1e-6, **more):
    return {"litellm_provider": provider, "mode": "chat", "input_cost_per_token": price, **more}


FOUR = {"a": row("openai"), "b": row("openai"), "x/c": row("x"), "x/d": row("x")}


def sync(tmp_path, rows, *, release="1", name="table.json", **how):
    file = tmp_path / name
    file.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return sync_models(Source(path=file, release=release, as_of=DAY), tmp_path / "models", **how)


def held(tmp_path):
    """Every file of the folder, with its bytes."""
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "models").glob("*"))}


def test_a_file_a_provider_and_a_line_an_entry(tmp_path):
    report = sync(tmp_path, FOUR)
    assert (report.added, report.files) == (["openai/a", "openai/b", "x/c", "x/d"], ["openai.json", "x.json"])
    assert held(tmp_path)["x.json"].decode().splitlines() == [
        "{",
        ' "table": "litellm",',
        ' "version": "1",',
        f' "as_of": "{DAY}",',
        ' "licence": "MIT, Copyright (c) 2023 Berri AI",',
        ' "models": {',
        '"c":{"mode":"chat","prices":[["input","0.000001"]]},',
        '"d":{"mode":"chat","prices":[["input","0.000001"]]}',
        "}}",
    ]
    assert Registry([tmp_path / "models"]).find("x", "c").prices.version == "litellm 1"


def test_the_second_time_changes_nothing(tmp_path):
    sync(tmp_path, FOUR)
    before = {name: (tmp_path / "models" / name).stat().st_mtime_ns for name in held(tmp_path)}
    report = sync(tmp_path, dict(reversed(FOUR.items())))
    assert (report.files, report.added, report.removed, report.changed) == ([], [], [], [])
    assert {name: (tmp_path / "models" / name).stat().st_mtime_ns for name in before} == before


@pytest.mark.parametrize(
    ("rows", "added", "removed", "changed"),
    [
        ({"e": row("openai")}, ["openai/e"], [], []),
        ({"b": None}, [], ["openai/b"], []),
        ({"b": row("openai", 2e-6)}, [], [], [("openai/b", "price of input", "0.000001", "0.000002")]),
        (
            {"b": row("openai", None, input_cost_per_token_batches=1e-6, max_input_tokens=9)},
            [],
            [],
            [
                ("openai/b", "price of input", "0.000001", None),
                ("openai/b", "max_input", None, 9),
                ("openai/b", "price of input service batch", None, "0.000001"),
            ],
        ),
    ],
)
def test_what_changes_is_told(tmp_path, rows, added, removed, changed):
    sync(tmp_path, FOUR)
    whole = {name: told for name, told in {**FOUR, **rows}.items() if told}
    dry = sync(tmp_path, whole, dry_run=True)
    report = sync(tmp_path, whole)
    for told in (dry, report):
        assert (told.added, told.removed) == (added, removed)
        assert [(one.model, one.fact, one.before, one.after) for one in told.changed] == changed
    assert (dry.files, report.files) == ([], ["openai.json"])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"a": row("openai")}, "1 models, less than half of the 4"),
        ({}, "0 models, less than half of the 4"),
        ({"a": row("openai"), "b": row("openai")}, "no model of x"),
    ],
)
def test_a_shrunken_table_is_refused_unless_told(tmp_path, rows, told):
    sync(tmp_path, FOUR)
    before = held(tmp_path)
    assert told in sync(tmp_path, rows, dry_run=True).refused
    with pytest.raises(UsageError, match=told) as caught:
        sync(tmp_path, rows)
    assert (caught.value.code, "--allow-shrink" in caught.value.hint, held(tmp_path)) == ("file_refused", True, before)
    sync(tmp_path, rows, allow_shrink=True)
    assert list(held(tmp_path)) == sorted({f"{told['litellm_provider']}.json" for told in rows.values()})


def test_half_is_enough(tmp_path):
    sync(tmp_path, {f"{n}": row("openai") for n in range(4)})
    assert len(sync(tmp_path, {f"{n}": row("openai") for n in range(2)}).removed) == 2


SHEET = "provider: {}\nmodels:\n  m: {{context_window: 4096, pricing: {{input: 0.15}}}}\n"


def test_a_sheet_speaks_of_its_own_provider(tmp_path):
    sync(tmp_path, SHEET.format("one"), name="one.yml")
    report = sync(tmp_path, SHEET.format("two"), name="two.yaml")
    assert (report.added, report.vanished, list(held(tmp_path))) == (["two/m"], [], ["one.json", "two.json"])
    sync(tmp_path, FOUR)
    assert {"one.json", "two.json", "x.json"} <= held(tmp_path).keys()


def test_entries_of_another_table_are_not_written_over(tmp_path):
    sync(tmp_path, SHEET.format("openai"), name="openai.yml")
    assert sync(tmp_path, FOUR, dry_run=True).as_json()["refused"].endswith("openai.json` is from another table")
    with pytest.raises(UsageError, match=r"openai\.json` is from another table"):
        sync(tmp_path, FOUR)
    sync(tmp_path, FOUR, allow_shrink=True)
    assert b'"litellm"' in held(tmp_path)["openai.json"]


def wheel(tmp_path, name=f"litellm/{TABLE}", day=(1980, 1, 1, 0, 0, 0), text=None):
    path = tmp_path / "litellm-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name, day), json.dumps(FOUR) if text is None else text)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


@pytest.mark.parametrize(
    ("day", "as_of", "told"),
    [
        ((1980, 1, 1, 0, 0, 0), "", "2023-11-14"),
        ((2026, 3, 4, 5, 6, 8), "", "2026-03-04"),
        ((2026, 3, 4, 5, 6, 8), DAY, DAY),
    ],
)
def test_a_wheel_tells_its_version_and_its_day(tmp_path, day, as_of, told):
    head = sync_models(Source(path=wheel(tmp_path, day=day), as_of=as_of), tmp_path / "models").table.head
    assert (head.version, head.as_of) == ("1.2.3", told)


def test_a_file_that_was_touched_keeps_the_day_that_its_table_has(tmp_path):
    sync(tmp_path, FOUR)
    file = tmp_path / "table.json"
    for seconds in (0, 1_700_000_000):
        os.utime(file, (seconds, seconds))
        assert sync_models(Source(path=file, release="1"), tmp_path / "models").files == []


def test_a_file_without_a_version_has_that_of_its_bytes(tmp_path):
    versions = [sync(tmp_path, text, release="", dry_run=True).table.head.version for text in ("{}", "{ }", "{}")]
    assert versions[0] == versions[2] != versions[1]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder / "none.json", "none.json"),
        (lambda folder: folder, "was not read"),
        (lambda folder: wheel(folder, name="other/file.json"), "the wheel holds no model_prices"),
        (lambda folder: wheel(folder, text="{"), "no JSON"),
        (lambda folder: wheel(folder, text=" " * (11 * 1024 * 1024)), "larger than 10 MiB"),
        (lambda folder: written(folder / "a.whl", b"no zip"), "no wheel that can be read"),
        (lambda folder: written(folder / "a.whl", damaged(wheel(folder).read_bytes())), "no wheel that can be read"),
        (lambda folder: written(folder / "a.whl", damaged(packed(folder), skipped=4)), "no wheel that can be read"),
        (lambda folder: written(folder / "a.json", b'{"a": {"b": ' + b"9" * 5000 + b"}}"), "more digits than"),
        (lambda folder: written(folder / "a.json", b"[]"), "maps the names of models"),
        (lambda folder: written(folder / "a.json", b"{\n x}"), "line 2, column 2"),
        (lambda folder: written(folder / "a.yaml", b"models: {}"), "it needs `provider"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, make, told):
    with pytest.raises(UsageError, match=told) as caught:
        sync_models(Source(path=make(tmp_path)), tmp_path / "models")
    assert (caught.value.code, (tmp_path / "models").exists()) == ("file_refused", False)


def packed(folder: Path) -> bytes:
    """A wheel whose one member is packed by LZMA."""
    with zipfile.ZipFile(folder / "packed.whl", "w", zipfile.ZIP_LZMA) as file:
        file.writestr(TABLE, json.dumps(FOUR) * 9)
    return (folder / "packed.whl").read_bytes()


def damaged(data: bytes, skipped: int = 0) -> bytes:
    """A wheel whose one member is broken in its middle; bytes of the packer's own head are skipped."""
    middle = data.index(TABLE.encode()) + len(TABLE) + skipped
    return data[:middle] + b"\xff" * 9 + data[middle + 9 :]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_yaml_that_is_none_has_its_place(tmp_path):
    with pytest.raises(PipelineInvalid) as caught:
        sync(tmp_path, "provider: [", name="a.yml")
    assert caught.value.problems[0].origin.file.endswith("a.yml")


def test_a_day_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="`soon` is no day"):
        sync_models(Source(path=written(tmp_path / "a.json", b"{}"), as_of="soon"), tmp_path / "models")


@pytest.mark.parametrize("fails", ["openai.json", "x.json"])
def test_a_fault_while_writing_leaves_every_old_file_whole(tmp_path, monkeypatch, fails):
    sync(tmp_path, FOUR)
    before = held(tmp_path)
    whole = writing._write_whole

    def breaking(path, text):
        if fails in path.name:
            path.write_text(text[:20])
            raise OSError(28, "No space left on device")
        whole(path, text)

    monkeypatch.setattr(writing, "_write_whole", breaking)
    with pytest.raises(UsageError, match="No space left"):
        sync(tmp_path, {name: {**told, "max_input_tokens": 5} for name, told in FOUR.items()})
    assert held(tmp_path) == before


@pytest.mark.parametrize("fails", ["openai.json", "x.json", "z.json"])
def test_a_fault_between_two_files_brings_the_old_ones_back(tmp_path, monkeypatch, fails):
    old = {**FOUR, "z/e": row("z")}
    sync(tmp_path, old)
    before = held(tmp_path)
    replace, unlink, failed = Path.replace, Path.unlink, []

    def breaking(do):
        def change(path, *words, **how):
            if (words[0] if words else path).name == fails and not failed:
                failed.append(path)
                raise OSError(5, "Input/output error")
            return do(path, *words, **how)

        return change

    monkeypatch.setattr(Path, "replace", breaking(replace))
    monkeypatch.setattr(Path, "unlink", breaking(unlink))
    new = {"n/a": row("n")} | {name: {**told, "max_input_tokens": 5} for name, told in FOUR.items()}
    with pytest.raises(UsageError, match="Input/output error"):
        sync(tmp_path, new, allow_shrink=True)
    assert (len(failed), held(tmp_path)) == (1, before)
    sync(tmp_path, new, allow_shrink=True)
    assert list(held(tmp_path)) == ["n.json", "openai.json", "x.json"]


@pytest.mark.parametrize("price", ["1.23456789012e-25", "1e-28", "0.1", "1e-40", "0e-50", "123456.7890123456789e-12"])
def test_whatever_is_written_is_read_again(tmp_path, price):
    row = '{"m": {"litellm_provider": "deepseek", "input_cost_per_token": 1e-6, "output_cost_per_token": %s,'
    row += ' "provider_specific_entry": {"us": 1.00000000000000000000000000000000001}}}'
    sync(tmp_path, row % price)
    assert Registry([tmp_path / "models"]).find("deepseek", "m").prices.rates[0].item == "input"


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    sync(tmp_path, FOUR)
    before = held(tmp_path)
    monkeypatch.setattr(syncing, "row_of", lambda card: {"prices": [["input", "1e-7"]]})
    with pytest.raises(UsageError, match="`x/c` could not be read again: an amount is a plain decimal") as caught:
        sync(tmp_path, FOUR)
    assert (caught.value.code, held(tmp_path)) == ("file_refused", before)


def test_the_files_stay_in_their_folder(tmp_path):
    rows = {f"{n}": row(name) for n, name in enumerate(("../up", "/abs", "a/b", "..", "con\0", "ok"))}
    assert sync(tmp_path, rows).files == ["ok.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "table.json"]
