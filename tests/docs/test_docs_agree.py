"""The docs and the code name the same things and the same numbers."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from typer.main import get_group

from support.metrics import registered, registered_by_the_operator
from weir_cli.app import app
from weir_cli.sim import control
from weir_cli.sim.faults import HELP
from weir_cli.sim.models import DEFAULT_ANSWER_TOKENS, DEFAULT_CONTEXT_TOKENS, SimModel
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.kinds.routingpolicy.schema import (
    DEFAULT_ATTEMPTS,
    DEFAULT_DEADLINE,
    DEFAULT_MIN_CONFIDENCE,
    MAX_REQUEST_BYTES,
)
from weir_operator.observe.manifests import load
from weir_operator.problems.problem import Reason
from weir_router import errors
from weir_router.admit import ledger_local, memory, queue, retry_budget, turns
from weir_router.call import clocks
from weir_router.call.transport import http1, pool
from weir_router.contract import MAX_BODY_BYTES
from weir_router.decide import rank
from weir_router.dialects.anthropic.write import DEFAULT_MAX_TOKENS
from weir_router.dialects.neutral.efforts import EFFORT_BUDGETS
from weir_router.dialects.registry import RECORDS
from weir_router.estimate import features, tokens, weights
from weir_router.health import breaker, guard, latency, objectives, refusals, settings, window
from weir_router.record import names as label_names
from weir_router.record import series
from weir_router.serve import answers
from weir_router.serve.counting import ESTIMATED

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])


def page(name):
    return (DOCS / f"{name}.md").read_text()


def section(name, heading):
    return page(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text):
    """Cells of a page's tables, without rules."""
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("| ")]
    return [re.split(r" ?\| ?", line) for line in lines]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_operator_s_page_has_every_metric_of_its_own_with_its_labels():
    told = {
        name: set(filter(None, labels.split(", ")))
        for first, labels, *_ in rows(section("operator", "Metrics"))
        for name in names(first)
    }
    assert told == registered_by_the_operator()


@pytest.mark.parametrize(("part", "verbs"), [("", "list, watch"), ("/status", "patch")])
def test_the_operator_s_rights_name_every_kind(part, verbs):
    granted = {
        name for _, what, given, *_ in rows(section("operator", "Rights")) if given == verbs for name in names(what)
    }
    assert {f"{kind.plural}{part}" for kind in KINDS} <= granted


def test_the_page_of_metrics_has_every_metric_with_its_labels():
    told = {
        name: set(filter(None, labels.split(", ")))
        for first, labels, *_ in rows(section("observability", "Metrics"))
        for name in names(first)
    }
    assert told == registered()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_names_a_metric_or_label_that_is_not_there(path):
    known = registered() | registered_by_the_operator()
    for name, labels in re.findall(r"`(weir_[a-z_]+)(?:\{([^}]*)\})?", path.read_text()):
        if name in ("weir_router", "weir_operator", "weir_cli"):
            continue
        assert name in known, name
        told = {label.partition("=")[0].strip() for label in labels.split(",")} - {"", "..."}
        assert told <= known[name], name


CHART = ROOT / "helm" / "weir"
SCRAPER_S = {"pod", "namespace", "exported_namespace", "container"}
"""Labels that Prometheus adds; it renames our label namespace to exported_namespace."""


def test_the_dashboard_asks_for_metrics_that_are_there():
    """`tests/kube/test_alerts.py` asks the same of the alerts, as Helm renders them."""
    known = registered() | registered_by_the_operator()
    text = (CHART / "files" / "dashboards" / "weir.json").read_text().replace("\\", "")
    asked = re.findall(r"(weir_[a-z_]+)(?:\{([^}]*)\})?", text)
    assert asked
    for name, matchers in asked:
        metric = name.removesuffix("_bucket")
        assert metric in known, name
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) <= known[metric] | SCRAPER_S, name


def test_the_page_of_alerts_has_every_alert_with_how_bad_it_is():
    template = (CHART / "templates" / "monitoring" / "prometheusrule.yaml").read_text()
    alerts = dict(re.findall(r"- alert: (\w+)\n.*?labels: \{\{- \$(\w+) \}\}", template, re.DOTALL))
    told = {names(cells[0])[0]: cells[1] for cells in rows(section("observability", "Alerts")) if names(cells[0])}
    assert told == alerts


def every(kind):
    return {kind, *(each for child in kind.__subclasses__() for each in every(child))}


