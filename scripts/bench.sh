# shellcheck shell=bash
# Benchmarks (benches/, docs/benchmarks.md) with what they need: sourced by ./dev.

# Ten thousand sockets of the readers, and as many of the server, which is a process of its own.
files_needed=10500

# bench [--debug] [NAME…]: with --debug the programs are those of the tests, which are there already.
bench() {
    local profile=bench
    if [[ ${1:-} == --debug ]]; then
        profile=dev
        shift
    fi
    ulimit -Sn "$(ulimit -Hn)"
    [[ $(ulimit -Sn) == unlimited ]] || (($(ulimit -Sn) >= files_needed)) ||
        die "a process may open $(ulimit -Hn) files here and needs $files_needed: raise the hard limit (ulimit -Hn, or your container's)"
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url LINKBROKER_BENCH_POSTGRES_LOG=$scratch/postgres.log
    run cargo bench --quiet --profile "$profile" --bench bench -- "$@"
}
