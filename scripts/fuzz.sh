# shellcheck shell=bash
# The property tests (tests/it/odd_input/) from random seeds, for longer: sourced by ./dev.

# fuzz [MINUTES]
fuzz() {
    local minutes=${1:-10} seed deadline rounds=0
    [[ $minutes =~ ^[1-9][0-9]*$ ]] || die "./dev fuzz $minutes: say how many minutes, as a whole number"
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    deadline=$((SECONDS + minutes * 60))
    while ((SECONDS < deadline)); do
        seed=$((RANDOM << 30 | RANDOM << 15 | RANDOM))
        LINKBROKER_FUZZ_SEED=$seed run cargo test --quiet --test it odd_input:: -- --test-threads 2 ||
            die "found with LINKBROKER_FUZZ_SEED=$seed; again with: ./dev fuzz --seed $seed"
        say "seed $seed: nothing found"
        rounds=$((rounds + 1))
    done
    say "$rounds rounds, nothing found."
}
