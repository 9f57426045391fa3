# The program in a small image: docker build --tag alb2parquet . && docker run --rm alb2parquet --help
#
# The first stage has Rust and a C compiler; .dockerignore says what it is given.
FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin alb2parquet && strip target/release/alb2parquet

# The second has the C library of the same Debian, the certificates of public authorities, and no shell. It runs as
# a user without rights (65532), who must be let write to what is mounted for --out.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/alb2parquet /usr/local/bin/alb2parquet
ENTRYPOINT ["/usr/local/bin/alb2parquet"]
