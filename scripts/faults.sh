# shellcheck shell=bash
# Everything that can go wrong with a call of an upstream (tests/it/faults/, docs/faults.md): sourced by ./dev.

# faults [UPSTREAM[:PART] | seed SEED [UPSTREAM]]: the whole table, the part of an upstream, or the tenth that a test has drawn.
faults() {
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    if [[ ${1:-} == seed ]]; then
        [[ ${2:-} =~ ^[0-9]+$ ]] || die './dev faults seed SEED: a seed is a number'
        LINKBROKER_FAULTS_SEED=$2 run cargo test --quiet --workspace --test it -- "faults::drawn::${3:-}" --nocapture --test-threads 2
        return
    fi
    LINKBROKER_FAULTS_FILTER=${1:-} run cargo test --quiet --workspace --test it -- --ignored --exact --nocapture faults::the_whole_table
}
