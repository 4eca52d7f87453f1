# Triton on the CPU with our backend and models: the server that the nvidia-pytriton wheel carries, as `fanpulse up` runs it.
#   docker buildx build --sbom=true --provenance=true -f deploy/images/triton-cpu.Dockerfile -t fanpulse-triton:0.1.0-cpu .

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
COPY requirements/triton.txt requirements/
# Debug symbols are tens of MB of the wheels; libraries under *.libs are patched by auditwheel and break when stripped.
RUN python3 -m venv --without-pip /opt/triton \
 && uv pip install --python /opt/triton --no-build --require-hashes --requirement requirements/triton.txt \
 && find /opt/triton -name '*.so' ! -path '*.libs/*' -exec strip --strip-debug {} +
WORKDIR /opt/triton/lib/python3.11/site-packages/pytriton/tritonserver
RUN mkdir /opt/backends \
 && mv backends/python /opt/backends/python \
 && install --mode=755 python_backend_stubs/3.11/triton_python_backend_stub /opt/backends/python/ \
 && rm -rf python_backend_stubs \
 && ln -s "$PWD/bin/tritonserver" /opt/triton/bin/tritonserver \
 && cyclonedx-py environment --output-file /opt/triton/sbom.cdx.json /opt/triton/bin/python

FROM python
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libpython3.11 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fanpulse-triton" \
      org.opencontainers.image.description="Triton Inference Server with the fanpulse encoder backend and models, CPU" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/triton /opt/triton
COPY --from=build /opt/backends /opt/backends
COPY deploy/triton/encoder /opt/backends/encoder
COPY triton_models /models
ENV PATH=/opt/triton/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/triton/lib/python3.11/site-packages \
    LD_LIBRARY_PATH=/opt/triton/lib/python3.11/site-packages/nvidia_pytriton.libs
USER 10001:10001
EXPOSE 8000 8001 8002
ENTRYPOINT ["tritonserver", "--backend-directory=/opt/backends", "--model-repository=/models", "--model-control-mode=explicit"]
CMD ["--load-model=*"]
