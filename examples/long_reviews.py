"""A pretrained encoder of 512 tokens learns to read 4,096, or --length, and classifies long reviews whole.

    python examples/long_reviews.py MODEL --reviews movie_reviews.zip

MODEL is the folder of a small BERT, as MiniLM with 6 layers. The arms, all judged on the same reviews:

    head        the model as it is, on the first 512 tokens
    ends        the same, on the first 128 and the last 384 tokens (Sun et al. 2019, arXiv:1905.05583)
    whole       the same attention on all tokens, its 512 positions repeated up to --length
    longformer  Longformer's windows and a global first token instead, its 512 positions repeated
    continued   the same, first trained on as a masked language model on rows of --length tokens of the training
                reviews, of which whole words are hidden; before that, its new head alone learns on --head-rows rows of
                512 tokens, or the head's first gradients would undo what the encoder has learned

With --frozen as many as the model has layers, all of them stay as they are: each review is read once, and logistic
regression finds its class in the mean of its hidden states, with the penalty that suits four parts of the training
reviews best. That is a twentieth of the work of fine-tuning.

Then the time and the memory of a training step on one row of 512 … 4,096 tokens, with both kinds of attention.
Stop it at any time and start it again: what is done is kept in --folder, and a training goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import AutoModel, AutoTokenizer, TrainingArguments

from formers import MaskedLM, SequenceClassifier
from formers.adapt import convert, from_hf
from formers.lab.train.trainer import SafeTrainer
from formers.machine.files import write_atomically
from formers.machine.memory import peak_bytes, reset_peak
from formers.models import Transformer
from formers.models.pretrained import FormersModel
from formers.part import evaluating
from formers.plot.number_format import duration, size
from formers.tasks import Reviews
from formers.tasks.corpus.masking import IGNORED, Masking

ARMS = ("head", "ends", "whole", "longformer", "continued")
SHORT, FIRST = 512, 128
LENGTHS = (512, 1024, 2048, 4096)
BATCH = 8
MASK_SHARE = 0.15
HEAD_RATE = 1e-3
Batch = dict[str, Tensor]
Loss = Callable[[Any, Batch], Tensor]


@dataclass(frozen=True)
class Texts:
    """Reviews as tokens, (L,) each, and their classes."""

    ids: tuple[Tensor, ...]
    labels: tuple[int, ...]

    def cut(self, arm: str, length: int) -> Texts:
        """Return what an arm reads of at most so many tokens; the last, which ends a text, is kept."""
        first = FIRST if arm == "ends" else length - 1
        kept = [ids if len(ids) <= length else torch.cat([ids[:first], ids[first - length :]]) for ids in self.ids]
        return Texts(tuple(kept), self.labels)

    def longer_than(self, tokens: int) -> list[int]:
        """Return the places of longer texts."""
        return [at for at, ids in enumerate(self.ids) if len(ids) > tokens]

    def only(self, places: Sequence[int]) -> Texts:
        """Return the texts at these places."""
        return Texts(tuple(self.ids[at] for at in places), tuple(self.labels[at] for at in places))

    def batches(self, stream: random.Random | None = None) -> Iterator[Batch]:
        """Yield padded batches of texts of about the same length, once through all; shuffled if a stream is given."""
        order = list(range(len(self.ids)))
        if stream:
            stream.shuffle(order)
        group = 8 * BATCH if stream else max(1, len(order))
        found = list[list[int]]()
        for start in range(0, len(order), group):
            near = sorted(order[start : start + group], key=lambda at: len(self.ids[at]))
            found += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
        if stream:
            stream.shuffle(found)
        for batch in found:
            mask = pad_sequence([torch.ones_like(self.ids[at]) for at in batch], batch_first=True)
            ids = pad_sequence([self.ids[at] for at in batch], batch_first=True)
            labels = torch.tensor([self.labels[at] for at in batch])
            yield {"input_ids": ids, "attention_mask": mask, "labels": labels}


class Steps(Dataset[Batch]):
    """The batches of a training, one a step."""

    def __init__(self, batches: Sequence[Batch]):
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


class HiddenWords(Dataset[Batch]):
    """Rows of training reviews, one after another in a drawn order, made as they are asked for; words are hidden.

    Args:
        starts: token → whether it begins a word.
    """

    def __init__(self, texts: Sequence[Tensor], masking: Masking, starts: Tensor, length: int, steps: int, seed: int):
        self.texts, self.masking, self.starts, self.length, self.steps = texts, masking, starts, length, steps
        self.seed = seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        """Return row `index`, (1, L) each: a function of the seed and the index."""
        if index >= self.steps:
            raise IndexError(f"row {index} of {self.steps}")
        stream = random.Random(f"{self.seed}/{index}")
        row, held = list[Tensor](), 0
        while held < self.length:
            row.append(self.texts[stream.randrange(len(self.texts))])
            held += len(row[-1])
        ids = torch.cat(row)[: self.length]
        return {name: one[None] for name, one in self.masking.hide(ids, self.starts[ids], stream).items()}


class StepTrainer(SafeTrainer):
    """Hugging Face's trainer, one ready batch a step, with a loss of its own."""

    loss_of: Loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Tensor:
        return self.loss_of(model, inputs)


