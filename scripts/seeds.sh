# shellcheck shell=bash
# The seeded runs (tests/it/crowd/, docs/exactly-once.md) with all their seeds: sourced by ./dev.

schedules() { from_seed schedules::thousands_of_schedules "$@"; }
histories() { from_seed histories::thousands_of_histories "$@"; }
sequences() { from_seed sequences::a_thousand_sequences "$@"; }

# from_seed TEST [COUNT] [--seed SEED]: so many seeds, from this one on.
from_seed() {
    local test=$1 count='' first=''
    shift
    while (($# > 0)); do
        if [[ $1 == --seed ]]; then
            first=${2:-}
            shift
        else
            count=$1
        fi
        shift
    done
    [[ $count$first =~ ^[0-9]*$ ]] || die 'COUNT and SEED are whole numbers'
    # Each lane has sessions of its own. Tables grow from nothing to many rows within a minute, which the planner has to be told.
    # Workers die before they have learnt that a plan is the same each time: half of all work would be planning.
    start_postgres -c max_connections=600 -c autovacuum_naptime=10s -c plan_cache_mode=force_generic_plan
    export LINKBROKER_TEST_DATABASE_URL=$database_url LINKBROKER_SEEDS_COUNT=$count LINKBROKER_SEEDS_FIRST=$first
    run cargo test --quiet --profile seeds --package linkbroker --test it -- --exact "$test" --ignored --nocapture
}
