# The data plane of clickstream: one image, a command per process.
#
#   docker build -f images/apps.Dockerfile -t clickstream-apps .
#
# BASE is any image of CPython 3.11 or later with pip and CA certificates: a mirror's, or a hardened one.
ARG BASE=python:3.12-slim

# --- wheel: the project itself, built with a locked backend ------------------------------------------------------------
FROM ${BASE} AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m pip install --quiet --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY apps/clickstream apps/clickstream
COPY devstack devstack
COPY operator/clickstream_operator operator/clickstream_operator
COPY manifests/crds manifests/crds
COPY grafana/dashboards grafana/dashboards
RUN python3 -m hatchling build -t wheel -d /dist

# --- environment: the locked dependencies, then the wheel; compiled, because the root of a running container is read-only
FROM ${BASE} AS environment
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    UV_NO_CACHE=1 UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /src
COPY requirements/uv.txt requirements/
RUN python3 -m pip install --quiet --require-hashes -r requirements/uv.txt && uv venv --quiet /opt/clickstream
# Every dependency has wheels for amd64 and arm64 but Faust, which has none for arm64: it is built there, by locked tools,
# and without a compiler in BASE its C parts are left out, which its Python does as well.
COPY requirements/apps.txt requirements/sdists.txt requirements/
RUN uv pip install --quiet --python /opt/clickstream/bin/python --require-hashes -r requirements/apps.txt \
    --build-constraints requirements/sdists.txt
COPY --from=wheel /dist /dist
RUN uv pip install --quiet --python /opt/clickstream/bin/python --no-deps /dist/*.whl

# --- geoip: the country database, CC0; a package of npm's registry, by the npm of a wheel that is gone afterwards ---------
FROM ${BASE} AS geoip
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore NPM_CONFIG_GLOBALCONFIG=/etc/npmrc
WORKDIR /geoip
COPY requirements/node.txt ./
RUN python3 -m pip install --quiet --require-hashes -r node.txt
COPY apps/geoip/package.json apps/geoip/package-lock.json ./
RUN npm ci --loglevel=error --no-audit --no-fund --ignore-scripts \
    && mv node_modules/@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb country.mmdb

# --- runtime: the environment on the base, and nothing that builds ------------------------------------------------------
FROM ${BASE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="clickstream apps" \
      org.opencontainers.image.description="The data plane of clickstream: one image, a command per process." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/clickstream/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    CLICKSTREAM_GEOIP=/opt/geoip/country.mmdb
COPY --from=geoip /geoip/country.mmdb /opt/geoip/country.mmdb
COPY --from=environment /opt/clickstream /opt/clickstream
WORKDIR /tmp
# A number, so that a kubelet can tell that it is not root.
USER 10001:10001
ENTRYPOINT ["clickstream"]

# --- live: for `tilt up` only. What is synced to /tmp/live comes before the installed package, and restarts the process --
FROM runtime AS live
COPY --chmod=0755 images/live.py /opt/live/bin/clickstream
ENV PATH=/opt/live/bin:/opt/clickstream/bin:/usr/local/bin:/usr/bin:/bin PYTHONPATH=/tmp/live

# The last stage is what a build without --target makes.
FROM runtime
