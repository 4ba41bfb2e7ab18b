# shellcheck shell=bash
# Seeded runs of the tests that are too long for ./dev test: sourced by ./dev.

# faults [FILTER]: the whole table of faults, or the cells whose name contains the filter; without one docs/faults.md is written anew.
faults() {
    export LINKBROKER_FAULTS_FILTER=$*
    seeded faults::the_whole_table
}

# schedules|sharing|histories [COUNT] [--seed N]: so many seeds, from the first one on.
schedules() { from_seed SCHEDULES schedules::thousands_of_schedules "$@"; }
sharing() { from_seed SHARING shared_at_random::a_thousand_sequences "$@"; }
histories() { from_seed HISTORIES histories::thousands_of_histories "$@"; }

from_seed() { # NAME TEST [COUNT] [--seed N]
    local name=$1 test=$2 count='' seed=''
    shift 2
    while (($# > 0)); do
        case $1 in
        --seed) seed=${2:-} && shift 2 || die '--seed needs a number' ;;
        *) count=$1 && shift ;;
        esac
    done
    [[ $count$seed =~ ^[0-9]*$ ]] || die 'counts and seeds are whole numbers'
    export "LINKBROKER_${name}_COUNT=$count" "LINKBROKER_${name}_SEED=$seed"
    seeded "$test"
}

# seeded TEST: one of the tests that are only run when asked for.
seeded() {
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    run cargo test --quiet --profile seeds --package linkbroker --test it -- --exact "$1" --ignored --nocapture
}
