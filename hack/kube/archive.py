"""Images of one program and nothing else, made without a builder. Called by `cluster.py`."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

USER = "65532"


def image_archive(program: Path, name: str, image: str) -> bytes:
    """An archive, as `docker save` makes it, of the image `image`, which runs `program` as /NAME."""
    layer = _tar({name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Entrypoint": [f"/{name}"], "User": USER},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "config.json": json.dumps(config).encode(),
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def _tar(files: dict[str, bytes], *, mode: int = 0o644) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
