# shellcheck shell=bash
# The monkey (tests/it/monkey.rs) for longer and with more links: sourced by ./dev.

# monkey [MINUTES | seed SEED]: with a seed, a short game with it.
monkey() {
    local minutes=${1:-5}
    start_postgres
    export LINKBROKER_TEST_DATABASE_URL=$database_url
    if [[ $minutes == seed ]]; then
        [[ ${2:-} =~ ^[0-9]+$ ]] || die "./dev monkey seed ${2:-}: a seed is a number"
        export MONKEY_SEED=$2
    else
        [[ $minutes =~ ^[1-9][0-9]*$ ]] || die "./dev monkey $minutes: say how many minutes, as a whole number"
        export MONKEY_SECONDS=$((minutes * 60)) MONKEY_LINKS=200
    fi
    run cargo test --quiet --package linkbroker --test it monkey:: -- --nocapture
}
