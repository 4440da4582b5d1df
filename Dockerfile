# syntax=docker/dockerfile:1
# Builds `countersign` and puts it, alone, into an image without a shell that runs `countersign serve` as nobody in particular.
#
# The image needs a database elsewhere (COUNTERSIGN_DATABASE_URL): it has no PostgreSQL to manage. Its root may be read-only; it
# writes to /var/lib/countersign only, and only if no COUNTERSIGN_SECRETS_FILE is set. A configuration file is named by
# COUNTERSIGN_CONFIG rather than by --config, so that the health check finds it too.

# Bases are pinned by version. To pin their bytes, name one with its digest: --build-arg RUNTIME=…@sha256:…
ARG BUILDER=docker.io/library/rust:1.95.0-bookworm
# glibc, libgcc, the certificates of public authorities and the time zones: no shell, no package manager. Of the same Debian
# release as the builder.
ARG RUNTIME=gcr.io/distroless/cc-debian12:latest

# hadolint ignore=DL3006
FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# The queries are checked against the committed .sqlx: no database is needed.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin countersign \
    && install -D --mode=0755 target/release/countersign /image/usr/local/bin/countersign \
    && install --directory --mode=0700 --owner=10001 --group=10001 /image/var/lib/countersign

# hadolint ignore=DL3006
FROM ${RUNTIME}
LABEL org.opencontainers.image.title="Countersign" \
      org.opencontainers.image.description="A self-hosted authorization server for device login (RFC 8628)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /image/usr/local/bin/countersign /usr/local/bin/countersign
# The data directory holds the installation's secret when none is configured: keep it.
COPY --from=build --chown=10001:10001 /image/var/lib/countersign /var/lib/countersign
# A number, so that Kubernetes can see that it isn't root.
USER 10001:10001
WORKDIR /var/lib/countersign
VOLUME /var/lib/countersign
# Health and metrics are told to this container only, until somebody sets another address.
ENV COUNTERSIGN_DATA_DIR=/var/lib/countersign \
    COUNTERSIGN_LISTEN=0.0.0.0:8080 \
    COUNTERSIGN_TELEMETRY_LISTEN=127.0.0.1:9090
EXPOSE 8080
STOPSIGNAL SIGTERM
# Whether it runs, and not whether the database does: nobody should start it anew for that.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["/usr/local/bin/countersign", "health"]
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["serve"]
