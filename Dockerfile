# Two images: `linkbroker`, the service (the default), and `sandbox`, a Netlify and a GitHub for trying it out and for CI.
#   docker build --tag linkbroker .
#   docker build --tag linkbroker-sandbox --target sandbox .

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The queries are checked against .sqlx; no database is needed.
ENV SQLX_OFFLINE=true
# The caches outlive a change of the source, so that only what changed is compiled; what is kept is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --workspace --bins \
    && install -D --target-directory=/out target/release/linkbroker target/release/linkbroker-sandbox


# What both images have: a system without any tools, certificates, a user without rights.
FROM debian:bookworm-slim AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# With a name, because ssh refuses to work for a user who has none.
RUN groupadd --gid 65532 linkbroker \
    && useradd --uid 65532 --gid 65532 --home-dir /var/lib/linkbroker --shell /usr/sbin/nologin linkbroker \
    && install --directory --owner=65532 --group=65532 --mode=0750 /etc/linkbroker /var/lib/linkbroker
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.vendor="linkbroker"
USER 65532:65532
WORKDIR /var/lib/linkbroker
STOPSIGNAL SIGTERM


FROM base AS sandbox
LABEL org.opencontainers.image.title="linkbroker-sandbox" \
      org.opencontainers.image.description="Netlify and git providers as local services with state and behaviour"
USER 0:0
# Builds clone through ssh and run in bash. The packages are those of the day: security fixes matter more than the same bytes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/*
USER 65532:65532
COPY --from=build /out/linkbroker-sandbox /usr/local/bin/
EXPOSE 9999 2222
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["linkbroker-sandbox", "ask", "GET", "/__sandbox/switches"]
ENTRYPOINT ["linkbroker-sandbox"]
CMD ["--listen", "0.0.0.0:9999", "--ssh-listen", "0.0.0.0:2222"]


FROM base AS linkbroker
LABEL org.opencontainers.image.title="linkbroker" \
      org.opencontainers.image.description="Links git repositories to Netlify sites for other programs: one POST, then poll"
COPY --from=build /out/linkbroker /usr/local/bin/
ENV LINKBROKER_LISTEN=0.0.0.0:8080 \
    LINKBROKER_DATA_DIR=/var/lib/linkbroker
EXPOSE 8080
# Ready: the database answers. bash opens the connection, so that no other tool is needed.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == 2* ]]"]
ENTRYPOINT ["linkbroker"]
CMD ["serve"]
