# The image of st-ingestor: worker, serve and the operator's commands are one program.
#
#   docker build -t st-ingestor .
#   docker build --build-arg BASE=debian:bookworm-slim@sha256:... --build-arg VERSION=2.0.0 -t st-ingestor .
# BASE is a Debian 12, whose names the packages below have.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /source
COPY test/deps test/deps
RUN bash test/deps/install.sh build
COPY . .
RUN make -j"$(nproc)" install DESTDIR=/image && strip /image/opt/st-ingestor/bin/st-ingestor

FROM ${BASE}
# No package lists and no logs are left, and no file that runs with another user's rights: the base's neither.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
       ca-certificates libcurl4 libgrpc29 libjson-c5 libmicrohttpd12 libprotobuf-c1 libssl3 libxxhash0 tzdata >/dev/null \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/* \
       /var/log/apt /var/log/*.log \
    && find / -xdev -perm /6000 -exec chmod ug-s {} +
COPY --from=build /image /
ARG VERSION=dev
LABEL org.opencontainers.image.title="st-ingestor" \
      org.opencontainers.image.description="Keeps ServiceTitan data in BigQuery" \
      org.opencontainers.image.version="${VERSION}"
# config/ is found from here. Nothing is written: the root file system may be read-only.
WORKDIR /opt/st-ingestor
ENV PATH=/opt/st-ingestor/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 65532:65532
EXPOSE 8080
# The program is process 1 and handles SIGTERM itself: no shell, no init before it.
ENTRYPOINT ["st-ingestor"]
CMD ["worker"]
