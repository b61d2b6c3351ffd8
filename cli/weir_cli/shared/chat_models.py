"""Names of models that are no chat models. Used where nothing states the work of a model."""

from __future__ import annotations

import re

OTHER_WORK = re.compile(
    r"embed|rerank|moderation|whisper|transcri|dall-e|gpt-image|chatgpt-image|imagen|stable-(diffusion|image)|sd3|flux"
    r"|realtime|babbage|davinci|gpt-3[.]5-turbo-instruct"
    r"|(^|[/-])(tts|bge|e5|gte|sora|veo|lyria|voyage|recraft|aqa|nova-(canvas|reel|sonic))([-/.\d]|$)|-tts|-image(-|$)",
    re.IGNORECASE,
)
"""Pattern of names of models for other work: embeddings, ranking, images, speech, video, text without turns."""
