"""The record of this format: see `base.ConversationRecord`."""

from __future__ import annotations

from weir_router.contract import Operation, WireFormat
from weir_router.dialects.anthropic import answers, errors, models, request, understand, upstream, whole, write
from weir_router.dialects.anthropic.blocks import Blocks
from weir_router.dialects.anthropic.counting import COUNTING
from weir_router.dialects.anthropic.events import MessageEvents
from weir_router.dialects.anthropic.stream import NORMAL_ENDS, AnthropicReader
from weir_router.dialects.axes import Format
from weir_router.dialects.base import GREETING, ConversationRecord
from weir_router.dialects.wire.body import look
from weir_router.estimate import tokens

RECORD = ConversationRecord(
    format=Format.ANTHROPIC_MESSAGES,
    name=WireFormat.MESSAGES,
    operation=Operation.CHAT,
    title="Anthropic",
    path="/v1/messages",
    turns="messages",
    mark="anthropic-version",
    key="x-api-key",
    request_id="request-id",
    look=look,
    read=request.read,
    error_body=errors.body,
    error_event=errors.event,
    model=models.model,
    counting=COUNTING,
    listing=models.listing,
    question=GREETING,
    answer_headers=("request-id",),
    prepare=upstream.prepare,
    reader=AnthropicReader,
    normal_ends=NORMAL_ENDS,
    renderer=upstream.renderer,
    skim_whole=whole.skim_whole,
    read_whole=whole.read_whole,
    render_whole=whole.render_whole,
    failure=upstream.failure,
    understand=understand.understand,
    fields=understand.FIELDS,
    write=write.write,
    table=write.TABLE,
    read_answer=answers.read_answer,
    write_answer=answers.write_answer,
    event_reader=MessageEvents,
    needs_state=None,
    event_writer=lambda ask, created, realm: Blocks(
        thinking=answers.wants_thinking(ask), realm=realm, prompt_tokens=tokens.estimate(ask.prompt)
    ),
)
