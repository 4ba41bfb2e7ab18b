# shellcheck shell=bash
# The property tests (tests/it/odd_input/) from random seeds, for longer: sourced by ./dev.

# fuzz [MINUTES | seed SEED]: with a seed, one round with it.
fuzz() {
    local minutes=${1:-10} deadline rounds=0
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    if [[ $minutes == seed ]]; then
        fuzz_from "${2:-}"
        return
    fi
    [[ $minutes =~ ^[1-9][0-9]*$ ]] || die "./dev fuzz $minutes: say how many minutes, as a whole number"
    deadline=$((SECONDS + minutes * 60))
    while ((SECONDS < deadline)); do
        fuzz_from $((RANDOM << 30 | RANDOM << 15 | RANDOM))
        rounds=$((rounds + 1))
    done
    say "$rounds rounds, nothing found."
}

fuzz_from() { # SEED
    [[ $1 =~ ^[0-9]+$ ]] || die "./dev fuzz seed $1: a seed is a number"
    LINKBROKER_FUZZ_SEED=$1 run cargo test --quiet --package linkbroker --test it odd_input:: -- --test-threads 2 ||
        die "the same again: ./dev fuzz seed $1"
    say "seed $1: nothing found"
}
