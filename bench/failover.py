"""`make failover`: one primary and one backup behind a router, and a provider that misbehaves in sixteen ways.

The scenarios and verdicts follow the public benchmark failoverbench 0.1.0 (its catalogue and methodology, profile
full): what it calls S01 to S16. It is in no package index, so this is our own reading of them on our own simulator,
and no result of the benchmark itself. The verdicts:

- pass: the caller got the whole answer (S13: a clean error), and every check holds;
- partial: the same, but an advisory check does not hold;
- safe: no answer, but a clean error in time, and every other check holds;
- FAIL: a check does not hold, no end in time, or a part of the answer as if it were the whole.

Every scenario has a primary of its own and all run at the same time on one router. The exit code is 1 if one failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import aiohttp
import msgspec
import typer

from weir_cli.shared.workspace import open_workspace
from weir_cli.sim import SimModel, Simulator
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.app import Router
from weir_router.record.log import outputs

ANSWER = " ".join(f"word{number}" for number in range(60))
"""The answer of every healthy model: sixty words, as in the benchmark."""

PACE = 1 / 0.015
"""Words per second: one every 15 ms, as in the benchmark."""

TIER_DELAY = "3s"
"""`failover.tierDelay` of every policy: a Retry-After of 2 s is waited for at the primary."""

ALIVE_WITHIN = 10.0
"""Seconds for a healthy request after a scenario, as in the benchmark."""


class Outcome(msgspec.Struct):
    """One call, as its caller and its provider saw it."""

    text: str = ""
    ended: bool = False  # like a success
    error: str | None = None
    hung: bool = False
    seconds: float = 0.0
    model: str | None = None
    usage: bool = False
    primary: list[float] = []  # seconds from the start of the call to each attempt there
    backup: int = 0
    prefilled: bool = False  # the backup got the beginning of the answer as a prefill
    alive: bool = True  # a healthy request after it was answered

    @property
    def whole(self) -> bool:
        """Whether the caller has the whole answer."""
        return self.ended and self.text.split() == ANSWER.split()


class Check(NamedTuple):
    """A statement about an outcome; an advisory one only makes the verdict partial."""

    name: str
    holds: Callable[[Outcome], bool]
    advisory: bool = False


def at_most(attempts: int) -> Check:
    """The primary gets at most so many attempts."""
    return Check(f"at most {attempts} attempts", lambda it: len(it.primary) <= attempts)


def calm(attempts: int, seconds: float) -> Check:
    """The primary gets at most so many attempts within so many seconds of the first."""
    return Check(
        f"at most {attempts} attempts in {seconds} s",
        lambda it: sum(at - it.primary[0] <= seconds for at in it.primary) <= attempts,
    )


def within(seconds: float, *, advisory: bool = False) -> Check:
    """The call ends in so many seconds."""
    return Check(f"ends within {seconds:g} s", lambda it: it.seconds <= seconds, advisory)


AGAIN = Check("asks the primary again", lambda it: len(it.primary) >= 2, advisory=True)
WAITS = Check("keeps the Retry-After", lambda it: len(it.primary) > 1 and it.primary[1] - it.primary[0] >= 1.8, True)
ONCE = Check("asks the same model once", lambda it: len(it.primary) == 1)
ALIVE = Check("answers afterwards", lambda it: it.alive)
USAGE = Check("reports usage", lambda it: it.usage, advisory=True)
HONEST = Check("names the backup", lambda it: it.model == "backup")
UNFILLED = Check("sends no prefill", lambda it: not it.prefilled)


class Scenario(NamedTuple):
    """A fault of the primary, and what must hold."""

    id: str
    title: str
    fault: Fault
    longest: float  # seconds after which the call has hung
    checks: tuple[Check, ...] = ()
    wants_error: bool = False


SCENARIOS = (
    Scenario(
        "S01", "429 with Retry-After 2", Fault(FaultKind.RATE_LIMIT, retry_after=2, count=1), 20,
        (AGAIN, WAITS, calm(2, 1.5)),
    ),
    Scenario("S02", "429 for ever", Fault(FaultKind.RATE_LIMIT), 40, (calm(4, 3.0), at_most(6))),
    Scenario("S03", "one 500", Fault(FaultKind.SERVER_ERROR, count=1), 20, (AGAIN,)),
    Scenario("S04", "503 for ever", Fault(FaultKind.UNAVAILABLE), 40, (at_most(6),)),
    Scenario("S05", "reset before headers", Fault(FaultKind.REFUSE, count=1), 20),
    Scenario(
        "S06", "never answers", Fault(FaultKind.SILENCE), 130,
        (within(100), Check("one silence is enough", lambda it: len(it.primary) <= 1, advisory=True)),
    ),
    Scenario(
        "S07", "first token after 20 s", Fault(FaultKind.SLOW_FIRST_TOKEN, seconds=20), 60,
        (within(15, advisory=True),),
    ),
    Scenario("S08", "cut after 40 words", Fault(FaultKind.CUT, after=40), 40),
    Scenario("S09", "stalls after 20 words", Fault(FaultKind.STALL, after=20), 70, (within(45), ALIVE)),
    Scenario("S10", "a broken event", Fault(FaultKind.MALFORMED, after=10), 30, (ALIVE,)),
    Scenario("S11", "no [DONE]", Fault(FaultKind.NO_DONE), 30, (within(8), USAGE)),
    Scenario("S12", "context length", Fault(FaultKind.CONTEXT_LENGTH), 20, (ONCE,)),
    Scenario("S13", "content filter", Fault(FaultKind.CONTENT_FILTER), 20, (ONCE,), wants_error=True),
    Scenario("S14", "cut; backup without prefill", Fault(FaultKind.CUT, after=40), 40, (UNFILLED,)),
    Scenario("S16", "accounting", Fault(FaultKind.UNAVAILABLE), 40, (HONEST, USAGE, at_most(6))),
)  # fmt: skip
"""All but the sequence, S15."""


class Sequence(NamedTuple):
    """S15: the primary is down, then healthy; requests come all the time."""

    down: float = 60.0
    requests: int = 20
    every: float = 4.0
    longest: float = 30.0
    back_within: float = 30.0


def verdict(scenario: Scenario, outcome: Outcome) -> tuple[str, list[str]]:
    """The verdict, and the checks that do not hold."""
    failed = [it for it in scenario.checks if not it.holds(outcome)]
    names = [it.name for it in failed]
    if outcome.hung or (outcome.ended and not outcome.whole):
        return "FAIL", ["hangs" if outcome.hung else "a part as the whole", *names]
    if any(not it.advisory for it in failed):
        return "FAIL", names
    if scenario.wants_error == (outcome.error is not None):
        return ("partial" if failed else "pass"), names
    return ("partial" if scenario.wants_error else "safe"), names


class Wall:
    """The simulator, the router before it, and one session of a caller."""

    def __init__(self, sim: Simulator, url: str, session: aiohttp.ClientSession) -> None:
        self._sim = sim
        self._url = url
        self._session = session

    async def play(self, scenario: Scenario) -> Outcome:
        """Switches the fault on, and asks once."""
        self._sim.fault(scenario.id, scenario.fault)
        outcome = await self.call(scenario.id, scenario.longest)
        if ALIVE in scenario.checks:
            outcome.alive = (await self.call("healthy", ALIVE_WITHIN)).whole
        return outcome

    async def sequence(self, asked: Sequence) -> list[str]:
        """Plays S15; returns what was wrong."""
        self._sim.fault("S15", Fault(FaultKind.UNAVAILABLE, lasts=asked.down))
        started = time.monotonic()
        wrong: list[str] = []
        back: float | None = None
        for number in range(asked.requests):
            await asyncio.sleep(max(0.0, started + number * asked.every - time.monotonic()))
            at = time.monotonic() - started
            outcome = await self.call("S15", asked.longest)
            if not outcome.whole:
                wrong.append(f"no answer at {at:.0f} s: {outcome.error or 'hangs'}")
            elif at >= asked.down and outcome.model == "S15" and back is None:
                back = at - asked.down
        if back is None or back > asked.back_within:
            wrong.append(f"the primary is used again after {back and round(back)} s")
        return wrong

    async def call(self, model: str, longest: float) -> Outcome:
        """One streamed request, as the benchmark's adapter for endpoints sends it."""
        outcome = Outcome(primary=[])
        started = time.monotonic()
        before = self._sim.stats["backup"].requests
        watch = asyncio.create_task(self._attempts(model, started, outcome.primary))
        try:
            async with asyncio.timeout(longest):
                await self._read(model, outcome)
        except TimeoutError:
            outcome.hung = True
        except aiohttp.ClientError as error:
            outcome.error = f"{type(error).__name__}: {error}"
        finally:
            watch.cancel()
        outcome.seconds = time.monotonic() - started
        outcome.backup = self._sim.stats["backup"].requests - before
        outcome.prefilled = any(it.json()["messages"][-1]["role"] == "assistant" for it in self._sim.requests("backup"))
        return outcome

    async def _attempts(self, model: str, started: float, seen: list[float]) -> None:
        if model not in self._sim.stats:
            return
        before = self._sim.stats[model].requests

        def more() -> int:
            return self._sim.stats[model].requests - before - len(seen)

        while True:
            await self._sim.until(lambda: more() > 0, timeout=float("inf"))
            seen += [time.monotonic() - started] * more()

    async def _read(self, model: str, outcome: Outcome) -> None:
        messages = [{"role": "user", "content": "Why does a gateway earn trust?"}]
        body = {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        async with self._session.post(f"{self._url}/v1/chat/completions", json=body) as answer:
            if answer.status != 200:
                outcome.error = f"{answer.status} {(await answer.text())[:200]}"
                return
            async for line in answer.content:
                if line.startswith(b"data: [DONE]"):
                    outcome.ended = outcome.error is None
                elif line.startswith(b"data: "):
                    self._take(json.loads(line[6:]), outcome)
            if not outcome.ended and outcome.error is None:
                outcome.error = "the stream ends without [DONE]"

    @staticmethod
    def _take(event: dict[str, Any], outcome: Outcome) -> None:
        if "error" in event:
            outcome.error = f"event: {str(event['error'])[:200]}"
        outcome.model = event.get("model", outcome.model)
        outcome.usage = outcome.usage or bool(event.get("usage"))
        for choice in event.get("choices", ()):
            outcome.text += choice["delta"].get("content") or ""


def manifests(url: str) -> list[dict[str, Any]]:
    """A tier and a policy per scenario, with the backup behind each."""
    names = [*(it.id for it in SCENARIOS), "S15"]
    objects = [_tier(name, url) for name in (*names, "backup")]
    objects += [_policy(name, [name.lower(), "backup"]) for name in names]
    return [*objects, _policy("healthy", ["backup"])]


def _tier(name: str, url: str) -> dict[str, Any]:
    backend = {"name": name.lower(), "provider": "OpenAI", "baseURL": f"{url}/v1", "model": name}
    backend |= {
        "price": {"input": "1", "output": "1"},
        "limits": {"contextTokens": 200_000 if name == "backup" else 8_000},
    }
    return _object("ModelTier", name, {"backends": [backend]})


def _policy(name: str, tiers: list[str]) -> dict[str, Any]:
    route = {"name": "all", "tiers": [{"name": it} for it in tiers]}
    spec = {"models": [{"name": name}], "routes": [route], "failover": {"tierDelay": TIER_DELAY}}
    return _object("RoutingPolicy", name, spec)


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": {"name": name.lower()}, "spec": spec}


@contextlib.asynccontextmanager
async def wall() -> Any:
    """A fresh `Wall`, with healthy models."""
    names = [*(it.id for it in SCENARIOS), "S15", "backup"]
    models = [SimModel(name, answer=ANSWER, tokens_per_second=PACE) for name in names]
    async with (
        Simulator(models) as sim,
        Router(port=0, admin_port=0, grace=1.0) as router,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
    ):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "all.yaml"
            file.write_text("\n---\n".join(json.dumps(it) for it in manifests(sim.url)))
            workspace = open_workspace(file, environ={})
        if workspace.errors:
            raise SystemExit(str(workspace.errors))
        config = msgspec.structs.replace(workspace.config, anonymous_namespace="default")
        router.store.apply(config, workspace.secrets)
        yield Wall(sim, router.url, session)


async def run(sequence: Sequence) -> dict[str, tuple[str, list[str]]]:
    """Verdicts of one run of all scenarios, by their ids."""
    async with wall() as made:
        played = [asyncio.create_task(made.play(it)) for it in SCENARIOS]
        flapping = await made.sequence(sequence)
        outcomes = await asyncio.gather(*played)
    found = {it.id: verdict(it, outcome) for it, outcome in zip(SCENARIOS, outcomes, strict=True)}
    found["S15"] = ("FAIL" if flapping else "pass", flapping)
    return dict(sorted(found.items()))


def main(
    runs: Annotated[int, typer.Option(min=1, max=100, help="Runs of all scenarios.")] = 20,
    jobs: Annotated[int, typer.Option(min=1, max=20, help="Runs at a time.")] = 5,
) -> None:
    """Plays the scenarios, and prints verdicts with the checks that did not hold, and how often."""
    outputs.clear()

    async def everything() -> list[dict[str, tuple[str, list[str]]]]:
        places = asyncio.Semaphore(jobs)

        async def one() -> dict[str, tuple[str, list[str]]]:
            async with places:
                return await run(Sequence())

        return await asyncio.gather(*(one() for _ in range(runs)))

    results = asyncio.run(everything())
    titles = {it.id: it.title for it in SCENARIOS} | {"S15": "down for 60 s, then healthy"}
    for id in results[0]:
        verdicts = Counter(it[id][0] for it in results)
        reasons = Counter(reason for it in results for reason in it[id][1])
        said = ", ".join(f"{name} {count}" for name, count in verdicts.most_common())
        print(f"{id}  {titles[id]:28} {said:24} {'; '.join(f'not: {it} ({n})' for it, n in reasons.items())}")
    raise SystemExit(any(it[id][0] == "FAIL" for it in results for id in it))


if __name__ == "__main__":
    typer.run(main)
