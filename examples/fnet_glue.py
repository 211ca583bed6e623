"""A trained BERT gives its attention up for Fourier mixing, is ruined by it, and is repaired: on tasks of GLUE.

    python examples/fnet_glue.py MODEL --tasks cola,sst2 --seeds 3

MODEL is the folder of a small BERT, as MiniLM with 6 layers; GLUE's data lie in the folder that FORMERS_DATA names.
The arms of each task, all trained on batches of texts of equal length, so that nothing is padded:

    original   fine-tuned, with attention
    swapped    the same, then Fourier mixing in the place of all attention, without any training after it
    naive      Fourier mixing in the place of all attention of the pretrained model, then fine-tuned
    mlm        the same, but first trained on as a masked language model on the tasks' training texts
    repaired   Fourier mixing with a gain, repaired as below
    hybrid     the same, with attention kept in two layers (--kept; the last two unless given)

A repair has two stages, as TinyBERT's (Jiao et al. 2020, arXiv:1909.10351). The first is made once, for all tasks and
seeds: on texts without labels, the pretrained model with its new mixers learns the hidden states that it had with
attention, layer by layer. To what came of it is added what fine-tuning has changed in the original's weights; then the
student learns the fine-tuned original's answers and hidden states: on the labelled texts that the original had, on
those of the task whose labels nobody reads (--examples), and on copies of them in which words were swapped, dropped and
exchanged, so that an answer depends on their order.

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
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.utils.data import Dataset
from transformers import AutoModel, AutoTokenizer, TrainingArguments

from formers import MaskedLM, SequenceClassifier
from formers.adapt import from_hf
from formers.lab.train.trainer import SafeTrainer
from formers.models import Transformer
from formers.models.pretrained import FormersModel
from formers.part import evaluating
from formers.tasks import Glue

NAIVE, GAINED = "fourier", "fourier(gain=0.1)"
REPAIRS = ("repaired", "hybrid")
ARMS = ("original", "swapped", "naive", "mlm", "repaired", "hybrid")
BATCH = 32
RATES = {"original": 1e-4, "naive": 2e-4, "mlm": 2e-4, "repaired": 2e-4, "hybrid": 2e-4}
TRANSFER_RATE = 5e-4
UNLABELLED = -100
"""The label of a text that has none."""
MOST_EDITS = 3
"""Words of a copy that are swapped, dropped or exchanged, at most."""
MASK_SHARE = 0.15
Batch = dict[str, Tensor]
Loss = Callable[[Any, Batch], Tensor]


@dataclass(frozen=True)
class Texts:
    """Tokenized texts and their labels; of pairs also the token behind each text."""

    ids: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    separator: int | None = None

    def __add__(self, other: Texts) -> Texts:
        """Return both, one after the other."""
        return Texts(self.ids + other.ids, self.labels + other.labels, self.separator)

    def batches(self, stream: random.Random | None = None) -> Iterator[Batch]:
        """Yield batches of texts of equal length, once through all of them; shuffled if a stream is given."""
        by_length: dict[int, list[int]] = {}
        for at, ids in enumerate(self.ids):
            by_length.setdefault(len(ids), []).append(at)
        if stream:
            for group in by_length.values():
                stream.shuffle(group)
        found = [group[i : i + BATCH] for group in by_length.values() for i in range(0, len(group), BATCH)]
        if stream:
            stream.shuffle(found)
        for group in found:
            ids = torch.tensor([self.ids[at] for at in group])
            inputs = {"input_ids": ids, "labels": torch.tensor([self.labels[at] for at in group])}
            if self.separator is not None:  # the second text of a pair is of type 1
                ends = (ids == self.separator).long()
                inputs["token_type_ids"] = (ends.cumsum(1) - ends).clamp(max=1)
            yield inputs


def edited(texts: Texts, copies: int, seed: int) -> Texts:
    """Return copies of texts without labels, in each of which some tokens are swapped, dropped or exchanged.

    The first and the last token, and separators, stay. What takes a token's place comes as often as in the texts.
    """
    stream, made = random.Random(seed), list[tuple[int, ...]]()
    inner = [token for ids in texts.ids for token in ids[1:-1] if token != texts.separator]
    for ids in copies * texts.ids:
        copy = list(ids)
        for _ in range(stream.randint(1, MOST_EDITS)):
            places = [at for at in range(1, len(copy) - 1) if copy[at] != texts.separator]
            if len(places) < 2:
                break
            at, other, way = stream.choice(places[:-1]), stream.choice(places), stream.random()
            if way < 0.4 and at + 1 in places:
                copy[at], copy[at + 1] = copy[at + 1], copy[at]
            elif way < 0.55:
                copy[at], copy[other] = copy[other], copy[at]
            elif way < 0.75:
                del copy[at]
            else:
                copy[at] = stream.choice(inner)
        made.append(tuple(copy))
    return Texts(tuple(made), (UNLABELLED,) * len(made), texts.separator)


class Steps(Dataset[Batch]):
    """The batches of a training, one a step, epoch after epoch in an order that a seed gives."""

    def __init__(self, texts: Texts, steps: int, seed: int):
        self.batches: list[Batch] = []
        stream = random.Random(seed)
        while len(self.batches) < steps:
            self.batches += texts.batches(stream)
        del self.batches[steps:]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


@dataclass(frozen=True)
class Data:
    """A task of GLUE as the model's tokenizer reads it; the test split is the official development set."""

    task: Glue
    train: Texts
    unlabelled: Texts
    validation: Texts
    test: Texts


