"""The endpoints beside the wire formats: embeddings, completions, moderations, images, audio, rerank, counted tokens.

`weir_cli.sim.exchange` looks a path up in `ENDPOINTS`. A new endpoint is a function from the fields of a request to a
`Reply`, and a row here.
"""

from __future__ import annotations

from weir_cli.sim.endpoints import audio, completions, counts, embeddings, images, moderations, rerank
from weir_cli.sim.endpoints.reply import Endpoint
from weir_cli.sim.models import Service
from weir_router.contract import WireFormat

ENDPOINTS: dict[str, Endpoint] = {
    "/v1/embeddings": Endpoint(Service.EMBEDDINGS, embeddings.embed),
    "/v1/completions": Endpoint(Service.COMPLETIONS, completions.complete),
    "/v1/moderations": Endpoint(Service.MODERATIONS, moderations.moderate),
    "/v1/images/generations": Endpoint(Service.IMAGES, images.generate),
    "/v1/images/edits": Endpoint(Service.IMAGES, images.edit, form=True),
    "/v1/images/variations": Endpoint(Service.IMAGES, images.vary, form=True),
    "/v1/audio/speech": Endpoint(Service.AUDIO, audio.speak),
    "/v1/audio/transcriptions": Endpoint(Service.AUDIO, audio.transcribe, form=True),
    "/v1/audio/translations": Endpoint(Service.AUDIO, audio.translate, form=True),
    "/v1/rerank": Endpoint(Service.RERANK, rerank.rerank),
    "/v1/responses/input_tokens": Endpoint(Service.RESPONSES, counts.input_tokens),
    "/v1/messages/count_tokens": Endpoint(Service.MESSAGES, counts.count_tokens, errors=WireFormat.MESSAGES),
}
"""Each endpoint by its path."""
