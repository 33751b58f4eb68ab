# A static binary that runs as nobody in an empty image.
FROM node:20-bookworm-slim AS codecs
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=codecs /src/node_modules/dcmjs-codecs ./node_modules/dcmjs-codecs
RUN ./internal/pixel/sandbox/bring --required
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/strata ./cmd/strata \
 && mkdir -p /out/data /out/config

FROM scratch
COPY --from=build /out/strata /strata
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/config /config
USER 65532:65532
# The data and the key that opens it belong in two different places.
VOLUME ["/data", "/config"]
ENV STRATA_DATA=/data \
    STRATA_KEY_FILE=/config/local.key \
    STRATA_LISTEN=0.0.0.0:8080
EXPOSE 8080
# Beyond loopback the server asks for STRATA_TLS_CERT, STRATA_TLS_KEY and
# STRATA_TOKEN_FILE; it does not start without them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/strata", "health"]
ENTRYPOINT ["/strata"]
CMD ["serve"]
