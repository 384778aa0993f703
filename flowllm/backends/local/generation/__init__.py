"""Text from models of this machine: chats in, deltas out, many requests sharing one model.

``writer`` is the model as its callers see it. ``prompting`` makes its prompts by ``chat_templates``, ``engine`` runs
the loop over a ``kv`` cache that fits its ``graph`` and has ``prefixes`` of what was read before; ``sampling``,
``constraining``, ``detokenizing`` and ``stopping`` say which token comes, what text it is and when it is enough;
``families`` finds thoughts and calls in the text, ``call_pieces`` a call while it is written.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowllm.backends.local.devices import Device
    from flowllm.backends.local.generation.writer import Writer
    from flowllm.backends.local.layout import Description


def open_writer(description: "Description", device: "Device", room: int | None = None) -> "Writer":
    """Load a model that writes, and keeps at most ``room`` bytes; `SetupError` where it cannot run here."""
    from flowllm.backends.local.generation.prefixes import KEPT
    from flowllm.backends.local.generation.writer import Writer, open_runner
    from flowllm.backends.local.tokenizing import Tokenizer

    return Writer(
        description, open_runner(description, device, KEPT if room is None else room), Tokenizer(description.folder)
    )
