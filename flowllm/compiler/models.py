"""Which models a pipeline asks: aliases, groups and ``provider/model`` against the catalog."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from datetime import date
from typing import Any

from flowllm.backends.calling import UNSAID
from flowllm.compiler.candidates import candidates
from flowllm.compiler.capabilities import last_day
from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.errors import PipelineInvalid, Problem
from flowllm.core.origin import Origin
from flowllm.core.record import record
from flowllm.core.request import Chat, Embed, Request, Rerank
from flowllm.core.spec import PipelineSpec


@record
class Asked:
    """Where a model is named: ``where`` in the pipeline's words, ``task`` what it is asked for.

    ``needs`` are capabilities, ``says`` what not every format has a word for; ``needed`` says whether the call can run
    at all.
    """

    where: str
    origin: Origin
    task: str = "chat"
    needs: frozenset[str] = frozenset()
    says: frozenset[str] = frozenset()
    needed: bool = True


@record(frozen=False)
class Models:
    """The model names of one pipeline. ``groups`` are those that its plan has to carry.

    ``inherited`` is the model of the pipeline around, for calls that name none here. ``today`` is the day by which
    models count as deprecated; None does not ask.
    """

    spec: PipelineSpec
    catalog: Catalog
    findings: Findings
    inherited: str | None = None
    groups: dict[str, Any] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    today: date | None = None

    def default(self, task: str) -> tuple[str | None, str]:
        """The model of a node that names none, and the top-level key that says so."""
        if task == "chat":
            return self.spec.model or self.inherited, "model"
        return self.spec.embedder, "embedder"

    def resolve(self, name: str, asked: Asked, *, keep_alias: bool = False) -> str | None:
        """The ``provider/model`` or the group's name that ``name`` leads to; None when reported.

        ``keep_alias`` puts an alias into the plan too, for a name that is only known when it runs.
        """
        seen = [name]
        while isinstance(meaning := self.spec.models.get(name), str):
            name = meaning
            if name in seen:
                self._circle([*seen, name])
                return None
            seen.append(name)
        found = self._group(name, meaning, asked) if name in self.spec.models else self._model(name, asked)
        if found is not None and keep_alias and seen[0] != found:
            self.groups[seen[0]] = found
        return found

    def cards(self, names: Iterable[str | None]) -> dict[str, ModelCard]:
        """What is known of the models behind names that were resolved."""
        flat = dict.fromkeys(model for name in names for model in candidates(name, self.groups))
        found = ((name, self.catalog.model(name)) for name in flat if name in self.used)
        return {name: card for name, card in found if card is not None}

    def _circle(self, seen: list[str]) -> None:
        place = self.spec.place(f"models.{seen[0]}")
        message = f"the models {' -> '.join(seen)} name each other"
        self.findings.report("cycle", message, f"models.{seen[0]}", place, f"{seen[0]}: openai/gpt-5.4-mini")

    def _group(self, name: str, meaning: Any, asked: Asked) -> str | None:
        where, place = f"models.{name}", self.spec.place(f"models.{name}")
        among = meaning.get("among") if isinstance(meaning, Mapping) else None
        if not isinstance(among, list) or not among or not all(isinstance(member, str) for member in among):
            message = f"the group `{name}` lists its models in `among`"
            hint = f"{name}: {{strategy: least_latency, among: [openai/gpt-5.4-mini, ollama/qwen3]}}"
            self.findings.report("bad_value", message, where, place, hint)
            return None
        unknown = next((key for key in meaning if key not in ("strategy", "among")), None)
        if unknown is not None:
            hint, place = did_you_mean(str(unknown), ("strategy", "among")), self.spec.key_place(f"{where}.{unknown}")
            self.findings.report("unknown_field", f"a group has no `{unknown}`", f"{where}.{unknown}", place, hint)
        if "strategy" in meaning and asked.needed:
            message = f"`{asked.where}` asks the group `{name}`, and choosing by strategy is not available yet"
            self.findings.report("not_available_yet", message, f"{where}.strategy", place, f"model: {among[0]}")
        if name not in self.groups:
            self.groups[name] = {}
            members = [self.resolve(member, replace(asked, where=f"{where}.among", origin=place)) for member in among]
            flat = dict.fromkeys(model for member in members for model in candidates(member, self.groups))
            self.groups[name] = {**meaning, "among": list(flat)}
        elif not self.groups[name]:
            under_way = [other for other, found in self.groups.items() if not found]
            self._circle([*under_way[under_way.index(name) :], name])
            return None
        return name

    def _model(self, name: str, asked: Asked) -> str | None:
        provider, slash, model = name.partition("/")
        if not provider or not model:
            hint = did_you_mean(name, self.spec.models) if self.spec.models else ""
            example = "gpt-5.4-mini" if slash or not name else name
            hint = hint or f"a model is written provider/model, for example openai/{example}"
            self.findings.report("unknown_model", f"there is no model `{name}`", asked.where, asked.origin, hint)
            return None
        if provider not in self.catalog.providers:
            hint = did_you_mean(provider, self.catalog.providers, "", f"/{model}") or "flowllm providers list"
            message = f"there is no provider `{provider}`"
            found = Problem("unknown_provider", message, asked.where, asked.origin, hint, named=provider)
            self.findings.add(found)
            return None
        card = self._card(provider)
        return None if card is None else self._listed(name, card, model, asked)

    def _card(self, provider: str) -> ProviderCard | None:
        """The card of an installed provider; None where its file is broken, which is reported."""
        try:
            return self.catalog.providers[provider]
        except PipelineInvalid as error:
            for problem in error.problems:
                self.findings.add(problem)
        return None

    def _listed(self, name: str, card: ProviderCard, model: str, asked: Asked) -> str | None:
        entry = self.catalog.model(name)
        if model not in card.models and not card.open_models:
            hint = did_you_mean(model, card.models, f"{card.name}/")
            message = f"`{card.name}` has no model `{model}`"
            self.findings.report("unknown_model", message, asked.where, asked.origin, hint)
            return None
        if card.origin.file and not (card.wire or card.local):
            message = f"the file of `{card.name}` does not say how it is spoken to"
            self.findings.report("missing_field", message, f"{card.name}.wire", card.origin, _WIRES[asked.task])
        elif card.wire and asked.task not in card.wire:
            message = f"`{card.name}` answers no {asked.task} requests"
            self.findings.report("capability_mismatch", message, asked.where, asked.origin, self._others(card, asked))
        elif unsaid := _unsaid(card, asked):
            message = f"the format of `{card.name}` cannot say {' or '.join(f'`{word}`' for word in sorted(unsaid))}"
            self.findings.report("capability_mismatch", message, asked.where, asked.origin, self._others(card, asked))
        elif entry is not None:
            self._capable(name, card, entry, asked)
            self._lasting(name, entry, asked)
        self.used.add(name)
        return name

    def _capable(self, name: str, card: ProviderCard, entry: ModelCard, asked: Asked) -> None:
        lacking = _lacking(card, entry, asked)
        if asked.task not in entry.tasks:
            what = f"answers no {asked.task} requests"
        elif lacking:
            what = f"takes no {' and no '.join(_WORDS.get(need, need) for need in sorted(lacking))}"
        else:
            return
        message, hint = f"`{name}` {what}", self._others(card, asked)
        self.findings.report("capability_mismatch", message, asked.where, asked.origin, hint)

    def _lasting(self, name: str, entry: ModelCard, asked: Asked) -> None:
        ended = last_day(name, entry, self.today)
        if ended is not None:
            hint = f"flowllm models recommend --task {asked.task}" + "".join(
                f" --supports {need}" for need in sorted(asked.needs)
            )
            self.findings.report(*ended, asked.where, asked.origin, hint)

    def _others(self, own: ProviderCard, asked: Asked) -> str:
        """A model that can do what is asked, as far as that is known: one of the same provider before others.

        Providers with broken files are passed over, and so are, unless one of theirs was asked, those of this process:
        their models make answers up, or lie on this machine.
        """
        for provider in (own.name, *self.catalog.providers):
            with suppress(PipelineInvalid):
                card = self.catalog.providers[provider]
                made_up = card.local and card.open_models and provider != own.name
                if made_up or _unsaid(card, asked):
                    continue
                able = (one for one in card.models.values() if asked.task in one.tasks and _can(card, one, asked))
                found = next(able, None)
                if found is not None:
                    return f"model: {provider}/{found.id}"
        return ""


_WIRES = {
    "chat": "wire: {chat: openai_chat}",
    "embed": "wire: {embed: openai_embeddings}",
    "rerank": "wire: {rerank: rerank}",
}
_PLAIN: Mapping[str, Request] = {"chat": Chat("", ()), "embed": Embed("", ()), "rerank": Rerank("", "", ())}
"""Requests that ask for nothing but their task."""
_WORDS = {"json_schema": "`schema`", "reasoning": "`reasoning`"}
"""Capabilities in the words of a pipeline, where those are others."""


def _lacking(card: ProviderCard, entry: ModelCard, asked: Asked) -> frozenset[str]:
    """What a model is known not to be able to do."""
    return frozenset(need for need in asked.needs - _told(card, entry) if entry.can(need) is False)


def _unsaid(card: ProviderCard, asked: Asked) -> frozenset[str]:
    """What a provider's format has no word for."""
    return asked.says & UNSAID.get(card.wire.get(asked.task, ""), frozenset())


def _told(card: ProviderCard, entry: ModelCard) -> frozenset[str]:
    """What a model need not be able to do: its wire asks for JSON without schemas in words, or leaves efforts out."""
    quirks = {**card.quirks, **entry.quirks}
    told = {"json_schema"} if quirks.get("structured", "json_schema") != "json_schema" else set()
    return frozenset(told | {"reasoning"} if "reasoning_effort" in quirks.get("drop", ()) else told)


def _can(card: ProviderCard, entry: ModelCard, asked: Asked) -> bool:
    """Whether a model is known to be able to do what is asked, and refuses nothing of a request without more."""
    plain = _PLAIN[asked.task]
    refused = entry.foresight is not None and any(entry.foresight.refusals(plain))
    return not refused and all(entry.can(need) for need in asked.needs - _told(card, entry))


def entries(names: set[str], catalog: Catalog) -> dict[str, Any]:
    """What the catalog says of models, as far as it can change their answers; for the plan's digest."""
    return {name: catalog.facts(name) for name in sorted(names)}
