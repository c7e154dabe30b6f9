# syntax=docker/dockerfile:1
# The operator's image: locked dependencies, the package as a wheel, no shell needed, no root.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator ./operator
RUN python -m pip wheel --no-deps --wheel-dir /wheel . \
 && /venv/bin/pip install --no-deps --no-index /wheel/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.title="shardwise" \
      org.opencontainers.image.description="Places and launches sharded inference on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["shardwise"]
CMD ["run", "--log-format", "json", "--liveness", "http://0.0.0.0:8080/healthz"]
