# The worker, the alerts and the board: one slim image without any ML library.
#   docker buildx build --sbom=true --provenance=true -f deploy/images/worker.Dockerfile -t fanpulse:0.1.0 .

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM python AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv binutils
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.txt
ENV PATH=/opt/build/bin:$PATH UV_NO_CACHE=1 UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
COPY requirements/worker.txt requirements/
# Debug symbols are tens of MB of the wheels; libraries under *.libs are patched by auditwheel and break when stripped.
RUN python3 -m venv --without-pip /opt/fanpulse \
 && uv pip sync --python /opt/fanpulse --no-build --require-hashes requirements/worker.txt \
 && find /opt/fanpulse -name '*.so' ! -path '*.libs/*' -exec strip --strip-debug {} +
COPY pyproject.toml README.md LICENSE ./
COPY stream stream
RUN uv build --wheel --no-build-isolation --python /opt/build --out-dir /wheels \
 && uv pip install --python /opt/fanpulse --no-deps /wheels/*.whl \
 && cyclonedx-py environment --output-file /opt/fanpulse/sbom.cdx.json /opt/fanpulse/bin/python

FROM python
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fanpulse" \
      org.opencontainers.image.description="Real-time emotion monitoring: worker, alerts and board" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/fanpulse /opt/fanpulse
ENV PATH=/opt/fanpulse/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FANPULSE_PROFILE=production \
    FANPULSE_WEB_HOST=0.0.0.0
USER 10001:10001
EXPOSE 6066 8080
ENTRYPOINT ["fanpulse"]
CMD ["worker"]