def test_every_error_is_told_with_its_status():
    told = {name: cells[1] for cells in rows(page("failover")) for name in names(cells[0])}
    for error in every(errors.WeirError) - {errors.UpstreamRefused}:
        assert told[error.code] in (str(error.status), "in the stream")


def test_every_kind_of_failure_is_told():
    told = {name for cells in rows(page("failover")) for name in names(cells[0])}
    assert told >= set(errors.FailureKind)


def test_every_outcome_and_breaker_state_is_told():
    assert {f"`{name}`" for name in ("ok", "refused", "limited", "error", "broken", "cancelled")} <= set(
        re.findall(r"`\w+`", section("failover", "Metrics"))
    )
    assert all(f"`{state}`" in page("circuit-breaker") for state in breaker.State)


def test_every_header_of_an_answer_is_told_and_no_other():
    lines = answers.route_lines({"x-weir-request-id": "1", answers.REASON: "x"}, ("p", "r", "t", "b", "Simple", 1))
    sent = {line.partition(b":")[0].decode() for line in lines.splitlines()}
    sent |= {
        ESTIMATED,
        "x-weir-dropped",
        "x-weir-error-source",
        "x-should-retry",
        *(record.request_id for record in RECORDS),
    }
    assert set(names(section("observability", "Answer headers"))) - {"request_id"} == sent


def percent(share):
    return f"{share:.0%}".replace("%", " %")


KNOBS = [
    ("failover", "`RoutingPolicy.spec.failover.attempts`", f"{DEFAULT_ATTEMPTS}, "),
    ("failover", "`RoutingPolicy.spec.failover.deadline`", DEFAULT_DEADLINE),
    ("failover", "`timeouts.connect`", f"{clocks.CONNECT_TIMEOUT:g}s"),
    ("failover", "`timeouts.idle`", f"{clocks.IDLE_TIMEOUT:g}s "),
    (
        "failover",
        "a request is sent again on a fresh connection",
        f"where the one at hand was idle for {http1.IDLE_CLOSED:g} s or more, "
        f"and breaks within {http1.STALE_WITHIN:g} s",
    ),
    ("failover", "a connection's age", f"{pool.MAX_AGE:g} s"),
    ("failover", "`timeouts.total`", f"{clocks.TOTAL_TIMEOUT:g}s"),
    (
        "failover",
        "`failover.retryBudget`",
        f"{percent(retry_budget.PER_REQUEST)} of requests + {retry_budget.PER_SECOND:g}/s, cap {retry_budget.CAP:g};",
    ),
    ("circuit-breaker", "`breaker.consecutiveFailures`", f"{settings.CONSECUTIVE}"),
    ("circuit-breaker", "within attempts", f"×{breaker.STREAK_SPAN} of it"),
    ("circuit-breaker", "`breaker.failurePercent`", percent(settings.RATIO)),
    ("circuit-breaker", "`breaker.minimumRequests`", f"{settings.RATIO_MINIMUM}"),
    ("circuit-breaker", "429s in a row, without anything served for", f"{refusals.ROW}, {refusals.REFUSING:g} s"),
    ("circuit-breaker", "window", f"ten buckets of {window.BUCKET_SECONDS:g} s"),
    ("circuit-breaker", "slow: objective, median", f"×{latency.SLOW_OBJECTIVE:g}, ×{latency.SLOW_MEDIAN:g}"),
    ("circuit-breaker", "slow: floor against a median", f"{latency.SLOW_FLOOR:g} s"),
    ("circuit-breaker", "slow: without samples", f"half of the deadline, at least {latency.SLOW_COLD:g} s"),
    ("circuit-breaker", "samples: tier, own", f"{latency.POOL_SAMPLES}, {latency.OWN_SAMPLES}"),
    (
        "circuit-breaker",
        "crawl",
        f"{percent(guard.CRAWL_SHARE)} of the tier's median tokens/s over ≥ {guard.CRAWL_SECONDS:g} s",
    ),
    (
        "circuit-breaker",
        "`breaker.openFor`, `breaker.maxOpenFor`",
        f"{settings.OPEN_FIRST:g} s, ×2, {settings.OPEN_LAST:g} s, ±{percent(breaker.OPEN_JITTER)}",
    ),
    ("circuit-breaker", "`breaker.maxRetryAfter`", f"{settings.RETRY_AFTER_CAP:g} s"),
    ("circuit-breaker", "`breaker.probes`", f"{settings.PROBES_TO_CLOSE} completed"),
    ("circuit-breaker", "probe's slot", f"{breaker.PROBE_DEADLINE:g} s"),
    ("circuit-breaker", "ejection", f"{breaker.EJECT_SECONDS:g} s"),
    (
        "circuit-breaker",
        "`breaker.slowStart`",
        f"from a {'fifth' if breaker.SLOW_START_SHARE == 0.2 else '?'}, over {settings.SLOW_START:g} s",
    ),
    ("limits", "`weir router --max-in-flight`, `WEIR_MAX_IN_FLIGHT`", f"{queue.MAX_IN_FLIGHT}"),
    ("limits", "callers counted at once, per namespace", f"{ledger_local.MAX_CALLERS}"),
    ("limits", "bytes counted per byte of a body", f"{memory.PER_BYTE}"),
    ("limits", "`RoutingPolicy.spec.queue.wait`", f"{queue.WAIT:g}s"),
    ("limits", "requests in the queue", f"{queue.QUEUE_SIZE}"),
    ("limits", "bytes in the queue", f"{queue.QUEUE_BYTES >> 20} MiB"),
    ("limits", "bytes of a namespace's turn", f"{turns.QUANTUM >> 10} KiB"),
    ("limits", "places that a namespace may have", f"{queue.SHARE} for each free one"),
    ("load-balancing", "expected output", f"{rank.EXPECTED_OUTPUT} tokens"),
    ("load-balancing", "average forgets over", f"{latency.DECAY:g} s"),
    ("load-balancing", "a failure's worth", f"{latency.FAILURE_COST:g} s"),
    ("load-balancing", "silent after", f"{'half' if latency.QUIET == 0.5 else '?'} of the time of *slow*"),
    (
        "load-balancing",
        "objectives: band, samples, trial",
        f"{percent(objectives.MARGIN - 1)}, {objectives.SAMPLES}, after {objectives.TRIAL_AFTER:g} s",
    ),
    ("classification", "`RoutingPolicy.spec.classifier.minConfidence`", f'`"{DEFAULT_MIN_CONFIDENCE}"`'),
    ("classification", "`features.HEAD`, `TAIL`", f"{features.HEAD:,} and {features.TAIL} characters"),
    ("classification", "`features.EARLIER`", f"{features.EARLIER} characters"),
    (
        "classification",
        "`weights.MODERATE_FROM`, `COMPLEX_FROM`",
        f"{weights.MODERATE_FROM} and {weights.COMPLEX_FROM}",
    ),
    ("classification", "`weights.TEMPERATURE`", f"{weights.TEMPERATURE}"),
    (
        "classification",
        "`tokens.IMAGE_TOKENS`, `DOCUMENT_TOKENS`, `TOOL_TOKENS`",
        f"{tokens.IMAGE_TOKENS}, {tokens.DOCUMENT_TOKENS:,}, {tokens.TOOL_TOKENS}",
    ),
    ("simulator", "`answer_tokens`", f"{DEFAULT_ANSWER_TOKENS}"),
    ("simulator", "`context_tokens`", f"{DEFAULT_CONTEXT_TOKENS}"),
    *(("translation", f"`{name}`", f"{budget:,}") for name, budget in EFFORT_BUDGETS.items()),
]


