# Builds a small image: docker build --tag alb2parquet . && docker run --rm alb2parquet --help
#
# The first stage has Rust and a C compiler. .dockerignore lists the files that it gets.
FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --features iceberg --bin alb2parquet && strip target/release/alb2parquet

# The second stage has the C library of the same Debian release, CA certificates, and no shell. It runs as an unprivileged user
# (65532), which needs write access to a directory that is mounted for --out.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/alb2parquet /usr/local/bin/alb2parquet
ENTRYPOINT ["/usr/local/bin/alb2parquet"]
