"""A trained BERT gives its attention up for Fourier mixing, is ruined by it, and is repaired: on tasks of GLUE.

    python examples/fnet_glue.py MODEL --tasks cola,sst2 --seeds 3

MODEL is the folder of a small BERT, as MiniLM with 6 layers; GLUE's data lie in the folder that FORMERS_DATA names.
The arms of each task, all trained on batches of texts of equal length, so that nothing is padded:

    original   fine-tuned, with attention
    swapped    the same, then Fourier mixing in the place of all attention, without any training after it
    naive      Fourier mixing in the place of all attention of the pretrained model, then fine-tuned
    mlm        the same, but first trained on as a masked language model on the tasks' training texts
    repaired   the original with Fourier mixing with a gain, taught the original's hidden states layer by layer, then
               fine-tuned with the labels and the original's answers as its aim
    hybrid     the same, with attention kept in the last two layers

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
from formers.models.pretrained import FormersModel
from formers.part import evaluating
from formers.tasks import Glue

NAIVE, GAINED = "fourier", "fourier(gain=0.1)"
ARMS = ("original", "swapped", "naive", "mlm", "repaired", "hybrid")
BATCH = 32
EPOCHS = {"original": 2, "naive": 2, "mlm": 2, "repaired": 2, "hybrid": 2}
RATES = {"original": 1e-4, "naive": 2e-4, "mlm": 2e-4, "repaired": 2e-4, "hybrid": 2e-4}
TRANSFER_RATE, TRANSFER_SHARE = 5e-4, 0.4
"""Of a repair's steps: those that teach hidden states alone."""
MASK_SHARE = 0.15
Batch = dict[str, Tensor]
Loss = Callable[[Any, Batch], Tensor]


@dataclass(frozen=True)
class Texts:
    """Tokenized texts and their labels; of pairs also the token behind each text."""

    ids: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    separator: int | None = None

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
    validation: Texts
    test: Texts


def read(name: str, model: str, examples: int, longest: int) -> Data:
    """Return a task's data as a model's tokenizer reads it: at most so many training examples, and tokens of each."""
    task = Glue(task=name, tokenizer=model, length=longest)
    data = task.data
    separator = data.vocabulary.tokenizer.sep_token_id
    paired = len(data.train.records[0].texts) > 1

    def texts(split: Any, most: int | None = None) -> Texts:
        chosen = range(len(split.ids))
        if most is not None and len(chosen) > most:
            chosen = random.Random(0).sample(chosen, most)
        labels = tuple(int(split.labels[at]) for at in chosen)
        return Texts(tuple(tuple(split.ids[at].tolist()) for at in chosen), labels, separator if paired else None)

    return Data(task, texts(data.train, examples), texts(data.validation), texts(data.test))


def with_mixer(base: FormersModel, mixer: Any, head: Callable[[Any], FormersModel]) -> FormersModel:
    """Return a model with a head and another mixer that has all else of `base`: a backbone, or a classifier."""
    made = head(
        base.config.swap(mixer=mixer, num_labels=2, pooler=None)
    )  # classes are read from the mean of all tokens
    weights = base.state_dict()
    named = {name if name.startswith(("model.", "score.")) else f"model.{name}": w for name, w in weights.items()}
    made.load_state_dict(named, strict=False)
    made.base_model.embed_tokens.weight.requires_grad_(False)  # most of the weights; they are left as they are
    return made


class StepTrainer(SafeTrainer):
    """Hugging Face's trainer, one ready batch a step, with a loss of its own."""

    loss_of: Loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Tensor:
        return self.loss_of(model, inputs)


