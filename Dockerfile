# syntax=docker/dockerfile:1
# Builds `countersign` and puts it, alone, into a small image that runs `countersign serve` as an ordinary user.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The queries are checked against the committed .sqlx: no database is needed.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin countersign && cp target/release/countersign /countersign

FROM debian:bookworm-slim
# Certificates of public authorities: upstream providers are reached over HTTPS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/countersign --shell /usr/sbin/nologin countersign \
    && install -d -m 0700 -o countersign -g countersign /var/lib/countersign
COPY --from=build /countersign /usr/local/bin/countersign
USER 10001:10001
WORKDIR /var/lib/countersign
# The data directory holds the installation's secret when none is configured: keep it.
VOLUME /var/lib/countersign
ENV COUNTERSIGN_DATA_DIR=/var/lib/countersign \
    COUNTERSIGN_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["countersign"]
CMD ["serve"]
