# Social Flow: one image for the server (the default command), for `bin/worker`'s and `bin/migrate`'s work.
# Nothing is fetched at run time: Python packages and the scripts of the pages are installed in stages of their own,
# from the lock files with their hashes, and Node stays behind.
#
#   docker build --tag social-flow .
#   docker run --init --publish 8080:8080 --publish 1935:1935 --publish 8189:8189/udp \
#       --env PUBLIC_IP=ADDRESS --volume social-flow:/data social-flow

FROM python:3.13-slim-bookworm AS packages
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /app/.venv \
    && /app/.venv/bin/python -m pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.lock \
    && /app/.venv/bin/python -m pip uninstall --yes pip

FROM node:24-bookworm-slim AS scripts
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=dev --no-audit --no-fund

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="Social Flow"
# The user's number is fixed so that a volume's files keep their owner over releases.
RUN groupadd --gid 10001 social-flow \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin social-flow \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
WORKDIR /app
COPY --from=packages /app/.venv /app/.venv
COPY --from=scripts /app/node_modules /app/node_modules
COPY media /app/media
COPY migrations /app/migrations
COPY realtime /app/realtime
COPY server /app/server
COPY storage /app/storage
# Compiled here: the program files belong to root and cannot be written at run time.
RUN ["/app/.venv/bin/python", "-m", "compileall", "-q", "media", "realtime", "server", "storage"]
ENV DATA_DIR=/data \
    LOG_FORMAT=json \
    PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /data
EXPOSE 8080 1935 1936 8189/udp
# SIGTERM hands the broadcasts to the next process; give it time: DRAIN_SECONDS and a little more.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "server.healthcheck"]
CMD ["python", "-m", "server"]