@pytest.mark.parametrize(("name", "knob", "value"), KNOBS, ids=lambda text: text.strip("`"))
def test_a_knob_s_default_is_what_its_page_says(name, knob, value):
    told = [cells[1] for cells in rows(page(name)) if cells[0] == knob]
    assert any(cell.startswith(value) for cell in told), told


SENTENCES = [
    ("circuit-breaker", f"at least {latency.DEADLINE_FLOOR:g} s, with {latency.POOL_SAMPLES} samples or more"),
    ("circuit-breaker", "three times the p95" if latency.DEADLINE_P95 == 3 else "?"),
    ("circuit-breaker", "five times the TTFT objective" if latency.DEADLINE_OBJECTIVE == 5 else "?"),
    (
        "circuit-breaker",
        f"else {latency.DEADLINE_COLD:g} s, or the cap for prompts over {latency.COLD_LONG_PROMPT:,} tokens",
    ),
    ("circuit-breaker", f"the cap: {latency.DEADLINE_CAP:g} s, or {latency.DEADLINE_CAP_REASONING:g} s where"),
    ("circuit-breaker", f"up to {', '.join(f'{bound:,}' for bound in latency.SIZE_BOUNDS)} tokens, and more"),
    ("circuit-breaker", f"the last {latency.RECENT_SAMPLES} of the last {latency.RECENT_SECONDS / 60:g} min"),
    (
        "circuit-breaker",
        "*half bad of at least ten within 10 s**" if window.BUCKETS == settings.RATIO_MINIMUM == 10 else "?",
    ),
    ("failover", f"(at most {percent(breaker.HEALTHY_BAD)} bad in its breaker's window)"),
    ("failover", f"`Retry-After` of at most {errors.MAX_RETRY_AFTER:g} s"),
    ("failover", f"(default {MAX_BODY_BYTES >> 20} MiB)"),
    ("limits", f"{MAX_BODY_BYTES >> 20} MiB, at most {MAX_REQUEST_BYTES >> 20} MiB"),
    (
        "limits",
        "ten seconds' worth, or ten requests" if ledger_local.BURST_SECONDS == ledger_local.BURST_FLOOR == 10 else "?",
    ),
    ("observability", f"after {label_names.MAX_FEATURES}\ndifferent ones of a namespace the rest count as `other`"),
    ("observability", f"({label_names.MAX_CODES} for the policies of a\nnamespace)"),
    (
        "observability",
        f"more than {series.MAX_CHILDREN:,} sets of labels, and {series.MAX_OF_NAMESPACE:,} of one namespace",
    ),
    ("translation", f"{DEFAULT_MAX_TOKENS} (`DEFAULT_MAX_TOKENS`)"),
]


