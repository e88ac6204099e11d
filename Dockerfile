# A sentinel on port 26379. Its file lies in /data, which it rewrites: mount the directory, not the
# file alone.
#
#   docker build -t sentinel-py .
#   docker run -v /srv/sentinel:/data -p 26379:26379 sentinel-py

FROM python:3.12-slim AS build
WORKDIR /src
COPY LICENSE README.md pyproject.toml ./
COPY sentinel_py sentinel_py
RUN python -m venv /opt/sentinel_py \
 && /opt/sentinel_py/bin/pip install --no-cache-dir .

FROM python:3.12-slim
RUN useradd --system --uid 26379 --home-dir /data --create-home sentinel
COPY --from=build /opt/sentinel_py /opt/sentinel_py
COPY --chown=sentinel conf/sentinel.conf /data/sentinel.conf
ENV PATH=/opt/sentinel_py/bin:$PATH PYTHONUNBUFFERED=1
USER sentinel
WORKDIR /data
VOLUME /data
EXPOSE 26379
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", "\
import socket; \
probe = socket.create_connection(('127.0.0.1', 26379), 2); \
probe.sendall(b'PING\\r\\n'); \
assert probe.recv(16).startswith((b'+PONG', b'-NOAUTH'))"]
CMD ["sentinel-py", "/data/sentinel.conf"]
