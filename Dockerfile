# One image, all roles: `weir operator`, `weir router`, `weir sim`. `make image` builds it.
#
# BASE may be any image with Python 3.11 or newer, its venv module and pip. Where it has neither a C compiler nor Debian's apt-get to
# get one, COMPILED=no leaves the router's hot modules plain Python, which takes twice the CPU.
# A tag may name another image tomorrow. For a release name the base by digest: BASE=...@sha256:..., which `make image PINNED=yes` demands.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
# For a network of one's own: `--build-arg PIP_INDEX_URL=... PIP_CERT=...`. They stay in this stage.
ARG PIP_INDEX_URL
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# pip takes what has one of the recorded hashes and nothing else, and no source: what runs is what was published.
COPY requirements-build.txt ./
RUN python3 -m venv /build && /build/bin/pip install --require-hashes --only-binary :all: --requirement requirements-build.txt
ARG COMPILED=yes
COPY hack/image/compiler hack/image/
RUN [ "$COMPILED" = no ] || hack/image/compiler
COPY requirements.txt ./
RUN python3 -m venv --without-pip /opt/weir \
 && /build/bin/pip --python /opt/weir/bin/python install --require-hashes --only-binary :all: --requirement requirements.txt

COPY hack/compile hack/compiled.h hack/
COPY router ./router
RUN [ "$COMPILED" = no ] || /build/bin/python hack/compile --python /opt/weir/bin/python /compiled
COPY . ./
RUN /build/bin/pip wheel --no-deps --no-build-isolation --check-build-dependencies --wheel-dir /dist . \
 && /build/bin/pip --python /opt/weir/bin/python install --no-deps --no-index /dist/*.whl \
 && if [ "$COMPILED" != no ]; then /build/bin/python hack/compile --install /compiled /opt/weir/lib/python3.*/site-packages; fi \
 && /opt/weir/bin/weir --version \
 && /build/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
    --output-format JSON --output-file /opt/weir/sbom.cdx.json /opt/weir/bin/python \
 # A second client, for asyncio, that nothing of ours imports (a test looks): a third of the image.
 && rm -r /opt/weir/lib/python3.*/site-packages/kubernetes/aio

FROM ${BASE}
# BASE and REVISION say what the image was made of; hack/image/build gives the commit. They are claims, and no signature.
ARG BASE
ARG REVISION=unknown
LABEL org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.revision="${REVISION}"
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Sends each LLM request to the cheapest model tier that is good enough and healthy" \
      org.opencontainers.image.licenses="Apache-2.0"
# The environment is whole, with its bytecode: nothing is written at run time, and the root may be read-only.
COPY --from=build /opt/weir /opt/weir
# USER: 65532 has no name in /etc/passwd, and a library (kopf) asks for one.
ENV PATH=/opt/weir/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 USER=weir
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/opt/weir/bin/weir"]
CMD ["--help"]
