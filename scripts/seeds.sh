# shellcheck shell=bash
# Seeded runs of the tests that are too long for ./dev test: sourced by ./dev.

# faults [FILTER]: the whole table of faults, or the cells whose name contains the filter; without one docs/faults.md is written anew.
faults() {
    export LINKBROKER_FAULTS_FILTER=$*
    seeded faults::the_whole_table
}

# seeded TEST: one of the tests that are only run when asked for.
seeded() {
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    run cargo test --quiet --profile seeds --package linkbroker --test it -- --exact "$1" --ignored --nocapture
}