def train(model: FormersModel, texts: Texts, loss: Loss, folder: Path, steps: int, rate: float, seed: int) -> float:
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
        bf16=True,
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
    """Return the loss of a student with a fine-tuned teacher: its logits, its last hidden states, and the labels."""

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
        hidden = distance(got.hidden_states[-1], want.hidden_states[-1])
        return answers + hidden + 0.5 * cross_entropy(got.logits.float(), batch["labels"])

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
class Experiment:
    """A pretrained model, where results are kept, and how long is trained."""

    base: FormersModel
    mask: int
    folder: Path
    unlabelled: Texts
    masked_steps: int
    scale: float

    def hybrid(self) -> list[str]:
        """Return the mixers of a model that keeps attention in its last two layers."""
        depth = self.base.config.depth
        return [GAINED if layer < depth - 2 else str(self.base.config.mixer) for layer in range(depth)]

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

    def fine_tuned(self, data: Data, arm: str, seed: int) -> FormersModel:
        """Return the classifier of an arm, trained on a task, or as it was kept."""
        place = self.folder / data.task.task / f"{arm}-{seed}"
        if (place / "config.json").is_file():
            return SequenceClassifier.from_pretrained(place).eval()
        torch.manual_seed(seed)
        steps = max(10, round(EPOCHS[arm] * self.scale * len(data.train.ids) / BATCH))
        if arm in ("repaired", "hybrid"):
            model = self.repaired(data, arm, seed, steps, place)
        else:
            base = self.masked(NAIVE) if arm == "mlm" else self.base
            mixer = base.config.mixer if arm == "original" else NAIVE
            model = with_mixer(base, mixer, SequenceClassifier)
            train(model, data.train, labels_loss, place / "training", steps, RATES[arm], seed)
        model.save_pretrained(place)
        return model

    def repaired(self, data: Data, arm: str, seed: int, steps: int, place: Path) -> FormersModel:
        """Return the fine-tuned original with Fourier mixing, taught what it was: its states, then its answers."""
        teacher = self.fine_tuned(data, "original", seed)
        transfer, taught = round(TRANSFER_SHARE * steps), place / "taught"
        if (taught / "config.json").is_file():
            student: FormersModel = SequenceClassifier.from_pretrained(taught)
        else:
            student = with_mixer(teacher, GAINED if arm == "repaired" else self.hybrid(), SequenceClassifier)
            loss = hidden_states_of(teacher)
            train(student.base_model, data.train, loss, place / "transfer", transfer, TRANSFER_RATE, seed)
            student.save_pretrained(taught)
        student.base_model.embed_tokens.weight.requires_grad_(False)
        train(student, data.train, taught_by(teacher), place / "training", steps - transfer, RATES[arm], seed + 1)
        return student

    def masked(self, mixer: str) -> FormersModel:
        """Return the pretrained backbone with another mixer, trained on as a masked language model."""
        place = self.folder / "masked"
        if not (place / "config.json").is_file():
            say(f"masked language modelling: {self.masked_steps} steps")
            torch.manual_seed(0)
            model = with_mixer(self.base, mixer, MaskedLM)
            loss = masked_loss(self.mask)
            train(model, self.unlabelled, loss, place / "training", self.masked_steps, RATES["mlm"], seed=0)
            model.base_model.save_pretrained(place)
        return type(self.base).from_pretrained(place)


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


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder of a BERT")
    parser.add_argument("--tasks", default="cola,sst2", help="of cola, qnli, rte, sst2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--examples", type=int, default=16_384, help="training examples of a task, at most")
    parser.add_argument("--longest", type=int, default=48, help="tokens of a text that are read")
    parser.add_argument("--masked-steps", type=int, default=2_000, help="of masked language modelling")
    parser.add_argument("--scale", type=float, default=1.0, help="of the epochs of fine-tuning")
    parser.add_argument("--no-speed", action="store_true", help="leave out the time of a step")
    parser.add_argument("--folder", type=Path, default=Path("fnet-glue"))
    words = parser.parse_args()
    warnings.simplefilter("ignore")
    tokenizer = AutoTokenizer.from_pretrained(words.model)
    base = from_hf(AutoModel.from_pretrained(words.model)).eval()
    tasks = words.tasks.split(",")
    all_data = [read(name, words.model, words.examples, words.longest) for name in tasks]
    ids = tuple(one for data in all_data for one in data.train.ids)
    unlabelled = Texts(ids, (0,) * len(ids))
    experiment = Experiment(base, tokenizer.mask_token_id, words.folder, unlabelled, words.masked_steps, words.scale)
    for seed in range(words.seeds):
        for data in all_data:
            for arm in words.arms.split(","):
                experiment.run(data, arm, seed)
        show(words.folder, tasks)
    if words.no_speed:
        return
    mixers = {"original": base.config.mixer, "naive": NAIVE, "repaired": GAINED, "hybrid": experiment.hybrid()}
    for length in (16, 64, 128):
        timed = seconds_a_step(base, mixers, length)
        print(
            f"32 × {length} tokens: "
            + ", ".join(f"{name} {1 / t:.2f} steps/s of CPU time" for name, t in timed.items())
        )


if __name__ == "__main__":
    main()
