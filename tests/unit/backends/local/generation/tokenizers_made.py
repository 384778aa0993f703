"""Small tokenizers of the kinds that models come with, whose every token is known."""

from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WORDS = [
    "hello",
    " hello",
    " world",
    "wor",
    "ld",
    " the",
    " ",
    "  ",
    "é",
    "日",
    "本",
    "👋🏽",
    "ing",
    "\n",
    "{",
    '"',
    ":",
    "}",
]


def _byte_alphabet() -> list[str]:
    """The letters that stand for bytes 0 to 255 in a byte-level vocabulary."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printed else chr(next(others)) for byte in range(256)]


LETTERS = _byte_alphabet()


def _spelled(text: str) -> str:
    return "".join(LETTERS[byte] for byte in text.encode())


@cache
def byte_level() -> Tokenizer:
    """GPT-2's kind: tokens 0 to 255 are bytes, then words, then two special ones and a mark."""
    vocabulary = {letter: byte for byte, letter in enumerate(LETTERS)}
    merges: list[tuple[str, str]] = []
    for word in map(_spelled, WORDS):
        made = word[0]
        for letter in word[1:]:
            if made + letter not in vocabulary:
                vocabulary[made + letter] = len(vocabulary)
            if (made, letter) not in merges:
                merges.append((made, letter))
            made += letter
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|start|>", "<|end|>", "[TOOL_CALLS]"])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    return tokenizer


@cache
def sentence_piece() -> Tokenizer:
    """Llama 2's kind: words with a mark for a blank, bytes where a word is not known."""
    words = ["<s>", "</s>", "▁", "▁hello", "hello", "▁wor", "ld", "▁▁", "日", "é", ".", "▁.", "a", "▁a"]
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    vocabulary |= {word: 256 + place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    blank, first = decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)
    tokenizer.decoder = decoders.Sequence([blank, decoders.ByteFallback(), decoders.Fuse(), first])
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


@cache
def word_piece() -> Tokenizer:
    """BERT's kind: parts of words that join, and blanks that are not written."""
    words = ["[PAD]", "[SEP]", "hello", "##ing", ".", "do", "n't", "world", "##s", ","]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[PAD]"))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[SEP]"])
    return tokenizer


@cache
def metaspace() -> Tokenizer:
    """T5's and newer Llamas' kind."""
    words = ["</s>", "▁", "▁hello", "hello", "▁world", "s", "▁▁", "日"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="</s>"))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer


KINDS = {"byte_level": byte_level, "sentence_piece": sentence_piece, "word_piece": word_piece, "metaspace": metaspace}


def special(tokenizer: Tokenizer) -> frozenset[int]:
    return frozenset(token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special)
