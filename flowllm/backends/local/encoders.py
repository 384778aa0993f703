"""A loaded encoder: texts to vectors, pairs to scores, a text to a label, through one batcher."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowllm.backends.local.batching import Batcher, Limits
from flowllm.backends.local.layout import Description
from flowllm.backends.local.pooling import POOLS, Floats, unit
from flowllm.backends.local.refusals import Extra, of_vectors
from flowllm.backends.local.refused import refused
from flowllm.backends.local.sessions import Session
from flowllm.backends.local.shapes import length_of, rows_of
from flowllm.backends.local.tokenizing import Tokenizer, Tokens
from flowllm.core.errors import FlowError, NodeFailure, SetupError
from flowllm.core.record import record
from flowllm.core.scope import Scope

_LABELS = "labels"
_IN_GRAPH = "graph"


@record
class Wanted:
    """How vectors are made: a pooling by name (``graph``: made in there), of length 1 or not, after a prompt."""

    pooling: str
    normalize: bool
    prompt: str = ""


@record
class _Input:
    """A text as tokens, and what is to be made of it: a pooling, or the numbers of labels.

    ``unpooled`` tokens at its beginning are read and not pooled.
    """

    tokens: Tokens
    pooling: str
    unpooled: int = 0


class Encoder:
    """A session with its tokenizer. Close it to end its thread and let go of its memory."""

    def __init__(self, description: Description, opened: Session, limits: Limits | None = None) -> None:
        self.description = description
        self.opened = opened
        self.tokenizer = Tokenizer(description.folder, description.window)
        padding = description.special.pad_id
        token = description.special.pad
        found = padding if padding is not None else self.tokenizer.id_of(token) if token else None
        self._pad = found or 0
        limits = limits or Limits()
        if "attention_mask" not in opened.inputs:
            limits = replace(limits, uniform=True, lengths=())
        self._lengths = limits.lengths
        self._batcher: Batcher[_Input, Any] = Batcher(self._run, self._length, limits)

    @property
    def provider(self) -> str:
        """The execution provider that really runs it."""
        return self.opened.provider

    @property
    def _folder(self) -> str:
        """The name of its folder, for messages."""
        return self.description.folder.name

    kept = 0

    def forget(self) -> None:
        """It keeps nothing of the texts that it read."""

    def close(self) -> None:
        """End the process of an isolated model, with what it still works on, and the worker thread."""
        self.opened.close()
        self._batcher.close()

    def wanted(self, extra: Mapping[str, Any]) -> Wanted:
        """How vectors are made here, by the model's files and by ``extra`` over them."""
        found = self.description
        model = f"local/{found.folder.name}"
        for one in of_vectors(model, extra, found):
            raise refused(model, one.message, one.hint, one.code)
        said = Extra.model_validate(dict(extra))
        pooling = _IN_GRAPH if found.pooled else said.pooling or found.pooling or ""
        normalize = found.normalize if said.normalize is None else said.normalize
        return Wanted(pooling, bool(normalize), found.prompt if said.prompt is None else said.prompt)

    async def embed(self, texts: Sequence[str], wanted: Wanted, scope: Scope) -> tuple[Floats, int]:
        """Vectors (texts, dimensions), and the tokens that were read."""
        import numpy as np

        if not texts:
            return np.zeros((0, 0), dtype=np.float32), 0
        prefixed = [wanted.prompt + text for text in texts] if wanted.prompt else texts
        unpooled = await self._unpooled(wanted.prompt, scope)
        found, used = await self._asked(lambda: self.tokenizer.encode(prefixed), wanted.pooling, scope, unpooled)
        rows = np.stack(found)
        return (unit(rows) if wanted.normalize else rows), used

    async def _unpooled(self, prompt: str, scope: Scope) -> int:
        """The tokens that a prompt begins a text with, where they are not pooled: as it has alone, but for an end."""
        if self.description.prompt_pooled or not prompt:
            return 0
        alone: Any = await scope.run_in_thread(lambda: self.tokenizer.encode([prompt]))
        ids = alone[0].ids
        return len(ids) - (1 if ids and self.tokenizer.is_special(ids[-1]) else 0)

    def shortened(self, rows: Floats, size: int, extra: Mapping[str, Any]) -> Floats:
        """The first ``size`` numbers of each vector, of length 1 where the whole ones are."""
        cut = rows[:, :size]
        return unit(cut) if self.wanted(extra).normalize else cut

    async def score(self, query: str, documents: Sequence[str], scope: Scope) -> tuple[list[float], int]:
        """How well each document answers, by the model's own activation, and the tokens that were read."""
        import numpy as np

        if not documents:
            return [], 0
        found, used = await self._asked(lambda: self.tokenizer.encode_pairs(query, documents), _LABELS, scope)
        numbers = np.stack(found)[:, 0].astype(np.float64)
        scores = 1 / (1 + np.exp(-numbers)) if self.description.activation == "sigmoid" else numbers
        return [float(score) for score in scores], used

    async def classify(self, text: str, scope: Scope) -> tuple[dict[str, float], int]:
        """The share of each label, and the tokens that were read."""
        import numpy as np

        found, used = await self._asked(lambda: self.tokenizer.encode([text]), _LABELS, scope)
        powers = np.exp(found[0].astype(np.float64) - found[0].max())
        shares = powers / powers.sum()
        return {label: float(share) for label, share in zip(self.description.labels, shares, strict=True)}, used

    async def _asked(self, encode: Any, pooling: str, scope: Scope, unpooled: int = 0) -> tuple[list[Any], int]:
        """One result a text; tokenising and running are off the loop."""
        with self._batcher.coming():
            tokens: Any = await scope.run_in_thread(encode)
            self._require_tokens(tokens)
            future = self._batcher.submit([_Input(one, pooling, unpooled) for one in tokens])
        return await asyncio.wrap_future(future), sum(len(one.ids) for one in tokens)

    def _require_tokens(self, tokens: Sequence[Tokens]) -> None:
        """A text of no tokens would be pooled from padding, and its vector would depend on its neighbours."""
        empty = next((i for i, one in enumerate(tokens) if not one.ids), None)
        if empty is not None:
            message = f"text {empty} of {len(tokens)} has no token that the model in {self._folder} could read"
            raise NodeFailure("node_failed", message, hint="leave empty texts out")

    def _run(self, batch: Sequence[_Input]) -> list[Any]:
        """One batch, on the worker thread: a row a text, an error where that is no number."""
        import numpy as np

        mask = self._mask(batch)
        feeds = self._feeds(batch, mask)
        name = "logits" if self.description.labels else self.description.pooled or self.description.tokens
        try:
            rows = np.asarray(self.opened.run(feeds, (name,))[0], dtype=np.float32)
        except FlowError:
            raise
        except Exception as error:  # noqa: BLE001  the classes of ONNX Runtime have no common one
            raise self._failed(batch, str(error)) from None
        self._require_rows(rows, mask)
        found = rows[: len(batch)] if rows.ndim == 2 else self._pooled(rows, mask, batch)  # noqa: PLR2004
        fine: Any = np.isfinite(found).all(axis=1)
        return [row if fine[i] else self._no_number() for i, row in enumerate(found)]

    def _failed(self, batch: Sequence[_Input], told: str) -> FlowError:
        """The error of a run; where a small file is of another model it is called by its name."""
        known = self.description.config.get
        rows, places = known("vocab_size"), known("max_position_embeddings")
        number, length = max(max(one.tokens.ids) for one in batch), max(len(one.tokens.ids) for one in batch)
        if rows is not None and number >= rows:
            why = f"its tokenizer.json gives the number {number}, and its config.json has a vocab_size of {rows}"
        elif places is not None and length > places:
            why = f"it was given {length} tokens, and its config.json has {places} max_position_embeddings"
        else:
            return NodeFailure("node_failed", f"the model in {self._folder} failed: {told[:300]}")
        return SetupError("bad_model_file", f"the files of the model in {self._folder} do not fit each other: {why}")

    def _require_rows(self, rows: Floats, mask: Any) -> None:
        """A row for each text, of a number for each label where it has some, or a row for each token."""
        labels = len(self.description.labels)
        some = rows.shape[:-1] in (mask.shape[:1], mask.shape)
        if not (rows.shape == (len(mask), labels) if labels else some):
            shape = " x ".join(map(str, rows.shape))
            named = f", and its files name labels for {labels}" if labels else ""
            message = f"the model in {self._folder} gave {shape} numbers for a batch of {len(mask)}{named}"
            raise NodeFailure("node_failed", message)

    def _no_number(self) -> NodeFailure:
        message = f"the model in {self._folder} gave what is no number"
        return NodeFailure("node_failed", message, hint="precision: fp32 in the device's file")

    def _pooled(self, hidden: Floats, mask: Any, batch: Sequence[_Input]) -> Floats:
        import numpy as np

        hidden, real = hidden[: len(batch)], mask[: len(batch)].astype(np.float32)
        for row, one in enumerate(batch):
            real[row, : one.unpooled] = 0
        made = {pooling: POOLS[pooling](hidden, real) for pooling in {one.pooling for one in batch}}
        return np.stack([made[one.pooling][row] for row, one in enumerate(batch)])

    def _length(self, one: _Input) -> int:
        return length_of(len(one.tokens.ids), self._lengths, self.description.window)

    def _mask(self, batch: Sequence[_Input]) -> Any:
        """1 where a token is; rows that are added have one, as a row of none may come out as no number."""
        import numpy as np

        lengths = np.array([len(one.tokens.ids) for one in batch])
        added = rows_of(len(batch)) - len(batch) if self._lengths else 0
        lengths = np.pad(lengths, (0, added), constant_values=1)
        columns = max(self._length(one) for one in batch)
        return (np.arange(columns)[None, :] < lengths[:, None]).astype(np.int64)

    def _feeds(self, batch: Sequence[_Input], mask: Any) -> dict[str, Any]:
        """Arrays for the inputs that the graph has, padded on the right, and below where shapes are few."""
        import numpy as np

        places = np.cumsum(mask, axis=1) - 1
        known = {
            "input_ids": _padded([one.tokens.ids for one in batch], mask, self._pad),
            "token_type_ids": _padded([one.tokens.types for one in batch], mask, 0),
            "attention_mask": mask,
            "position_ids": np.maximum(places, 0),
        }
        unknown = self.opened.inputs.keys() - known
        if unknown:
            raise NodeFailure("node_failed", f"the model asks for {', '.join(sorted(unknown))}, which no text gives")
        return {
            name: known[name].astype(np.int32 if kind == "tensor(int32)" else np.int64, copy=False)
            for name, kind in self.opened.inputs.items()
        }


def _padded(rows: Sequence[Sequence[int]], mask: Any, pad: int) -> Any:
    import numpy as np

    made = np.full(mask.shape, pad, dtype=np.int64)
    for at, row in enumerate(rows):
        made[at, : len(row)] = row
    return made