@pytest.mark.parametrize(("name", "sentence"), SENTENCES)
def test_a_number_in_a_sentence_is_the_code_s(name, sentence):
    assert sentence in page(name)


def test_the_simulator_s_page_has_every_field_fault_and_endpoint():
    first = [cells[0] for cells in rows(page("simulator"))]
    told = {name for cell in first for name in names(cell)}
    assert told >= set(SimModel.__struct_fields__)
    assert [cells for cells in rows(section("simulator", "Faults")) if cells[0].strip("`") in HELP] == [
        [f"`{kind}`", text] for kind, text in HELP.items()
    ]
    endpoints = re.findall(r"^    (\w+) +(/_sim\S+)", control.__doc__, re.MULTILINE)
    assert told >= {f"{method} {path}" for method, path in endpoints}


def commands():
    return set(get_group(app).commands)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_names_a_command_that_is_not_there(path):
    known = commands()
    for command in re.findall(r"(?:^    |`|^)weir ([a-z][a-z-]*)", path.read_text(), re.MULTILINE):
        assert command in known


def test_the_readme_s_table_has_every_command():
    table = "\n".join(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `"))
    for command in commands():
        assert re.search(rf"`(?:weir |kubectl weir )?{command}(?![\w-])", table), command


def links(path):
    found = re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", path.read_text())
    return {(path.parent / target).resolve() for target in found}


def test_every_page_is_reached_from_the_readme_and_those_for_users_directly():
    start = links(ROOT / "README.md")
    assert start >= {*DOCS.glob("*.md"), *(DOCS / "reference").glob("*.md")}
    reached, new = set(), start
    while new:
        reached |= new
        new = {target for page in new for target in links(page)} - reached
    assert reached >= set(DOCS.rglob("*.md"))


@pytest.mark.parametrize("path", sorted({*PAGES, *ROOT.glob("*.md")}), ids=lambda path: path.name)
def test_every_anchor_of_a_link_is_a_heading_of_its_page(path):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text()):
        page = (path.parent / target).read_text() if target else path.read_text()
        headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", it.lower()).replace(" ", "-") for it in headings}, f"{target}#{anchor}"


def manifests():
    """Manifests of all pages: in a fence, or in an indented block."""
    blocks = []
    for path in PAGES:
        text = path.read_text()
        blocks += re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        blocks += [dedent(block) for block in re.findall(r"^    apiVersion:.*\n(?:    .*\n)*", text, re.MULTILINE)]
    return [block for block in blocks if block.startswith("apiVersion")]


@pytest.mark.parametrize("text", manifests(), ids=lambda text: re.search("kind: (\\w+)", text)[1])
def test_manifests_in_the_docs_have_no_mistakes(tmp_path, text):
    (tmp_path / "page.yaml").write_text(text)
    loaded = load(
        tmp_path, KINDS, environ={"OPENAI_API_KEY": "sk-test", "WEIR_SECRET_TEAM_A_OPENAI_API_KEY": "sk-test"}
    )
    compiled = compile_config(loaded.observed, KINDS, catalogue=Catalogue.load(), revision=1, now=1_800_000_000.0)
    assert not loaded.problems
    assert {problem.reason for problem in compiled.problems} <= {
        Reason.TIER_NOT_FOUND_OR_NOT_GRANTED,  # not on the page
        Reason.PRICE_UNKNOWN,
    }
    assert compiled.config.policies[0].not_ready is None
