"""A pretrained decoder reads a long prompt with windows, sinks and a few full layers, and still answers from it.

    python examples/long_prompt.py path/to/SmolLM2 --length 2048

A code stands somewhere in a long text, and the question for it at the end. The model answers with its own attention,
with windows in all layers, and with windows in all but a few: those that the answer needs, found on a short prompt.
Printed beside each answer: −log p of the right one, the time of the prompt and of each token after it, and the cache.

A model often promises longer texts than it was trained on. With --trained 2048 its rotary positions are scaled (YaRN)
from so many tokens to --length, without any training.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.cache_utils import DynamicCache

from formers.adapt import AttentionCache, use_attention
from formers.adapt.swap_speed import cache_bytes
from formers.part import evaluating
from formers.plot.number_format import duration, size
from formers.tasks.text import read_text

_CODE = "58213"
_FACT = "\n\nThe secret code of the vault is 58213.\n\n"
_BEFORE = "Read this text, then answer the question at its end.\n\n"
_QUESTION = "\n\nWhat is the secret code of the vault?"
_START = "The secret code of the vault is "
_GROUP = 3
"""Layers that are tried together."""


@dataclass(frozen=True)
class Answer:
    """An answer, and what it took."""

    text: str
    nats: float
    prompt_seconds: float
    token_seconds: float
    cache: int


def prompt(tokenizer: Any, length: int, depth: float) -> Tensor:
    """Return about `length` tokens, (1, L): a text with the code at a depth from 0 to 1, and the answer's start."""
    text = tokenizer(read_text(None), add_special_tokens=False, verbose=False)["input_ids"]
    fact = tokenizer(_FACT, add_special_tokens=False)["input_ids"]
    room = length - len(fact) - len(tokenizer(_BEFORE + _QUESTION + _START)["input_ids"]) - 16  # the template's words
    if not 0 < room <= len(text):
        raise SystemExit(f"--length {length} leaves {room} tokens for a text of {len(text):,}")
    cut = int(depth * room)
    content = _BEFORE + tokenizer.decode(text[:cut] + fact + text[cut:room]) + _QUESTION
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    ids: Tensor = tokenizer(chat + _START, return_tensors="pt", add_special_tokens=False)["input_ids"]
    return ids


def ask(model: PreTrainedModel, tokenizer: Any, ids: Tensor) -> Answer:
    """Return the answer, token by token, each the most likely one, and −log p of the right one."""
    code = tokenizer(_CODE, add_special_tokens=False, return_tensors="pt")["input_ids"]
    ours = model.config._attn_implementation.startswith("formers:")
    cache = AttentionCache() if ours else DynamicCache(config=model.config)
    given, nats = list[int](), 0.0
    with evaluating(model):
        begin = time.perf_counter()
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        read = time.perf_counter()
        for right in code[0]:
            given.append(int(logits.argmax()))
            nats += float(cross_entropy(logits, right[None]))
            logits = model(input_ids=right[None, None], past_key_values=cache, use_cache=True).logits[:, -1]
        end = time.perf_counter()
    return Answer(tokenizer.decode(given), nats, read - begin, (end - read) / len(given), cache_bytes(cache))


def needed_layers(model: PreTrainedModel, tokenizer: Any, count: int, length: int, window: str) -> list[int]:
    """Return the layers that the answer needs most: it is lost where these alone get windows, on a short prompt."""
    depth, found = model.config.num_hidden_layers, dict[int, float]()
    ids = prompt(tokenizer, length, 0.2)
    for first in range(0, depth, _GROUP):
        group = range(first, min(first + _GROUP, depth))
        use_attention(model, [window if layer in group else "softmax()" for layer in range(depth)])
        found[first] = ask(model, tokenizer, ids).nats
        print(f"  windows in layers {group[0]}–{group[-1]} alone: −log p {found[first]:.2f}", flush=True)
    worst = sorted(found, key=found.__getitem__, reverse=True)[: -(-count // _GROUP)]
    return sorted(layer for first in worst for layer in range(first, first + _GROUP) if layer < depth)


def scaled(config: Any, length: int, trained: int) -> dict[str, Any]:
    """Return the rotary positions of a model that was trained on so many tokens, scaled by YaRN to a length."""
    if length <= trained:
        raise SystemExit(f"--trained {trained} is for longer prompts than --length {length}")
    yarn = {"rope_type": "yarn", "factor": length / trained, "original_max_position_embeddings": trained}
    return {**config.rope_parameters, **yarn}


def main() -> None:
    """Ask with each attention, at each depth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a causal language model of the Llama kind with a chat template")
    parser.add_argument("--gguf", help="its GGUF file, in the folder")
    parser.add_argument("--length", type=int, default=2048, help="tokens of the prompt")
    parser.add_argument("--trained", type=int, help="tokens that the model was trained on: scales its positions")
    parser.add_argument("--window", type=int, default=256, help="keys that a layer keeps, beside four sinks")
    parser.add_argument("--full", type=int, default=9, help="layers that keep their attention")
    parser.add_argument("--layers", help="these layers, 9,10,11, instead of looking for them")
    parser.add_argument("--short", type=int, default=384, help="tokens of the prompt that finds them")
    parser.add_argument("--depths", default="0.1,0.5,0.9", help="places of the code in the text")
    words = parser.parse_args()
    more: dict[str, Any] = {"gguf_file": words.gguf} if words.gguf else {}
    tokenizer = AutoTokenizer.from_pretrained(words.model, **more)
    if words.trained:
        config = AutoConfig.from_pretrained(words.model, **more)
        more["rope_parameters"] = scaled(config, words.length, words.trained)
    model = AutoModelForCausalLM.from_pretrained(words.model, dtype=torch.float32, **more).eval()
    own, depth = model.config._attn_implementation, model.config.num_hidden_layers
    window = f"window({words.window}) | sinks(4)"
    if words.layers:
        full = [int(layer) for layer in words.layers.split(",")]
    else:
        full = needed_layers(model, tokenizer, words.full, words.short, "window(64) | sinks(4)")
    print(f"full layers: {full}", flush=True)
    hybrid = ["softmax()" if layer in full else window for layer in range(depth)]
    for name, mixers in (("its own", None), (window, window), (f"{window}, {len(full)} layers full", hybrid)):
        if mixers is None:
            model.set_attn_implementation(own)
        else:
            use_attention(model, mixers)
        for place in map(float, words.depths.split(",")):
            answer = ask(model, tokenizer, prompt(tokenizer, words.length, place))
            print(
                f"{name:42} code at {place:.1f}: {answer.text!r:9} −log p {answer.nats:6.2f}",
                f"prompt {duration(answer.prompt_seconds)}",
                f"token {duration(answer.token_seconds)}",
                f"cache {size(answer.cache)}",
                sep="  ",
                flush=True,
            )


if __name__ == "__main__":
    main()