def train(model: FormersModel, rows: Dataset[Batch], loss: Loss, folder: Path, rate: float, seed: int) -> list[float]:
    """Train in place, a step for each row, from the last checkpoint in the folder on; return losses on the way."""
    steps = len(rows)  # type: ignore[arg-type]
    args = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=rate,
        lr_scheduler_type="linear",
        warmup_steps=steps // 10,
        weight_decay=0.01,
        seed=seed,
        train_sampling_strategy="sequential",
        logging_steps=max(1, steps // 10),
        save_steps=max(10, steps // 10),
        save_total_limit=1,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = StepTrainer(model=model, args=args, train_dataset=rows, data_collator=lambda b: b[0])
    trainer.loss_of = loss
    trainer.seal = lambda path: (path / "sealed").touch()  # type: ignore[assignment]
    whole = [path.parent for path in folder.glob("checkpoint-*/sealed")]
    last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    model.eval()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def class_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of the class."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return cross_entropy(logits.float(), batch["labels"])


def hidden_words_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of the hidden tokens; others are not scored, which would cost more than the layers."""
    hidden_bld = model.base_model(input_ids=batch["input_ids"]).last_hidden_state
    there = batch["labels"] != IGNORED
    logits = model.lm_head(model.transform(hidden_bld[there]))
    return cross_entropy(logits.float(), batch["labels"][there])


@dataclass(frozen=True)
class Effort:
    """How much is trained: masked rows, and epochs of classification, at rates of their own, above frozen layers.

    Attributes:
        head_rows: masked rows of 512 tokens from which a new head learns alone.
    """

    head_rows: int
    masked_rows: int
    masked_rate: float
    epochs: int
    rate: float
    frozen: int


@dataclass(frozen=True)
class Experiment:
    """A pretrained encoder, reviews, and where results are kept.

    Attributes:
        length: tokens that the extended encoder reads.
        starts: token → whether it begins a word.
    """

    base: FormersModel
    length: int
    window: int
    train: Texts
    test: Texts
    masking: Masking
    starts: Tensor
    effort: Effort
    folder: Path

    @property
    def lengths(self) -> list[int]:
        """Tokens that are read of each review when an arm is judged."""
        return [length for length in LENGTHS if length <= self.length]

    def encoder(self, arm: str) -> FormersModel:
        """Return the encoder of an arm, before it learns to classify."""
        if arm in ("head", "ends"):
            return self.base
        mixer = None if arm == "whole" else f"longformer(window=[{self.window}])"
        longer = convert(self.base, mixer, context_length=self.length, positions="repeat").model
        return self.continued(longer) if arm == "continued" else longer

    def continued(self, encoder: FormersModel) -> FormersModel:
        """Return an encoder after more masked language modelling; its losses are kept beside it."""
        place, effort = self.folder / "masked", self.effort
        if not (place / "losses.json").is_file():
            torch.manual_seed(0)
            model = with_head(encoder, MaskedLM, head_transform="gelu", tie_word_embeddings=True)
            self.teach_head(model, place / "head")
            say(f"masked language modelling: {effort.masked_rows} rows of {self.length:,} tokens")
            train_above(model, 0)
            losses = train(
                model,
                self.hidden_words(self.length, effort.masked_rows),
                hidden_words_loss,
                place / "training",
                effort.masked_rate,
                seed=0,
            )
            model.base_model.save_pretrained(place)
            write_atomically(place / "losses.json", json.dumps(losses))
        return Transformer.from_pretrained(place)

    def teach_head(self, model: FormersModel, place: Path) -> None:
        """Train the new head of a masked language model on what the encoder gives; the encoder stays as it is."""
        if self.effort.head_rows:
            say(f"its head: {self.effort.head_rows} rows of {SHORT:,} tokens")
            model.base_model.requires_grad_(False)
            rows = self.hidden_words(SHORT, self.effort.head_rows)
            losses = train(model, rows, hidden_words_loss, place, HEAD_RATE, seed=0)
            model.base_model.requires_grad_(True)
            say("nats a hidden token: " + ", ".join(f"{x:.2f}" for x in losses))

    def hidden_words(self, length: int, rows: int) -> HiddenWords:
        """Return masked rows of so many tokens of the training reviews."""
        return HiddenWords(self.train.ids, self.masking, self.starts, length, rows, seed=0)

    def run(self, arm: str, seed: int) -> None:
        """Train and judge an arm, unless that is done, and keep which reviews it gets right, by tokens read."""
        place = self.folder / f"{arm}-{seed}"
        if (place / "right.json").is_file():
            return
        encoder = self.encoder(arm)
        if self.effort.frozen >= encoder.config.depth:
            self.probe(arm, encoder, place)
            return
        torch.manual_seed(seed)
        model, length = with_head(encoder, SequenceClassifier, num_labels=2), encoder.config.context_length
        train_above(model, self.effort.frozen)
        stream, texts = random.Random(seed), self.train.cut(arm, length)
        batches = [batch for _ in range(self.effort.epochs) for batch in texts.batches(stream)]
        say(f"{arm}, seed {seed}: {len(batches)} steps, at most {length:,} tokens of a review")
        begin, cuts = time.process_time(), [cut for cut in LENGTHS if cut <= length]
        train(model, Steps(batches), class_loss, place / "training", self.effort.rate, seed)
        seconds = time.process_time() - begin
        right = judged_at(model, self.test, arm, cuts)
        write_atomically(place / "right.json", json.dumps({"seconds": seconds, "right": right}))
        say(f"{arm}, seed {seed}: " + ", ".join(f"{statistics.mean(x):.3f} at {cut:,}" for cut, x in right.items()))

    def probe(self, arm: str, encoder: FormersModel, place: Path) -> None:
        """Judge the hidden states of an encoder that stays as it is, and keep which reviews they give their class."""
        length = encoder.config.context_length
        say(
            f"{arm}: hidden states of at most {length:,} tokens of {len(self.train.ids)} + {len(self.test.ids)} reviews"
        )
        head = fit(means(encoder, self.train.cut(arm, length), place / "train"), torch.tensor(self.train.labels))
        seen_nd, before, right = torch.zeros(len(self.test.ids), encoder.config.width), 0, dict[int, list[bool]]()
        for cut in (one for one in LENGTHS if one <= length):
            longer = self.test.longer_than(before)
            seen_nd[longer] = means(encoder, self.test.only(longer).cut(arm, cut), place / f"test-{cut}")
            right[cut] = (head(seen_nd).argmax(-1) == torch.tensor(self.test.labels)).tolist()
            before = cut
        write_atomically(place / "right.json", json.dumps({"seconds": 0.0, "right": right}))
        say(f"{arm}: " + ", ".join(f"{statistics.mean(x):.3f} at {cut:,}" for cut, x in right.items()))

    def show(self) -> None:
        """Print the accuracy of every arm by the tokens it reads, on all reviews and on long ones, over all seeds."""
        long = [len(ids) > 2 * SHORT for ids in self.test.ids]
        print(f"\naccuracy on {len(long)} reviews ({sum(long)} of more than {2 * SHORT:,} tokens), by tokens read")
        print(f"{'arm':12}{'seeds':>6}" + "".join(f"{cut:>16,}" for cut in self.lengths) + f"{'training, CPU':>16}")
        for arm in ARMS:
            files = sorted(self.folder.glob(f"{arm}-*/right.json"))
            found = [json.loads(file.read_text()) for file in files]
            cells = []
            for cut in self.lengths:
                rows = [one["right"].get(str(cut)) for one in found]
                if not found or None in rows:
                    cells.append("–")
                    continue
                of_all = statistics.mean(x for row in rows for x in row)
                of_long = statistics.mean(x for row in rows for x, far in zip(row, long, strict=True) if far)
                cells.append(f"{of_all:.3f} ({of_long:.3f})")
            spent = duration(statistics.mean(one["seconds"] for one in found)) if found else "–"
            print(f"{arm:12}{len(found):>6}" + "".join(f"{cell:>16}" for cell in cells) + f"{spent:>16}")
        if (self.folder / "masked" / "losses.json").is_file():
            losses = json.loads((self.folder / "masked" / "losses.json").read_text())
            print("masked language modelling, nats a hidden token: " + ", ".join(f"{x:.2f}" for x in losses))


def with_head(encoder: FormersModel, head: Callable[[Any], FormersModel], **options: Any) -> FormersModel:
    """Return a model with a new head on the weights of an encoder; classes are read from the mean of all tokens."""
    made = head(encoder.config.swap(**{"pooler": None, "head_transform": None} | options))
    own = {name: weight for name, weight in encoder.state_dict().items() if not name.startswith("pooler.")}
    made.base_model.load_state_dict(own)
    return made


def train_above(model: FormersModel, frozen: int) -> None:
    """Let take gradients what lies above so many layers; with none, all but the embedding of tokens."""
    below = [model.base_model.embed_tokens]
    if frozen:
        below = [*model.base_model.children()]
        below.remove(model.base_model.layers)
        below += model.base_model.layers[:frozen]
    for module in below:
        module.requires_grad_(False)


def judged(model: FormersModel, texts: Texts) -> list[bool]:
    """Return which texts are given their class."""
    order = sorted(range(len(texts.ids)), key=lambda at: len(texts.ids[at]))
    right = list[bool]()
    with evaluating(model), torch.autocast("cpu", torch.bfloat16):
        for batch in texts.batches():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            right += (logits.argmax(-1) == batch["labels"]).tolist()
    return [one for _, one in sorted(zip(order, right, strict=True))]


def means(encoder: FormersModel, texts: Texts, folder: Path) -> Tensor:
    """Return the mean hidden state of each text, (N, D); each batch is kept in the folder, and not read again."""
    order = sorted(range(len(texts.ids)), key=lambda at: len(texts.ids[at]))
    found = [torch.zeros(0, encoder.config.width)]  # no text may be so long
    folder.mkdir(parents=True, exist_ok=True)
    with evaluating(encoder), torch.autocast("cpu", torch.bfloat16):
        for number, batch in enumerate(texts.batches()):
            file = folder / f"{number}.json"
            if not file.is_file():
                mask_bl = batch["attention_mask"]
                hidden_bld = encoder(input_ids=batch["input_ids"], attention_mask=mask_bl).last_hidden_state.float()
                mean_bd = (hidden_bld * mask_bl.unsqueeze(-1)).sum(1) / mask_bl.sum(1, keepdim=True)
                write_atomically(file, json.dumps(mean_bd.tolist()))
            found.append(torch.tensor(json.loads(file.read_text())))
    back = torch.tensor(order).argsort()
    return torch.cat(found)[back]


def fit(x_nd: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return logits as a function of hidden states: logistic regression, its penalty chosen on four parts in turn."""
    mean, std = x_nd.mean(0), x_nd.std(0)
    x_nd = (x_nd - mean) / std

    def regression(x: Tensor, y: Tensor, penalty: float) -> torch.nn.Linear:
        head = torch.nn.Linear(x.shape[1], 2)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = cross_entropy(head(x), y) + penalty * head.weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        return head

    def held_out(penalty: float) -> float:
        losses = []
        for part in range(4):
            out = torch.arange(len(labels)) % 4 == part
            head = regression(x_nd[~out], labels[~out], penalty)
            losses.append(float(cross_entropy(head(x_nd[out]), labels[out])))
        return sum(losses)

    head = regression(x_nd, labels, min((1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1), key=held_out))
    return lambda x: head((x - mean) / std).detach()


def judged_at(model: FormersModel, texts: Texts, arm: str, cuts: Sequence[int]) -> dict[int, list[bool]]:
    """Return which texts are given their class by the number of tokens read; those read whole are not read again."""
    right, before, found = [False] * len(texts.ids), 0, dict[int, list[bool]]()
    for cut in cuts:
        longer = texts.longer_than(before)
        for at, one in zip(longer, judged(model, texts.only(longer).cut(arm, cut)), strict=True):
            right[at] = one
        before, found[cut] = cut, [*right]
    return found


def step_costs(base: FormersModel, window: int, longest: int, times: int = 3) -> None:
    """Print CPU time and memory of a training step on one row, the least of several, with each kind of attention.

    CPU time, so that other work on the machine counts as little as it can; run it with one thread (OMP_NUM_THREADS=1).
    """
    print(f"\n{'tokens':>7}{'attention':>12}{'longformer':>12}{'ratio':>7}{'attention':>14}{'longformer':>14}")
    mixers = [None, f"longformer(window=[{window}])"]
    longer = [convert(base, mixer, context_length=longest, positions="repeat").model for mixer in mixers]
    models = [with_head(one, SequenceClassifier, num_labels=2).train() for one in longer]
    for length in (one for one in LENGTHS if one <= longest):
        ids = torch.randint(base.config.vocab_size, (1, length), generator=torch.Generator().manual_seed(0))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros(1, dtype=torch.long)}
        seconds, peaks = [[float("inf")] * 2 for _ in range(2)]
        for _ in range(times):
            for at, model in enumerate(models):
                model.zero_grad(set_to_none=False)
                reset_peak("cpu")
                before, begin = peak_bytes("cpu") or 0, time.process_time()
                class_loss(model, batch).backward()
                seconds[at] = min(seconds[at], time.process_time() - begin)
                peaks[at] = min(peaks[at], (peak_bytes("cpu") or 0) - before)
        times_of = "".join(f"{duration(one):>12}" for one in seconds)
        held = "".join(f"{size(round(one)):>14}" for one in peaks)
        print(f"{length:>7,}{times_of}{seconds[0] / seconds[1]:>7.2f}{held}", flush=True)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def read(words: argparse.Namespace, base: FormersModel) -> Experiment:
    """Return the experiment that the command line asks for: reviews of the training split, and all others to judge."""
    data = Reviews(length=LENGTHS[-1], tokenizer=words.model, path=words.reviews).data
    order = random.Random(0).sample(range(len(data.train.ids)), len(data.train.ids))[: words.train]
    tests = [data.validation, data.test]  # nothing is chosen on either
    judged_on = Texts(tuple(ids for x in tests for ids in x.ids), tuple(int(y) for x in tests for y in x.labels))
    tokenizer = AutoTokenizer.from_pretrained(words.model)
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    ordinary = tuple(at for at in range(len(tokenizer)) if at not in set(tokenizer.all_special_ids))
    return Experiment(
        base,
        words.length,
        words.window,
        Texts(tuple(data.train.ids[at] for at in order), tuple(int(data.train.labels[at]) for at in order)),
        judged_on.only(random.Random(1).sample(range(len(judged_on.ids)), min(words.test, len(judged_on.ids)))),
        Masking(MASK_SHARE, tokenizer.mask_token_id, ordinary),
        torch.tensor([not piece.startswith("##") for piece in pieces]),
        Effort(words.head_rows, words.masked_rows, words.masked_rate, words.epochs, words.rate, words.frozen),
        words.folder,
    )


def check_folder(words: argparse.Namespace) -> None:
    """Keep what results depend on in their folder. Raise SystemExit where it has results of other options."""
    free = ("arms", "seeds", "no_costs", "folder")
    now = {name: value for name, value in vars(words).items() if name not in free}
    file = words.folder / "options.json"
    before = json.loads(file.read_text()) if file.is_file() else now
    if other := [f"--{name.replace('_', '-')} {before.get(name)}" for name in now if before.get(name) != now[name]]:
        raise SystemExit(f"{words.folder} has results of {', '.join(other)}; give these, or another --folder")
    words.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(now))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder of a BERT of 512 positions")
    parser.add_argument("--reviews", help="labelled reviews, as the task `reviews` takes them; else from FORMERS_DATA")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--train", type=int, default=600, help="reviews that are trained on, at most")
    parser.add_argument("--test", type=int, default=400, help="reviews that are judged, at most")
    parser.add_argument("--epochs", type=int, default=2, help="of classification")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of classification")
    parser.add_argument("--frozen", type=int, default=3, help="layers that classification leaves as they are")
    parser.add_argument("--head-rows", type=int, default=400, help="rows from which a new head learns alone")
    parser.add_argument("--masked-rows", type=int, default=80, help="rows of masked language modelling")
    parser.add_argument("--masked-rate", type=float, default=1e-4, help="its learning rate")
    parser.add_argument("--length", type=int, default=4096, choices=LENGTHS[1:], help="tokens that it learns to read")
    parser.add_argument("--window", type=int, default=128, help="tokens that each sees to either side")
    parser.add_argument("--no-costs", action="store_true", help="leave out the time and memory of a step")
    parser.add_argument("--folder", type=Path, default=Path("long-reviews"), help="where results are kept")
    words = parser.parse_args()
    check_folder(words)
    warnings.simplefilter("ignore")
    base = from_hf(AutoModel.from_pretrained(words.model)).eval()
    experiment = read(words, base)
    try:
        for seed in range(words.seeds):
            for arm in words.arms.split(","):
                experiment.run(arm, seed)
    except KeyboardInterrupt:
        raise SystemExit(f"\nstopped; {words.folder} keeps what is done, the same command goes on") from None
    experiment.show()
    if not words.no_costs:
        step_costs(base, words.window, words.length)


if __name__ == "__main__":
    main()
