"""The fate of each field of a request in a format: kept, dropped or refused.

A writer has one table with a row for every `Field`; a test asks for the rows, and whether they are true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, StrEnum
from typing import Protocol

import msgspec

from weir_router.errors import BadRequest


class Field(StrEnum):
    """Field of a request in the neutral form."""

    INSTRUCTIONS = "instructions"
    IMAGES = "images"
    DOCUMENTS = "documents"
    THOUGHT = "thought"  # of earlier answers
    CALLS = "calls"
    RESULTS = "results"
    TOOLS = "tools"
    HOSTED_TOOLS = "hosted_tools"  # that run at the provider, offered beside the caller's own
    CUSTOM_TOOLS = "custom_tools"  # whose input is text and not JSON
    GRAMMAR = "grammar"  # of a custom tool's input
    CHOICE = "choice"
    PARALLEL = "parallel"
    SHAPE = "shape"
    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    STOPS = "stops"
    MAX_OUTPUT = "max_output"
    EFFORT = "effort"
    USER = "user"
    TIER = "tier"
    # Fields that the neutral form only names: see `conversation.Extra`.
    ANSWERS = "answers"  # several answers to one request
    LOGPROBS = "logprobs"
    TOP_LOGPROBS = "top_logprobs"
    SPEECH = "speech"
    MODALITIES = "modalities"
    WEB_SEARCH = "web_search"
    MODERATION = "moderation"
    SEED = "seed"
    LOGIT_BIAS = "logit_bias"
    FREQUENCY_PENALTY = "frequency_penalty"
    PRESENCE_PENALTY = "presence_penalty"
    PREDICTION = "prediction"
    VERBOSITY = "verbosity"
    STORE = "store"
    METADATA = "metadata"
    TOP_K = "top_k"
    CITATIONS = "citations"
    CONTAINER = "container"
    MCP_SERVERS = "mcp_servers"
    CACHE = "cache"  # marks in the prompt, for the cache
    PLACE = "place"  # where in the world the model must run
    SPEED = "speed"
    CONTEXT_MANAGEMENT = "context_management"
    DETAIL = "detail"  # of an image
    NAMES = "name"  # of a message's author
    CACHE_HINTS = "prompt_cache"
    TOOL_HINTS = "tool_hints"  # examples, and when a tool is loaded
    TOOL_SEARCH = "tool_search"
    SERVER_TOOLS = "server_tools"  # calls of tools that ran at the provider, in the history
    PREVIOUS_RESPONSE = "previous_response_id"  # state at a provider, which only its own id names
    STORED_CONVERSATION = "stored_conversation"
    STORED_PROMPT = "stored_prompt"
    BACKGROUND = "background"  # the answer is fetched later
    TRUNCATION = "truncation"  # a provider shortens the conversation
    COMPACTION = "compaction"
    INCLUDE = "include"  # further details of the answer
    MAX_TOOL_CALLS = "max_tool_calls"  # of tools that run at the provider
    PHASE = "phase"  # of an earlier message: a comment, or the answer itself
    UNKNOWN = "unknown"


class Fate(Enum):
    """The treatment of a field that is not refused. The caller gets the names of dropped fields."""

    KEPT = "kept"
    BY_MODEL = "by model"  # kept for models that take it, otherwise dropped
    DROPPED = "dropped"  # it only tunes: without it, the answer still fits the request
    APPROXIMATED = "approximated"  # said in words that the model reads, since the format has no field for it


class Refused(msgspec.Struct, frozen=True):
    """The refusal of a field that would change the meaning. `why` and `do` are for the caller."""

    why: str
    do: str


Table = Mapping[Field, Fate | Refused]


NO_STATE: dict[Field, Fate | Refused] = {
    Field.PREVIOUS_RESPONSE: Refused(
        "an earlier answer is known to its own provider only", "send the whole conversation as input, with store: false"
    ),
    Field.STORED_CONVERSATION: Refused(
        "a stored conversation is known to its own provider only", "send its items as input, with store: false"
    ),
    Field.STORED_PROMPT: Refused(
        "a stored prompt is known to its own provider only", "send its text as instructions or input"
    ),
    Field.BACKGROUND: Refused("an answer cannot be fetched later", "leave background out, and read a stream"),
}
"""Rows of formats without state at the provider."""


class Named(Protocol):
    """A field with its place: `conversation.Extra`."""

    @property
    def field(self) -> Field:
        """The field."""

    @property
    def at(self) -> str:
        """Its place in the caller's body."""

    @property
    def name(self) -> str:
        """Its name in the caller's format."""


def refusal(at: str, why: str, do: str) -> BadRequest:
    """The error for a value that cannot be translated: its place, the reason, and the remedy for the caller."""
    return BadRequest(f"{at}: {why}; {do}", param=at)


def settle(table: Table, extras: Iterable[Named], dropped: list[str]) -> None:
    """Adds fields that are dropped or approximated to `dropped`. Raises `BadRequest` for the first that is refused."""
    for extra in extras:
        fate = table[extra.field]
        if isinstance(fate, Refused):
            raise refusal(extra.at, fate.why, fate.do)
        if fate is Fate.DROPPED or fate is Fate.APPROXIMATED:
            dropped.append(extra.name)
