"""A simulation of agents that crash, pause past their lease, interrupt each other and try again, on a real store."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keepsay.errors import ConversationBusy, KeepsayError, RunSuperseded
from keepsay.model.conversation import RolePolicy, RunStatus
from keepsay.model.ids import Key, run_id_for, run_id_of
from keepsay.model.messages import MessageStatus, NewMessage
from keepsay.model.window import Window, choose_window
from keepsay.store.protocol import Appended, Begin, Begun, Ending, Finish, RunHold, Store
from keepsay.testing import build
from keepsay.testing.build import hold_of, plan_of
from keepsay.testing.postgres import Database
from keepsay.testing.talk import Talk, start_talk

from . import provider
from .checks import read_whole_log
from .ground import OpenStore, looking_in
from .journal import Job, Journal, Write, judge_log, judge_runs
from .scripts import Move, Script, draw_script, moves_of, question

T = TypeVar("T")

NEW, UNFINISHED = 0.62, 0.90
"""Below the first a script asks something new, below the second it takes up what was left, else it asks again."""
OUTSIDE = 0.05
TRIES = 60
_NUMBERS = re.compile(r"[0-9a-f-]{36}|[0-9]+")


class Vanished(Exception):
    """The agent is gone, as by a crash. ``sent``: what it was about to write is under way, and may arrive or not."""

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent


@dataclass
class Simulation:
    """The state of one simulation: the conversations, what is known, and what is wrong."""

    store: Store
    talks: list[Talk]
    seed: int
    journal: Journal = field(default_factory=Journal)

    async def play(self, script: Script) -> None:
        """One agent from begin to end; whatever keepsay should not have done goes into the journal."""
        try:
            await self._play(script)
        except Vanished:
            self.journal.counts["crashes"] += 1
        except (KeepsayError, AssertionError) as error:
            self.journal.accuse(script.conversation, f"run {script.number}: {type(error).__name__}: {error}")

    async def _play(self, script: Script) -> None:
        talk, job = self.talks[script.conversation], self._job(script)
        begun = await self._begin(talk, script, job)
        if begun is None:
            return
        if not begun.held:
            self._judge_replay(job, begun)
            return
        self.journal.counts["runs"] += 1
        self.journal.counts["takeovers"] += begun.took_over
        self.journal.counts["new attempts"] += begun.run.attempt > 1
        self.judge_window(script, begun)
        await _Agent(self, talk, script, job, hold_of(begun, lease=script.lease)).act()

    def _job(self, script: Script) -> Job:
        left = self.journal.unfinished[script.conversation]
        answered = self.journal.answered[script.conversation]
        if NEW <= script.wish < UNFINISHED and left:
            return left.pop()
        if script.wish >= UNFINISHED and answered:
            return answered[script.number % len(answered)][0]
        return Job(script.conversation, f"k{script.number}")

    async def _begin(self, talk: Talk, script: Script, job: Job) -> Begun | None:
        """Begin, waiting while the conversation is busy; ``None`` if it came to nothing."""
        given = build.begin(
            question(job.tag),
            run_id=run_id_for(talk.id, Key(job.key)),
            lease=script.lease,
            on_busy=script.on_busy,
            key=job.key,
            window=Window(max_messages=script.window),
        )
        for _ in range(TRIES):
            try:
                begun = await self.send(lambda: self.store.begin(talk.owner, talk.id, given), script, 0)
            except ConversationBusy as busy:
                self.journal.counts["busy"] += 1
                await asyncio.sleep(min(busy.retry_after, 0.05) + 0.002)
                continue
            except RunSuperseded:
                self.journal.counts["went on without the retry"] += 1
                return None
            except Vanished as vanished:
                self._left_open(talk, job, sent=vanished.sent)
                raise
            self.note_question(job, begun)
            if 0 in script.repeats and begun.held:
                await self._begin_again(talk, given, begun)
            return begun
        self.journal.counts["gave up"] += 1
        return None

    async def _begin_again(self, talk: Talk, given: Begin, begun: Begun) -> None:
        """The same call again, as after an answer that was lost: it still holds, unless somebody took over."""
        try:
            again = await self.store.begin(talk.owner, talk.id, given)
        except (ConversationBusy, RunSuperseded):
            self.journal.counts["lost before the begin came again"] += 1
            return
        self.journal.counts["begins sent again"] += 1
        assert again.held or again.run.status is not RunStatus.RUNNING, "its own begin does not hold the run"
        assert again.run.first_seq == begun.run.first_seq, "the same begin again took another question"

    def _left_open(self, talk: Talk, job: Job, *, sent: bool) -> None:
        self.journal.asked.setdefault(job, False)
        if sent:
            write = Write(run_id_for(talk.id, Key(job.key)), None, (job.tag,), None)
            self.journal.writes[job.conversation].append(write)
        self.journal.unfinished[job.conversation].append(job)

    def note_question(self, job: Job, begun: Begun) -> None:
        self.journal.asked[job] = True
        fence = begun.run.fence if begun.held and begun.run.attempt == 1 else None
        write = Write(begun.run.id, fence, (job.tag,), begun.run.first_seq)
        self.journal.writes[job.conversation].append(write)

    async def send(self, call: Callable[[], Awaitable[T]], script: Script, at: int) -> T:
        """Send one call; raises ``Vanished`` where the script has the agent crash, before the call or in it."""
        if script.crash_at != at:
            return await call()
        if script.vanishes_after is None:
            raise Vanished(sent=False)
        task = asyncio.ensure_future(call())
        await asyncio.wait([task], timeout=script.vanishes_after)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            return task.result()  # it was refused before the agent was gone
        raise Vanished(sent=True)

    def _judge_replay(self, job: Job, begun: Begun) -> None:
        assert begun.replayed
        self.journal.counts["attached" if begun.run.status is RunStatus.RUNNING else "replays"] += 1
        answers = [answer for known, answer in self.journal.answered[job.conversation] if known == job]
        if begun.run.status is RunStatus.COMPLETED and answers:
            assert begun.rows.messages[0].content == job.tag, "a replay begins with another question"
            assert begun.rows.messages[-1].content == answers[0], "a replay ends with another answer"

    def judge_window(self, script: Script, begun: Begun) -> None:
        """What the model would get is what every provider takes."""
        seen = choose_window(begun.rows, Window(max_messages=script.window)).to_openai_chat()
        refused = provider.refuses(seen)
        if begun.rows.policy is RolePolicy.STRICT:
            refused = refused or provider.refuses_roles(seen)
        if refused:
            self.journal.accuse(script.conversation, f"a provider refuses the window: {refused}")

    async def speak_from_outside(self, script: Script) -> None:
        """A message without a run, as a person at another device sends it."""
        talk, tag = self.talks[script.conversation], f"outside {script.number}"
        if (await talk.get()).role_policy is RolePolicy.STRICT:
            return
        try:
            appended = await talk.append(question(tag))
        except KeepsayError:
            self.journal.counts["refused from outside"] += 1
            return
        self.journal.counts["said from outside"] += 1
        self.journal.writes[script.conversation].append(Write(None, None, (tag,), appended.first_seq))


@dataclass
class _Agent:
    """One run that holds its conversation, at least at first."""

    simulation: Simulation
    talk: Talk
    script: Script
    job: Job
    hold: RunHold

    async def act(self) -> None:
        *moves, answer = moves_of(self.script)
        try:
            for at, move in enumerate(moves, start=1):
                await self._pause(at)
                if self.script.fails and at == len(moves):
                    await self._finish((), len(moves) + 1, RunStatus.FAILED)
                    return
                await self._append(move, at)
            await self._pause(len(moves) + 1)
            await self._finish(answer, len(moves) + 1, RunStatus.COMPLETED)
        except RunSuperseded:
            await self._insist(answer)
        except Vanished:
            self._leave_unfinished()
            raise

    async def _pause(self, at: int) -> None:
        if self.script.pause_at == at:
            self.journal.counts["pauses"] += 1
            await asyncio.sleep(self.script.pause)

    async def _append(self, move: Move, at: int) -> None:
        store, talk, given = self.simulation.store, self.talk, build.append(*move, hold=self.hold)
        appended = await self._write(lambda: store.append(talk.owner, talk.id, given), move, at)
        if at in self.script.repeats:
            again = await store.append(talk.owner, talk.id, given)
            assert appended is not None
            assert (again.replayed, again.first_seq) == (True, appended.first_seq), "an append sent again is no replay"
            self.journal.counts["appends sent again"] += 1

    async def _finish(self, move: Move, at: int, status: Ending) -> None:
        store, talk, given = self.simulation.store, self.talk, Finish(self.hold, status, plan_of(*move))

        async def finish() -> Appended | None:
            return (await store.finish(talk.owner, talk.id, given)).appended

        await self._write(finish, move, at)
        if at in self.script.repeats:
            await finish()
            self.journal.counts["finishes sent again"] += 1
        self.journal.counts[status.text] += 1
        if status is RunStatus.COMPLETED:
            self.journal.answered[self.job.conversation].append((self.job, str(move[0].payload["content"])))
        else:
            self._leave_unfinished()

    async def _write(self, call: Callable[[], Awaitable[Appended | None]], move: Move, at: int) -> Appended | None:
        """Send a write and note it; one that nobody saw the answer of is noted as perhaps stored."""
        tags = tuple(str(message.payload["content"]) for message in move)
        try:
            appended = await self.simulation.send(call, self.script, at)
        except Vanished as vanished:
            if vanished.sent:
                self._note(tags, None)
            raise
        if appended is not None:
            self._note(tags, appended.first_seq)
        return appended

    def _note(self, tags: tuple[str, ...], first_seq: int | None) -> None:
        write = Write(self.hold.run_id, self.hold.fence, tags, first_seq)
        self.journal.writes[self.job.conversation].append(write)

    async def _insist(self, answer: Move) -> None:
        """A run that lost the conversation tries on, and is refused every time."""
        self.journal.counts["fenced writes"] += 1
        self._leave_unfinished()
        try:
            finished = await self.talk.finish(self.hold, *answer)
        except RunSuperseded:
            self.journal.counts["fenced writes"] += 1
        else:
            self.journal.accuse(self.job.conversation, f"a superseded run could finish: {finished.run}")

    def _leave_unfinished(self) -> None:
        self.journal.unfinished[self.job.conversation].append(self.job)

    @property
    def journal(self) -> Journal:
        return self.simulation.journal


@dataclass
class Observer:
    """Looks at the tables while the agents work, through a connection that keepsay knows nothing of."""

    simulation: Simulation
    connection: Any
    heads: dict[int, int] = field(default_factory=dict)
    holders: dict[tuple[int, int], int] = field(default_factory=dict)
    logs: dict[int, list[tuple[int, str]]] = field(default_factory=dict)

    async def watch(self) -> None:
        draw = random.Random(self.simulation.seed)
        while True:
            await self.look(draw.randrange(len(self.simulation.talks)))
            await asyncio.sleep(0.01)

    async def look(self, number: int) -> None:
        """One snapshot: the fence rises, has one holder, what was seen stays, calls are closed once nobody holds."""
        row = await self.connection.fetchrow(_SNAPSHOT, self.simulation.talks[number].id)
        accuse = self._accuser(number)
        self.simulation.journal.counts["looks"] += 1
        log = [(line[0], line[2]) for line in json.loads(row["log"] or "[]")]
        known = self.logs.get(number, [])
        if log[: len(known)] != known:
            accuse("the log changed after it was read")
        self.logs[number] = log
        if [seq for seq, _ in log] != list(range(1, row["head"] + 1)):
            accuse("the log has a gap, or the head is not its end")
        running = row["active_run"]
        if running is not None and self.holders.setdefault((number, row["fence"]), running) != running:
            accuse(f"two runs held fence {row['fence']}")
        if row["fence"] < self.heads.get(number, 0):
            accuse("the fence fell")
        self.heads[number] = row["fence"]
        said = [json.loads(line[2]) for line in json.loads(row["log"] or "[]") if line[1] != MessageStatus.INCOMPLETE]
        if refused := provider.refuses(said, unfinished=running is not None):
            accuse(f"a provider refuses the log, which {running} holds: {refused}")

    def _accuser(self, number: int) -> Callable[[str], None]:
        return lambda what: self.simulation.journal.accuse(number, f"seen from outside: {what}")


_SNAPSHOT = """
SELECT c.head, c.fence, c.active_run, (
    SELECT json_agg(json_build_array(m.seq, m.status, m.payload::text) ORDER BY m.seq)
    FROM keepsay.messages m
    WHERE m.conversation_id = c.conversation_id
) AS log
FROM keepsay.conversations c
WHERE c.conversation_id = $1
"""


async def simulate(
    open_store: OpenStore, database: Database, seed: int, *, runs: int, workers: int = 16, conversations: int = 24
) -> Journal:
    """Play until so many runs have begun, and judge the logs. Raises ``AssertionError`` with all that is wrong."""
    async with open_store(workers) as store, looking_in(database) as connection:
        policies = [RolePolicy.LENIENT if n % 4 == 3 else RolePolicy.STRICT for n in range(conversations)]
        talks = [await start_talk(store, "system: Be brief.", policy=policy) for policy in policies]
        simulation = Simulation(store, talks, seed)
        for number in range(conversations):
            simulation.journal.writes[number].append(Write(None, None, ("Be brief.",), 1))
        observer = Observer(simulation, connection)
        watch = asyncio.create_task(observer.watch())
        await _play_all(simulation, runs, workers)
        watch.cancel()
        await asyncio.wait([watch])
        for number in range(conversations):
            await _take_one_more(simulation, number)
            await observer.look(number)
        await _judge(simulation, connection)
    journal = simulation.journal
    assert watch.cancelled(), f"the observer failed: {watch.exception()!r}"
    assert not journal.violations, _told(journal, runs, seed)
    return journal


def _told(journal: Journal, runs: int, seed: int) -> str:
    kinds: dict[str, str] = {}
    for violation in journal.violations:
        kinds.setdefault(_NUMBERS.sub("", violation)[:80], violation)
    shown = "\n".join(list(kinds.values())[:40])
    return f"{len(journal.violations)} violations in {runs} runs of seed {seed}; {dict(journal.counts)}\n{shown}"


async def _play_all(simulation: Simulation, runs: int, workers: int) -> None:
    numbers = iter(range(100 * runs))

    async def work() -> None:
        while simulation.journal.counts["runs"] < runs:
            script = draw_script(simulation.seed, next(numbers), len(simulation.talks))
            if script.number % int(1 / OUTSIDE) == 0:
                await simulation.speak_from_outside(script)
            else:
                await simulation.play(script)

    await asyncio.gather(*(work() for _ in range(workers)))


async def _take_one_more(simulation: Simulation, number: int) -> None:
    """No conversation is stuck: it takes a new question, at once or when a lease has run out, and completes."""
    talk, job = simulation.talks[number], Job(number, f"last {number}")
    script = draw_script(simulation.seed, -1 - number, len(simulation.talks))
    try:
        begun = await _begin_soon(talk, job)
        simulation.note_question(job, begun)
        simulation.judge_window(script, begun)
        tag = f"last {number}.answer"
        finished = await talk.finish(hold_of(begun), NewMessage({"role": "assistant", "content": tag}))
    except KeepsayError as error:
        simulation.journal.accuse(number, f"stuck: {type(error).__name__}: {error}")
        return
    assert finished.appended is not None
    write = Write(begun.run.id, begun.run.fence, (tag,), finished.appended.first_seq)
    simulation.journal.writes[number].append(write)


async def _begin_soon(talk: Talk, job: Job) -> Begun:
    """Begin as soon as the leases of the crashed have run out. Raises ``ConversationBusy`` if they do not."""
    try:
        return await talk.begin(question(job.tag))
    except ConversationBusy as busy:
        await asyncio.sleep(min(busy.retry_after, 0.2) + 0.01)
    return await talk.begin(question(job.tag))


async def _judge(simulation: Simulation, connection: Any) -> None:
    for number, talk in enumerate(simulation.talks):
        log = await read_whole_log(simulation.store, talk, limit=200)
        for what in judge_log(simulation.journal, number, log):
            simulation.journal.accuse(number, what)
        ids = await connection.fetch("SELECT DISTINCT run_id FROM keepsay.runs WHERE conversation_id = $1", talk.id)
        runs = [await talk.run(run_id_of(row["run_id"])) for row in ids]
        simulation.journal.counts.update(f"ended as {run.status.text}" for run in runs)
        for what in judge_runs(runs):
            simulation.journal.accuse(number, what)


def counted(journal: Journal, names: Sequence[str]) -> str:
    """The counters, one line each."""
    return "\n".join(f"{journal.counts[name]:6} {name}" for name in names)
