"""A stateful machine: the same random histories to two stores, and every answer compared.

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        twins = Twins(Side("memory", ...), Side("mine", ...), runner)
        run_histories(twins, examples=500)
        print(twins.meetings.report())

Histories have several users and conversations of all policies; they know what stands open, so that most steps are
sound, and repeat, mix up and contradict earlier requests, so that many are not.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from keepsay.model.conversation import RolePolicy, RunStatus
from keepsay.model.messages import NewMessage
from keepsay.model.window import Window
from keepsay.store.protocol import UNSET, Ending, OnBusy
from keepsay.testing import strategies
from keepsay.testing.history import History
from keepsay.testing.twins import Twins

__all__ = ["ERRORS", "EVENTS", "VERBS", "StoreMachine", "run_histories"]

VERBS = frozenset(
    {
        *(
            "append",
            "begin",
            "cancel",
            "create",
            "delete",
            "delete_message",
            "erase",
            "export",
            "finish",
            "fork",
            "get",
        ),
        *("heartbeat", "list", "load", "page", "rewind", "run", "status", "summarise", "update", "users"),
    }
)
"""What enough histories ask of the stores ..."""
ERRORS = frozenset(
    {
        *("ConversationBusy", "InvalidInput", "KeyReused", "NotFound", "QuotaExceeded", "RateLimited"),
        *("RoleOrderError", "RunSuperseded", "SeqMismatch", "UnansweredCalls", "VersionMismatch"),
    }
)
"""... which errors they meet ..."""
EVENTS = frozenset(
    {
        *("append replayed", "begin replayed", "finish replayed", "new attempt", "run taken over", "stand-in result"),
        *(
            "message deleted",
            "message rewound",
            "taken external key",
            "told who may speak",
            "window cut",
            "window summarised",
        ),
    }
)
"""... and what happens in them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The numbers that a step chooses by, drawn as one: what is drawn costs more than what is done with it."""

    which: int
    dice: int
    salt: int

    @property
    def back(self) -> int:
        """How far before the head a cut is; -1 is beyond it."""
        return self.salt % 12 - 1

    @property
    def on_busy(self) -> OnBusy:
        return "interrupt" if self.salt % 3 == 0 else "reject"

    @property
    def ending(self) -> Ending:
        return (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)[self.dice % 3]


def _chosen(n: int) -> Choice:
    """Scattered, because Hypothesis likes small numbers, and 0 for 0, because it shrinks to it."""
    scattered = n * 0x9E3779B1 % 2**32
    return Choice(scattered % 100, scattered // 100 % 20, scattered // 2000 % 100)


_choices = st.integers(0, 2**16 - 1).map(_chosen)
_policies = st.sampled_from([RolePolicy.STRICT, RolePolicy.LENIENT, RolePolicy.OPEN])
_starts = st.sampled_from([(), ("user: a",), ("system: s",), ("system: s", "user: a"), ("assistant: b",)])
_windows = st.sampled_from(
    [
        Window(),
        Window(max_messages=None, system_prompt="Be another."),
        *(Window(max_messages=limit) for limit in range(1, 13)),
        *(Window(max_messages=None, max_tokens=limit) for limit in (1, 5, 10, 20, 30, 45, 60, 80, 100, 140)),
        *(Window(max_messages=limit, max_tokens=10 * limit) for limit in range(1, 9)),
    ]
)


class StoreMachine(RuleBasedStateMachine):
    """One history. Few rules, each with several verbs: Hypothesis leaves rules out, and most histories need most."""

    def __init__(self, twins: Twins) -> None:
        super().__init__()
        self.history = History(twins)

    @initialize(policies=st.tuples(_policies, _policies), choice=_choices, lines=_starts)
    def begin_with_two_conversations(
        self, policies: tuple[RolePolicy, RolePolicy], choice: Choice, lines: tuple[str, ...]
    ) -> None:
        for at, policy in enumerate(policies):
            self.history.create(choice.which + at, policy, lines)

    @rule(by=_choices)
    def say(self, by: Choice) -> None:
        self.history.append(by.which, by.dice, by.salt, in_run=False)

    @rule(by=_choices, message=strategies.messages())
    def say_anything(self, by: Choice, message: NewMessage) -> None:
        self.history.append_this(by.which, message)

    @rule(by=_choices, window=_windows)
    def begin(self, by: Choice, window: Window) -> None:
        self.history.begin(by.which, by.dice, by.salt, by.on_busy, window)

    @rule(by=_choices)
    def say_in_a_run(self, by: Choice) -> None:
        self.history.append(by.which, by.dice, by.salt, in_run=True)

    @rule(verb=st.sampled_from(["finish", "finish", "finish", "finish", "heartbeat", "cancel", "expire"]), by=_choices)
    def go_on_with_a_run(self, verb: str, by: Choice) -> None:
        match verb:
            case "finish":
                self.history.finish(by.which, by.dice, by.salt, by.ending)
            case "heartbeat":
                self.history.heartbeat(by.which, by.salt)
            case "cancel":
                self.history.cancel(by.which // 25)
            case _:
                self.history.expire(by.which)

    @rule(verb=st.sampled_from(["append", "begin", "begin", "begin", "finish", "finish", "create"]), by=_choices)
    def repeat(self, verb: str, by: Choice) -> None:
        match verb:
            case "append":
                self.history.append_again(by.which // 25, by.dice)
            case "begin":
                self.history.begin_again(by.which // 25, by.dice, by.on_busy)
            case "finish":
                self.history.finish_again(by.which // 50)
            case _:
                self.history.create_again(by.which, by.dice)

    @rule(verb=st.sampled_from(["delete_message", "rewind", "fork", "summarise"]), by=_choices)
    def cut(self, verb: str, by: Choice) -> None:
        match verb:
            case "delete_message":
                self.history.delete_message(by.which, by.back)
            case "rewind":
                self.history.rewind(by.which, by.dice, by.back)
            case "fork":
                self.history.fork(by.which, by.dice, by.back)
            case _:
                self.history.summarise(by.which, by.dice, by.back)

    @rule(by=_choices, window=_windows)
    def see(self, by: Choice, window: Window) -> None:
        self.history.load(by.which, window)

    @rule(verb=st.sampled_from(["run", "get", "status", "status", "page", "list", "export", "users"]), by=_choices)
    def read(self, verb: str, by: Choice) -> None:
        limit = 1 + by.salt % 5
        match verb:
            case "run":
                self.history.run(by.which // 25)
            case "get":
                self.history.get(by.which)
            case "status":
                self.history.status(by.which, by.salt)
            case "page":
                self.history.page(by.which, by.dice, limit)
            case "list":
                self.history.list(by.which, by.dice, limit)
            case "export":
                self.history.export(by.which, limit)
            case _:
                self.history.list_users(limit)

    @rule(
        verb=st.sampled_from(["create", "create", "describe", "describe", "delete", "erase"]),
        by=_choices,
        policy=_policies,
        lines=_starts,
    )
    def keep_house(self, verb: str, by: Choice, policy: RolePolicy, lines: tuple[str, ...]) -> None:
        match verb:
            case "create":
                self.history.create(by.which, policy, lines, (None, None, "channel-1")[by.dice % 3])
            case "describe":
                title = (UNSET, None, "New")[by.dice % 3]
                self.history.update(by.which, by.dice, title, {"n": by.salt} if by.salt % 2 else None)
            case "delete":
                self.history.delete(by.which, by.dice, hard=by.salt % 2 == 0)
            case _:
                self.history.erase(by.which)

    def teardown(self) -> None:
        if not self.history.twins.differed:
            self.history.end()


def run_histories(twins: Twins, *, examples: int, steps: int = 50) -> None:
    """Run so many histories of so many steps. Raises ``Difference`` with the shortest one found that shows it."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )

    def machine() -> StoreMachine:
        return StoreMachine(twins)

    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[arg-type]
