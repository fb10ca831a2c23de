"""What the agents of the simulation were told, and the judge that compares it with the log in the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from keepsay.model.conversation import RunRecord
from keepsay.model.ids import RunId
from keepsay.model.messages import Message, MessageStatus

from . import provider

__all__ = ["Job", "Journal", "Write", "judge_log", "judge_runs"]


@dataclass(frozen=True, slots=True)
class Job:
    """A user's request: one question, one key, however often it is tried."""

    conversation: int
    key: str

    @property
    def tag(self) -> str:
        return f"q:{self.key}"


@dataclass(frozen=True, slots=True)
class Write:
    """Messages that an agent sent under a fence. ``first_seq`` is ``None`` when the answer was never seen."""

    run_id: RunId | None
    fence: int | None
    tags: tuple[str, ...]
    first_seq: int | None


@dataclass
class Journal:
    """Everything that is known from outside."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    writes: dict[int, list[Write]] = field(default_factory=lambda: defaultdict(list))
    asked: dict[Job, bool] = field(default_factory=dict)
    """Whether the question's acceptance was seen by anybody."""
    unfinished: dict[int, list[Job]] = field(default_factory=lambda: defaultdict(list))
    answered: dict[int, list[tuple[Job, str]]] = field(default_factory=lambda: defaultdict(list))

    def accuse(self, conversation: int, what: str) -> None:
        self.violations.append(f"conversation {conversation}: {what}")


def judge_log(journal: Journal, conversation: int, log: Sequence[Message]) -> Iterator[str]:
    """Whatever is wrong with the final log of a conversation."""
    yield from _judge_seq(log)
    yield from _judge_writes(journal.writes[conversation], log)
    yield from _judge_fences(journal.writes[conversation], log)
    yield from _judge_questions(journal, conversation, log)
    refused = provider.refuses([message.payload for message in log if message.status is not MessageStatus.INCOMPLETE])
    if refused:
        yield f"a provider refuses the log: {refused}"


def _judge_seq(log: Sequence[Message]) -> Iterator[str]:
    if [message.seq for message in log] != list(range(1, len(log) + 1)):
        yield "seq has a gap or repeats"
    if any(before.created_at >= after.created_at for before, after in pairwise(log)):
        yield "created_at does not increase"


def _tags(log: Sequence[Message]) -> dict[str, Message]:
    return {str(message.content): message for message in log if message.status is not MessageStatus.SYNTHETIC}


def _judge_writes(writes: Sequence[Write], log: Sequence[Message]) -> Iterator[str]:
    """The log holds what was accepted, where it was said to be, and nothing that nobody wrote."""
    said = [message for message in log if message.status is not MessageStatus.SYNTHETIC]
    by_tag = _tags(log)
    if len(by_tag) != len(said):
        doubled = [tag for tag, times in Counter(str(message.content) for message in said).items() if times > 1]
        yield f"stored twice: {doubled}"
    if strangers := by_tag.keys() - {tag for write in writes for tag in write.tags}:
        yield f"nobody wrote {sorted(strangers)}"
    for write in writes:
        found = [by_tag[tag] for tag in write.tags if tag in by_tag]
        places = [message.seq for message in found]
        first = write.first_seq if write.first_seq is not None or not places else places[0]
        expected = [] if first is None else list(range(first, first + len(write.tags)))
        if places != expected:
            yield f"{write} stands at {places}"
        if any(message.run_id != write.run_id for message in found):
            yield f"{write} is stored under another run"


def _judge_fences(writes: Sequence[Write], log: Sequence[Message]) -> Iterator[str]:
    """One holder for each fence, and no write of a holder after one of a later holder: holds never overlap."""
    fences = {tag: write.fence for write in writes if write.fence is not None for tag in write.tags}
    runs: dict[int, RunId | None] = {}
    last = 0
    for message in log:
        fence = None if message.status is MessageStatus.SYNTHETIC else fences.get(str(message.content))
        if fence is None:
            continue
        if runs.setdefault(fence, message.run_id) != message.run_id:
            yield f"seq {message.seq}: two runs hold fence {fence}"
        if fence < last:
            yield f"seq {message.seq}: fence {fence} wrote after fence {last}"
        last = max(fence, last)


def _judge_questions(journal: Journal, conversation: int, log: Sequence[Message]) -> Iterator[str]:
    times = Counter(str(message.content) for message in log)
    for job, was_seen in journal.asked.items():
        if job.conversation == conversation and not was_seen <= times[job.tag] <= 1:
            yield f"{job.tag} is stored {times[job.tag]} times; accepted: {was_seen}"


def judge_runs(runs: Sequence[RunRecord]) -> Iterator[str]:
    """Ended runs of one conversation: each has a fence of its own, and the messages of no two overlap."""
    if len({run.fence for run in runs}) != len(runs):
        yield "two runs ended with one fence"
    ordered = sorted(runs, key=lambda run: run.first_seq)
    for before, after in pairwise(ordered):
        if before.last_seq >= after.first_seq and before.first_seq <= before.last_seq:
            yield f"the runs {before.id} and {after.id} overlap at seq {after.first_seq}"
