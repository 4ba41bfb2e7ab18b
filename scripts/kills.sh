# shellcheck shell=bash
# The kill matrix (tests/it/kills/, docs/exactly-once.md) and the rounds of several replicas: sourced by ./dev.

# kills [WAY[:EFFECT] | seed SEED [WAY]]: the whole matrix, a way of it, or the tenth that a test has drawn.
kills() {
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    if [[ ${1:-} == seed ]]; then
        [[ ${2:-} =~ ^[0-9]+$ ]] || die './dev kills seed SEED: a seed is a number'
        LINKBROKER_KILLS_SEED=$2 run cargo test --quiet --workspace --test it -- "kills::drawn::${3:-}" --nocapture --test-threads 2
        return
    fi
    LINKBROKER_KILLS_FILTER=${1:-} run cargo test --quiet --workspace --test it -- --ignored --exact --nocapture kills::the_whole_matrix
}

# replicas [ROUNDS]: 200 links on three replicas, so many times; how soon a link goes on whose process is gone, as often.
replicas() {
    local rounds=${1:-20}
    [[ $rounds =~ ^[1-9][0-9]*$ ]] || die "./dev replicas $rounds: say how many rounds"
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    LINKBROKER_REPLICA_ROUNDS=$rounds run cargo test --quiet --workspace --test it -- --ignored --exact --nocapture replicas::many_rounds
    LINKBROKER_RECOVERY_ROUNDS=$rounds run cargo test --quiet --workspace --test it -- --ignored --exact --nocapture recovery::how_soon_links_go_on
}
