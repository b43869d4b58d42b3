# docker build -t chart-gateway . && docker run -p 9000:9000 -v chart-gateway:/data chart-gateway
# The admin desk stays inside, unless it is let out: -e GATEWAY_ADMIN_HOST=0.0.0.0 -p 127.0.0.1:9001:9001
# Everything comes from the lock files, by hash. What builds the package stays behind in the first stage.

FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/gateway
COPY requirements.lock requirements-dev.lock ./
RUN pip --python /opt/gateway install --require-hashes -r requirements.lock \
    && pip install --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY migrations migrations
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && pip --python /opt/gateway install --no-deps /wheel/*.whl

FROM python:3.12-slim
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --no-create-home --home-dir /data --shell /usr/sbin/nologin gateway \
    && install -d -o gateway -g gateway -m 0700 /data \
    && install -d /etc/gateway
COPY --from=build /opt/gateway /opt/gateway
# The root file system may be read-only: only /data is written. rules.yaml is looked for in /etc/gateway.
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_DATA_DIR=/data
WORKDIR /etc/gateway
USER 10001:10001
VOLUME /data
EXPOSE 9000 9001
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s --retries=3 CMD ["python", "-c", \
    "import http.client, os, sys; port = int(os.environ.get('GATEWAY_PORT', '9000')); asked = http.client.HTTPConnection('127.0.0.1', port, timeout=3); asked.request('GET', '/healthz'); sys.exit(asked.getresponse().status != 200)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
