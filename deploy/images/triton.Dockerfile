# Triton on NVIDIA GPUs with our backend and models.
#   docker buildx build --sbom=true --provenance=true -f deploy/images/triton.Dockerfile -t fanpulse-triton:0.1.0 .

# Python 3.12 and CUDA 13.0: what the locked onnxruntime-gpu is built for.
ARG BASE=nvcr.io/nvidia/tritonserver:25.08-py3

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/triton-gpu.txt requirements/
RUN python3 -m pip install --no-cache-dir --no-compile --only-binary :all: --target /opt/site-packages \
        --require-hashes --requirement requirements/triton-gpu.txt
COPY triton_models /models
RUN sed --in-place 's/KIND_CPU/KIND_GPU/' /models/*/config.pbtxt

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fanpulse-triton" \
      org.opencontainers.image.description="Triton Inference Server with the fanpulse encoder backend and models, GPU" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/site-packages /opt/site-packages
COPY --from=build /models /models
COPY deploy/triton/encoder /opt/tritonserver/backends/encoder
ENV PYTHONPATH=/opt/site-packages \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000 8001 8002
ENTRYPOINT ["tritonserver", "--backend-directory=/opt/tritonserver/backends", "--model-repository=/models", "--model-control-mode=explicit"]
CMD ["--load-model=*"]
