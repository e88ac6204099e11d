# A sentinel on port 26379. It only reads its config file; what it finds out is in the volume /data.
#
#   docker build -t sentinel-py .
#   docker run --restart unless-stopped -v ./sentinel.conf:/etc/sentinel/sentinel.conf:ro \
#     -v sentinel:/data -p 26379:26379 sentinel-py
#
# It ends with a status for whatever it cannot go on with: something has to start it again.
# Behind mapped ports, the file has to say `sentinel announce-ip` and `announce-port`. More of it:
# packaging/compose and packaging/kubernetes.

FROM python:3.12-slim AS build
WORKDIR /src
COPY LICENSE README.md pyproject.toml ./
COPY sentinel_py sentinel_py
RUN python -m venv /opt/sentinel_py \
 && /opt/sentinel_py/bin/pip install --no-cache-dir '.[http]'

FROM python:3.12-slim
RUN useradd --system --uid 26379 --user-group --home-dir /data --create-home sentinel
COPY --from=build /opt/sentinel_py /opt/sentinel_py
COPY packaging/healthcheck.py /usr/local/lib/healthcheck.py
COPY conf/sentinel.conf /etc/sentinel/sentinel.conf
ENV PATH=/opt/sentinel_py/bin:$PATH PYTHONUNBUFFERED=1
USER 26379:26379
WORKDIR /data
VOLUME /data
EXPOSE 26379
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "/usr/local/lib/healthcheck.py"]
CMD ["sentinel-py", "/etc/sentinel/sentinel.conf", "--sentinel", "state-dir", "/data", "--daemonize", "no"]
