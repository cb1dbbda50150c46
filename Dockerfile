# The image: the program, nft and their libraries; no shell. `docker build -t portolan .`
#
# Base images are pinned by tag, so that a build gets their security updates; who wants the same image again gives a digest
# by --build-arg. Both stages are one Debian release: the libraries belong to the compiler's libc, and
# it is the nft that the tests run.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends nftables \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin portolan \
 && docker/rootfs.sh /rootfs target/release/portolan

FROM scratch
LABEL org.opencontainers.image.title="portolan" \
      org.opencontainers.image.description="Kubernetes Services as a fixed nftables program driven by maps" \
      org.opencontainers.image.source="https://github.com/portolan-net/portolan" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /rootfs /
ENV PATH=/usr/bin:/usr/sbin
# User 0, as a number, for there is no /etc/passwd. Changing rules takes NET_ADMIN, and Kubernetes and Docker give capabilities
# to root's processes only. Drop all others: charts/portolan/README.md says why none is needed. `render` and `check` work as
# any user.
USER 0:0
ENTRYPOINT ["/usr/bin/portolan"]
