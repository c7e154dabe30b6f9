# syntax=docker/dockerfile:1
# The operator's image: everything from the lock files, by hash; the package as a wheel; no root, nothing written.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first: this layer lasts until the lock changes. No compiler: a dependency without a wheel is an error.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /venv \
 && /venv/bin/python -m pip install --only-binary=:all: --no-deps --require-hashes -r requirements.lock \
 && python -m pip install --only-binary=:all: --no-deps --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator/shardwise ./operator/shardwise
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /venv/bin/python -m pip install --no-deps --no-index /wheel/*.whl \
 && /venv/bin/python -m pip check \
 && /venv/bin/python -m pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="shardwise" \
      org.opencontainers.image.description="Places and launches sharded inference on Kubernetes" \
      org.opencontainers.image.source="https://github.com/shardwise/shardwise" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
# The file system may be read-only: no bytecode is written, and the Hub's files are read without a cache.
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# By number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["shardwise"]
CMD ["run", "--log-format", "json", "--health", "0.0.0.0:8080"]
