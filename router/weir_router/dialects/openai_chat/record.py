"""The record of this format: see `base.ConversationRecord`."""

from __future__ import annotations

from weir_router.contract import Operation, WireFormat
from weir_router.dialects.axes import Format
from weir_router.dialects.base import GREETING, ConversationRecord
from weir_router.dialects.openai_chat import answers, errors, models, request, understand, upstream, whole, write
from weir_router.dialects.openai_chat.chunks import Chunks
from weir_router.dialects.openai_chat.events import ChatEvents
from weir_router.dialects.openai_chat.stream import NORMAL_ENDS, OpenAIReader
from weir_router.dialects.wire.body import look

RECORD = ConversationRecord(
    format=Format.OPENAI_CHAT,
    name=WireFormat.CHAT,
    operation=Operation.CHAT,
    title="OpenAI",
    path="/v1/chat/completions",
    turns="messages",
    mark=None,
    key="authorization",
    request_id="x-request-id",
    look=look,
    read=request.read,
    error_body=errors.body,
    error_event=errors.event,
    model=models.model,
    counting=None,
    listing=models.listing,
    question=GREETING,
    answer_headers=("x-request-id", "openai-processing-ms", "openai-version"),
    prepare=upstream.prepare,
    reader=OpenAIReader,
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
    event_reader=ChatEvents,
    needs_state=None,
    event_writer=lambda ask, created, realm: Chunks(include_usage=ask.include_usage, created=created, realm=realm),
)
