"""Writes decode.* of this folder: what pyctcdecode 0.5 with KenLM finds, from closed formulas only.

    pip install 'numpy<2' pyctcdecode kenlm safetensors && python tests/golden/make_decode.py

Log-probabilities are waves of their index with peaks at the tokens of two sentences; the language model's numbers are
waves too. `decode.json` holds the tokens, the words and the five best texts of each case.
"""

import json
import logging
from pathlib import Path

import kenlm
import numpy as np
from pyctcdecode import Alphabet, BeamSearchDecoderCTC, LanguageModel
from safetensors.numpy import save_file

logging.disable(logging.WARNING)
HERE = Path(__file__).parent
CHARACTERS = ["<blank>", *"acehmnost", "'", " "]
PIECES = ["<blank>", "<unk>", "▁the", "▁c", "at", "▁s", "▁m", "▁on", "▁", *"acehmnost"]
SENTENCES = {"a": "the cat sat on the mat", "b": "that man has no hat"}
WORDS = ["a", "cat", "chat", "hat", "mat", "no", "on", "sat", "some", "that", "the"]


def wave(count, phase):
    n = np.arange(count, dtype=np.float64)
    return np.sin(phase + 0.9 * n + 0.0371 * n * n)


def spelled(sentence, tokens):
    """The ids of a sentence, the longest token first."""
    text = sentence if " " in tokens else "▁" + sentence.replace(" ", "▁")
    ids = []
    while text:
        token = max((t for t in tokens[1:] if text.startswith(t)), key=len)
        ids.append(tokens.index(token))
        text = text[len(token) :]
    return ids


def emissions(sentence, tokens, phase):
    rows, last = [], 0
    for id in spelled(sentence, tokens):
        rows += [[0]] if id == last else []
        rows += [[id], [id, 0]] if len(rows) % 3 else [[id]]
        last = id
    logits = 2.2 * wave(len(rows) * len(tokens), phase).reshape(len(rows), len(tokens))
    for row, ids in zip(logits, rows):
        row[ids] += 3.6 / len(ids)
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def write_arpa(path):
    pairs = [f"{a} {b}" for a in ["<s>", *WORDS] for b in [*WORDS, "</s>"] if (len(a) * 7 + len(b) * 3) % 5 < 2]
    triples = [f"{a} {b}" for a in ["<s> the", "the cat", "on the", "no hat"] for b in WORDS if a.split()[1] + " " + b in pairs]
    triples = [t for t in triples if " ".join(t.split()[:2]) in pairs]
    orders = [["<unk>", "<s>", "</s>", *WORDS], pairs, triples]
    with open(path, "w") as out:
        print("\\data\\", *(f"ngram {n}={len(o)}" for n, o in enumerate(orders, 1)), sep="\n", file=out)
        for n, order in enumerate(orders, 1):
            print(f"\n\\{n}-grams:", file=out)
            for index, words in enumerate(order):
                p = -99 if words == "<s>" else -1.5 + wave(index + 1, n)[-1]
                p = min(p, -0.1)
                b = -0.4 + 0.3 * wave(index + 1, n + 0.5)[-1]
                tail = "" if n == 3 or words == "</s>" else f"\t{b:.6f}"
                print(f"{p:.6f}\t{words}{tail}", file=out)
        print("\n\\end\\", file=out)


def main():
    arpa = HERE / "decode.arpa"
    write_arpa(arpa)
    tensors = {}
    for name, sentence in SENTENCES.items():
        tensors[f"characters.{name}"] = emissions(sentence, CHARACTERS, 0.3)
        tensors[f"pieces.{name}"] = emissions(sentence, PIECES, 0.7)
    save_file(tensors, HERE / "decode.safetensors")
    model = kenlm.Model(str(arpa))
    cases = {}
    for kind, tokens in (("characters", CHARACTERS), ("pieces", PIECES)):
        alphabet = Alphabet.build_alphabet(["", *tokens[1:]])
        for case, lm, boundary, hot, history in (
            ("plain", False, True, [], False),
            ("hot", False, True, ["chat", "some"], False),
            ("lm", True, True, [], False),
            ("lm.hot", True, True, ["man", "chat"], False),
            ("lm.history", True, True, [], True),
            ("lm.open", True, False, [], False),
        ):
            language = LanguageModel(model, WORDS, 0.8, 1.2, -10.0, boundary) if lm else None
            decoder = BeamSearchDecoderCTC(alphabet, language)
            found = {}
            for name in sorted(name for name in tensors if name.startswith(kind)):
                beams = decoder.decode_beams(tensors[name], 20, -10.0, -5.0, history, hot or None, 7.0)
                found[name] = [
                    {"text": b[0], "words": [[w, *map(int, f)] for w, f in b[2]], "ctc_score": float(b[3]), "score": float(b[4])}
                    for b in beams[:5]
                ]
            settings = {"decoder": "beam", "beam": 20, "prune_history": history, "score_boundary": boundary, "hot_word_weight": 7.0}
            cases[f"{kind}.{case}"] = {"settings": settings, "lm": lm, "hot_words": hot, "found": found}
    result = {"characters": CHARACTERS, "pieces": PIECES, "cases": cases}
    (HERE / "decode.json").write_text(json.dumps(result, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
