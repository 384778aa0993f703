"""Which files of a repository make a model here: the graph of one precision with its weights, and small JSON files.

Programs, pickles, weights of other frameworks and graphs of other precisions are never among them. Names come from
a server: one that leads out of the model's folder refuses the whole repository.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from flowllm.backends.local.layout import PRECISIONS, is_small
from flowllm.backends.local.safety import safe_name
from flowllm.core.errors import SetupError
from flowllm.core.record import record
from flowllm.core.shell_line import shell_line

_STEMS = ("model", "decoder_model_merged")
_DATA = re.compile(r"(.+)[._]data(_\d+)?")
"""The name that exporters give to the weights of a graph: after the graph's own, with or without `.onnx`."""


@record
class HubFile:
    """A file as the hub lists it: bytes, sha256 where it is kept in LFS, else the sha1 of git's blob, or neither."""

    name: str
    size: int
    sha256: str = ""
    blob: str = ""


def by_name(files: Iterable[HubFile], repository: str) -> dict[str, HubFile]:
    """The files of a listing; `SetupError` where one would lie outside of the folder, or is listed twice."""
    found: dict[str, HubFile] = {}
    for file in files:
        if not safe_name(file.name):
            raise _bad(repository, f"a file outside of its folder: {file.name!r}")
        if file.name.casefold() in found:
            raise _bad(repository, f"the file {file.name!r} twice")
        found[file.name.casefold()] = file
    return {file.name: file for file in found.values()}


def wanted(files: Mapping[str, HubFile], precision: str, repository: str) -> list[HubFile]:
    """What the model needs, graphs last; `SetupError` where there is no graph of that precision."""
    graphs = _graphs(files, precision, repository)
    heads = {head for graph in graphs for head in (graph, graph.removesuffix(".onnx"))}
    data = [name for name in files if (found := _DATA.fullmatch(name)) and found[1] in heads]
    small = [name for name in files if is_small(name)]
    return [files[name] for name in dict.fromkeys((*sorted(small), *sorted(data), *graphs))]


def _graphs(files: Mapping[str, HubFile], precision: str, repository: str) -> list[str]:
    if "genai_config.json" in files:
        if precision:
            raise _built_in_one(repository, precision)
        found = sorted(name for name in files if name.endswith(".onnx") and "/" not in name)
        if not found:
            raise _no_graph(files, repository)
        return found
    known = _by_suffix(files)
    if not known:
        raise _no_graph(files, repository)
    fitting = sorted(suffix for suffix in known if precision in (suffix, PRECISIONS.get(suffix)))
    if precision and fitting:
        return [known[fitting[0]]]
    if not precision and ("" in known or len(known) == 1):
        return [known.get("") or next(iter(known.values()))]
    names = ", ".join(sorted({PRECISIONS.get(suffix, suffix) for suffix in known}))
    said = f"no graph of precision {precision}" if precision else "several graphs and no plain model.onnx"
    hint = f"--precision one of {names}" if len(known) > 1 else shell_line("flowllm", "pull", repository)
    raise SetupError("missing_model_file", f"{repository} holds {said} ({names} by the names of files)", hint=hint)


def _built_in_one(repository: str, precision: str) -> SetupError:
    """The error for a choice where there is none: what a builder's graph is held in, no name of a file tells."""
    message = f"{repository} is a folder of onnxruntime-genai's builder, with a graph in the one precision it was built"
    hint = shell_line("flowllm", "pull", repository)
    return SetupError("missing_model_file", f"{message} in: `{precision}` cannot be chosen", hint=hint)


def _by_suffix(files: Mapping[str, HubFile]) -> dict[str, str]:
    """Graphs by what stands after their stem, those of ``onnx/`` where the repository's own folder has none."""
    graphs = [PurePosixPath(name) for name in sorted(files) if name.endswith(".onnx")]
    places = [[path for path in graphs if str(path.parent) == place] for place in (".", "onnx")]
    for stem in _STEMS:
        for found in places:
            known = {p.stem.removeprefix(stem).removeprefix("_"): str(p) for p in found if p.stem.startswith(stem)}
            if known:
                return known
    others = [path for found in places for path in found]
    return {"": str(others[0])} if len(others) == 1 else {}


def _no_graph(files: Mapping[str, HubFile], repository: str) -> SetupError:
    deeper = sorted(str(PurePosixPath(name).parent) for name in files if name.endswith(".onnx"))
    hint = f"hf download {repository.partition('@')[0]} --local-dir NAME; flowllm export NAME"
    if deeper:
        message = f"{repository} holds ONNX graphs in {deeper[0]}, and none named model.onnx where layouts have it"
        return SetupError("missing_model_file", message, hint=hint)
    return SetupError("missing_model_file", f"{repository} holds no ONNX graph", hint=hint)


def _bad(repository: str, what: str) -> SetupError:
    return SetupError("bad_model_file", f"the hub's list of {repository} names {what}; nothing was written")