def read(name: str, model: str, examples: int, longest: int) -> Data:
    """Return a task's data as a model's tokenizer reads it: at most so many training examples, and tokens of each."""
    task = Glue(task=name, tokenizer=model, length=longest)
    data = task.data
    separator = data.vocabulary.tokenizer.sep_token_id
    paired = len(data.train.records[0].texts) > 1

    def texts(split: Any, chosen: Sequence[int], labelled: bool = True) -> Texts:
        labels = tuple(split.labels[at].item() if labelled else UNLABELLED for at in chosen)
        return Texts(tuple(tuple(split.ids[at].tolist()) for at in chosen), labels, separator if paired else None)

    order = random.Random(0).sample(range(len(data.train.ids)), len(data.train.ids))
    train, rest = texts(data.train, order[:examples]), texts(data.train, order[examples:], labelled=False)
    return Data(task, train, rest, *(texts(split, range(len(split.ids))) for split in (data.validation, data.test)))


def without_labels(all_data: Sequence[Data]) -> Texts:
    """Return the training texts of several tasks, each with an edited copy."""
    parts = [texts for data in all_data for texts in (data.train, data.unlabelled)]
    parts += [edited(texts, 1, seed=0) for texts in parts]
    ids = tuple(one for texts in parts for one in texts.ids)
    return Texts(ids, (UNLABELLED,) * len(ids))


def with_mixer(base: FormersModel, mixer: Any, head: Callable[[Any], FormersModel], **options: float) -> FormersModel:
    """Return a model with a head and another mixer that has all else of `base`: a backbone, or a classifier."""
    classes = {"num_labels": 2, "pooler": None}  # read from the mean of all tokens
    made = head(base.config.swap(mixer=mixer, **classes, **options))
    named = base.state_dict()
    if made.base_model is not made and base.base_model is base:
        named = {f"model.{name}": weight for name, weight in named.items()}
    made.load_state_dict(named, strict=False)
    made.base_model.embed_tokens.weight.requires_grad_(False)  # most of the weights; they are left as they are
    return made


class StepTrainer(SafeTrainer):
    """Hugging Face's trainer, one ready batch a step, with a loss of its own."""

    loss_of: Loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Tensor:
        return self.loss_of(model, inputs)


