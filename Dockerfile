# The image of `watchbudget run`: docker build -t watchbudget:0.1.0 .
#
# Everything that is installed stands in requirements.lock with its hash, and comes as a wheel: nothing is compiled.
# The base image is named by its full version, not by its digest, which belongs to one registry's copy and platform; to
# pin yours: --build-arg BASE=python:3.13.7-slim-trixie@sha256:...
ARG BASE=python:3.13.7-slim-trixie

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    SOURCE_DATE_EPOCH=315532800
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# uv, because pip cannot take versions and hashes of a part from a lock of the whole.
RUN sed -n '/^uv==/,/# via/p' requirements.lock > uv.txt \
 && pip install --require-hashes --only-binary :all: -r uv.txt
RUN python -m venv --without-pip /opt/watchbudget \
 && uv pip install --python /opt/watchbudget/bin/python --require-hashes --only-binary :all: \
    -c requirements.lock -r pyproject.toml --extra operator
COPY operator operator
COPY manifests manifests
COPY crds crds
# By pip: uv would note when the wheel was made, and no two images would be alike. Its lock anybody may write to.
RUN uv build --wheel --build-constraints requirements.lock --require-hashes --out-dir dist \
 && pip --python /opt/watchbudget/bin/python install --no-deps --no-compile --no-index --find-links dist watchbudget \
 && rm /opt/watchbudget/.lock
# Compiled here, as the file system is read-only later; but not the Kubernetes client's 3,000 files that we never load.
# One after the other and with fixed hashes: what is compiled depends a little on what was compiled before it.
RUN PYTHONHASHSEED=0 /opt/watchbudget/bin/python -m compileall -q -f --invalidation-mode unchecked-hash \
    -x 'kubernetes/(aio/)?client/(models|api)/' /opt/watchbudget/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="WatchBudget" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/watchbudget /opt/watchbudget
# HOME, because the user is in no passwd file, and the Kubernetes client does not load where nobody says it.
ENV PATH=/opt/watchbudget/bin:$PATH \
    HOME=/ \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
# Admission requests; probes and metrics.
EXPOSE 9443 8080
ENTRYPOINT ["watchbudget"]
CMD ["run"]