def train(
    model: FormersModel, texts: Texts, loss: Loss, folder: Path, steps: int, rate: float, seed: int, bf16: bool
) -> float:
    """Train in place, from the last checkpoint in the folder on; return the steps a second of this call."""
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
        logging_steps=max(1, steps // 20),
        save_steps=max(50, steps // 5),
        save_total_limit=1,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = StepTrainer(model=model, args=args, train_dataset=Steps(texts, steps, seed), data_collator=lambda b: b[0])
    trainer.loss_of = loss
    trainer.seal = lambda path: (path / "sealed").touch()  # type: ignore[assignment]
    whole = [path.parent for path in folder.glob("checkpoint-*/sealed")]
    last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    model.eval()
    return steps / float(trainer.state.log_history[-1].get("train_runtime", "nan"))


def inputs_of(batch: Batch) -> Batch:
    """Return what a model takes of a batch: all but the labels."""
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


def labels_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy with the labels."""
    return cross_entropy(model(**inputs_of(batch)).logits.float(), batch["labels"])


def taught_by(teacher: FormersModel) -> Loss:
    """Return the loss of a student with a fine-tuned teacher: its logits and hidden states, and labels if any."""

    def loss(model: Any, batch: Batch) -> Tensor:
        inputs = inputs_of(batch)
        with torch.no_grad():
            want = teacher(**inputs, output_hidden_states=True)
        got = model(**inputs, output_hidden_states=True)
        answers = kl_div(
            log_softmax(got.logits.float(), -1),
            log_softmax(want.logits.float(), -1),
            log_target=True,
            reduction="batchmean",
        )
        pairs = zip(got.hidden_states[1:], want.hidden_states[1:], strict=True)
        hidden = torch.stack([distance(a, b) for a, b in pairs]).mean()
        labels = cross_entropy(got.logits.float(), batch["labels"], ignore_index=UNLABELLED, reduction="sum")
        return answers + hidden + 0.5 * labels / len(batch["labels"])

    return loss


def hidden_states_of(teacher: FormersModel) -> Loss:
    """Return the loss of a student that is to have a teacher's hidden states, layer by layer."""

    def loss(model: Any, batch: Batch) -> Tensor:
        with torch.no_grad():
            want = teacher(**inputs_of(batch), output_hidden_states=True).hidden_states[1:]
        got = model(**inputs_of(batch), output_hidden_states=True).hidden_states[1:]
        return torch.stack([distance(a, b) for a, b in zip(got, want, strict=True)]).mean()

    return loss


def distance(got: Tensor, want: Tensor) -> Tensor:
    """Return Σ|ŷ − y|² / Σ|y|²."""
    return (got.float() - want.float()).square().sum() / want.float().square().sum()


@dataclass(frozen=True)
class Effort:
    """How much is trained.

    Attributes:
        epochs: of fine-tuning on the labelled texts.
        transfer: steps of the first stage of a repair, once for all tasks and seeds.
        repair: steps of its second stage.
        masked: steps of masked language modelling.
        copies: edited copies of each text of a task for each that it has.
    """

    epochs: float
    transfer: int
    repair: int
    masked: int
    copies: int


@dataclass(frozen=True)
class Experiment:
    """A pretrained model, where results are kept, how long is trained, which layers of a hybrid keep attention, and
    whether products are made in bfloat16."""

    base: FormersModel
    mask: int
    folder: Path
    unlabelled: Texts
    effort: Effort
    kept: tuple[int, ...]
    bf16: bool

    def mixers(self, arm: str) -> str | list[str]:
        """Return the mixers of a repaired model; a hybrid keeps attention in some layers."""
        if arm == "repaired":
            return GAINED
        depth, own = self.base.config.depth, str(self.base.config.mixer)
        return [own if layer in self.kept else GAINED for layer in range(depth)]

    def run(self, data: Data, arm: str, seed: int) -> None:
        """Train and judge an arm on a task, unless that is done, and keep the result."""
        place = self.folder / data.task.task / f"{arm}-{seed}"
        if (place / "result.json").is_file():
            return
        say(f"{data.task.task}: {arm}, seed {seed}")
        if arm == "swapped":
            original = self.fine_tuned(data, "original", seed)
            result = judged(data, with_mixer(original, NAIVE, SequenceClassifier))
        else:
            result = judged(data, self.fine_tuned(data, arm, seed))
        place.mkdir(parents=True, exist_ok=True)
        (place / "result.json").write_text(json.dumps(result))
        say(f"{data.task.task}: {arm}, seed {seed}: {result['test']:.3f}")

    def train(
        self, model: FormersModel, texts: Texts, loss: Loss, place: Path, steps: int, rate: float, seed: int
    ) -> None:
        """Train a model in place; checkpoints are kept where it will be."""
        train(model, texts, loss, place / "training", steps, rate, seed, self.bf16)

    def fine_tuned(self, data: Data, arm: str, seed: int) -> FormersModel:
        """Return the classifier of an arm, trained on a task, or as it was kept."""
        place = self.folder / data.task.task / f"{arm}-{seed}"
        if (place / "config.json").is_file():
            return SequenceClassifier.from_pretrained(place).eval()
        torch.manual_seed(seed)
        if arm in REPAIRS:
            model = self.repaired(data, arm, seed, place)
        else:
            base = self.masked(NAIVE) if arm == "mlm" else self.base
            mixer = base.config.mixer if arm == "original" else NAIVE
            model = with_mixer(base, mixer, SequenceClassifier)
            steps = max(10, round(self.effort.epochs * len(data.train.ids) / BATCH))
            self.train(model, data.train, labels_loss, place, steps, RATES[arm], seed)
        model.save_pretrained(place)
        return model

    def repaired(self, data: Data, arm: str, seed: int, place: Path) -> FormersModel:
        """Return the fine-tuned original with other mixers, taught what it was: its states, then its answers."""
        teacher = self.fine_tuned(data, "original", seed)
        student = with_mixer(self.transferred(arm), self.mixers(arm), SequenceClassifier, dropout=0.0)
        add_difference(student, self.base, teacher)
        texts = data.train + data.unlabelled
        texts += edited(texts, self.effort.copies, seed)
        self.train(student, texts, taught_by(teacher), place, self.effort.repair, RATES[arm], seed + 1)
        return student

    def transferred(self, arm: str) -> FormersModel:
        """Return the pretrained backbone with other mixers, taught the hidden states that it had with attention."""
        place = self.folder / f"transfer-{arm}"
        if not (place / "config.json").is_file():
            say(f"transfer, {arm}: {self.effort.transfer} steps")
            torch.manual_seed(0)
            student = with_mixer(self.base, self.mixers(arm), Transformer, dropout=0.0)
            loss = hidden_states_of(self.base)
            self.train(student, self.unlabelled, loss, place, self.effort.transfer, TRANSFER_RATE, seed=0)
            student.save_pretrained(place)
        return Transformer.from_pretrained(place)

    def masked(self, mixer: str) -> FormersModel:
        """Return the pretrained backbone with another mixer, trained on as a masked language model."""
        place = self.folder / "masked"
        if not (place / "config.json").is_file():
            say(f"masked language modelling: {self.effort.masked} steps")
            torch.manual_seed(0)
            model = with_mixer(self.base, mixer, MaskedLM)
            loss = masked_loss(self.mask)
            self.train(model, self.unlabelled, loss, place, self.effort.masked, RATES["mlm"], seed=0)
            model.base_model.save_pretrained(place)
        return type(self.base).from_pretrained(place)


@torch.no_grad()
def add_difference(student: FormersModel, before: FormersModel, after: FormersModel) -> None:
    """Add to the weights of a classifier what fine-tuning has changed in those that it shares with the original.

    (Ilharco et al. 2023, arXiv:2212.04089, call the difference a task vector.) The head is taken as it is.
    """
    first, own = before.state_dict(), student.state_dict()
    for name, weight in after.state_dict().items():
        if name.startswith("score."):
            own[name].copy_(weight)
        elif name in own:
            own[name].add_(weight - first[name.removeprefix("model.")])


def masked_loss(mask: int) -> Loss:
    """Return the loss of a masked language model: 15 % of the tokens are hidden, and to be found."""

    def loss(model: Any, batch: Batch) -> Tensor:
        ids = batch["input_ids"]
        hidden = torch.rand(ids.shape, device=ids.device) < MASK_SHARE
        hidden[:, 0] |= ~hidden.any(1)
        labels = ids.masked_fill(~hidden, -100)
        return model(input_ids=ids.masked_fill(hidden, mask), labels=labels).loss

    return loss


def judged(data: Data, model: FormersModel) -> dict[str, float]:
    """Return the task's score on validation and test."""
    scores = {}
    for side in ("validation", "test"):
        batches = list(getattr(data, side).batches())
        with evaluating(model):
            found = torch.cat([model(**inputs_of(batch)).logits.argmax(-1) for batch in batches])
        scores[side] = data.task.score(found, torch.cat([batch["labels"] for batch in batches]))
    return scores


def seconds_a_step(base: FormersModel, mixers: dict[str, Any], length: int, times: int = 5) -> dict[str, float]:
    """Return the CPU time of a training step of 32 texts with each mixer, the least of several, taken in turn.

    CPU time, so that other work on the machine counts as little as it can; run it with one thread (OMP_NUM_THREADS=1).
    """
    models = {name: with_mixer(base, mixer, SequenceClassifier).train() for name, mixer in mixers.items()}
    ids = torch.randint(1000, 20000, (BATCH, length))
    labels = torch.zeros(BATCH, dtype=torch.long)
    found: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(times):
        for name, model in models.items():
            start = time.process_time()
            labels_loss(model, {"input_ids": ids, "labels": labels}).backward()
            found[name].append(time.process_time() - start)
    return {name: min(values) for name, values in found.items()}


def show(folder: Path, tasks: Sequence[str]) -> None:
    """Print mean and range of each arm's score, over the seeds that are done."""
    print(f"\n{'arm':10}" + "".join(f"{task:>26}" for task in tasks))
    for arm in ARMS:
        cells = []
        for task in tasks:
            files = sorted(folder.glob(f"{task}/{arm}-*/result.json"))
            values = [json.loads(file.read_text())["test"] for file in files]
            cells.append(
                f"{statistics.mean(values):.3f} ({min(values):.3f}–{max(values):.3f}, {len(values)})" if values else "–"
            )
        print(f"{arm:10}" + "".join(f"{cell:>26}" for cell in cells))


def seeds(text: str) -> list[int]:
    """Return the seeds that a text names: the first so many, or those with commas between them or behind them."""
    found = [int(part) for part in text.split(",") if part] if "," in text else list(range(int(text)))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no seed; give how many, or which: 0,2,5")
    return found


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder of a BERT")
    parser.add_argument("--tasks", default="cola,sst2", help="of cola, qnli, rte, sst2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=seeds, default=[0], help="how many, or which: 0,2,5; one alone: 2,")
    parser.add_argument("--examples", type=int, default=8_192, help="labels of a task that are read")
    parser.add_argument("--longest", type=int, default=48, help="tokens of a text that are read")
    parser.add_argument("--epochs", type=float, default=2.0, help="of fine-tuning on the labels")
    parser.add_argument("--transfer-steps", type=int, default=2_000, help="of a repair's first stage, once for all")
    parser.add_argument("--repair-steps", type=int, default=1_000, help="of its second stage")
    parser.add_argument("--masked-steps", type=int, default=2_000, help="of masked language modelling")
    parser.add_argument("--fp32", action="store_true", help="no products in bfloat16, which not every CPU has")
    parser.add_argument("--copies", type=int, default=2, help="edited copies of each text")
    parser.add_argument("--kept", default="-2,-1", help="layers of the hybrid that keep attention; 0,1 keep more")
    parser.add_argument("--no-speed", action="store_true", help="leave out the time of a step")
    parser.add_argument("--folder", type=Path, default=Path("fnet-glue"))
    words = parser.parse_args()
    warnings.simplefilter("ignore")
    tokenizer = AutoTokenizer.from_pretrained(words.model)
    base = from_hf(AutoModel.from_pretrained(words.model)).eval()
    tasks = words.tasks.split(",")
    all_data = [read(name, words.model, words.examples, words.longest) for name in tasks]
    depth = base.config.depth
    kept = tuple(int(layer) % depth for layer in words.kept.split(","))
    effort = Effort(words.epochs, words.transfer_steps, words.repair_steps, words.masked_steps, words.copies)
    mask, unlabelled = tokenizer.mask_token_id, without_labels(all_data)
    experiment = Experiment(base, mask, words.folder, unlabelled, effort, kept, bf16=not words.fp32)
    for seed in words.seeds:
        for data in all_data:
            for arm in words.arms.split(","):
                experiment.run(data, arm, seed)
        show(words.folder, tasks)
    if words.no_speed:
        return
    mixers = {"original": base.config.mixer, "naive": NAIVE} | {arm: experiment.mixers(arm) for arm in REPAIRS}
    for length in (16, 64, 128):
        timed = seconds_a_step(base, mixers, length)
        print(
            f"32 × {length} tokens: "
            + ", ".join(f"{name} {1 / t:.2f} steps/s of CPU time" for name, t in timed.items())
        )


if __name__ == "__main__":
    main()
