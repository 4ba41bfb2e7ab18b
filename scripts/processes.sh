# shellcheck shell=bash
# What a command of ./dev starts and makes, and how it ends: sourced by ./dev.
#
# Every process gets a process group of its own. So Ctrl-C reaches this script alone, and the script ends
# exactly the groups that it started, the last one first.

scratch=     # folder of this run; gone at its end
started=()   # "SIGNAL:PID" of each process group

say() { printf '%s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Makes the folder of this run and sees to it that nothing outlives the run.
begin() {
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # In /tmp whatever TMPDIR says: the path of a Unix socket has to fit into 107 bytes.
    scratch=$(mktemp -d /tmp/linkbroker-dev.XXXXXX)
    # As root, Postgres runs under another user, who has to pass through.
    chmod 711 "$scratch"
    mkdir -m 711 "$scratch/tmp"
    export TMPDIR=$scratch/tmp
}

finish() {
    local code=$?
    trap - EXIT
    trap '' HUP INT TERM
    end_all
    if [[ -n $scratch ]]; then
        end_postgres_of_tests
        # Not when a person ended it; what hung and was ended for that is looked into.
        ((code == 0 || code == 129 || code == 130)) || keep_logs
        rm -rf -- "$scratch"
    fi
    exit "$code"
}

end_all() {
    local index
    for ((index = ${#started[@]} - 1; index >= 0; index--)); do
        end "${started[index]%%:*}" "${started[index]##*:}"
    done
    started=()
}

# end SIGNAL PID: ends a process group; by force what has not gone in time.
end() {
    kill -s "$1" -- "-$2" 2>/dev/null || return 0
    # The rest has less time than its leader: in a container whose first process reaps nobody, the dead stay in the group.
    gone 20 "$2" && gone 2 "-$2" || kill -s KILL -- "-$2" 2>/dev/null || true
    wait "$2" 2>/dev/null || true
}

# gone SECONDS PID: waits for a process or, by its negative id, for a group to end.
gone() {
    local tries=$(($1 * 20))
    while kill -0 -- "$2" 2>/dev/null; do
        ((tries-- > 0)) || return 1
        sleep 0.05
    done
}

# A test that was killed cannot stop the Postgres that it had started, but says in our folder which one it is.
end_postgres_of_tests() {
    local file pid
    while IFS= read -r file; do
        read -r pid <"$file" || continue
        [[ $(name_of "$pid") == postgres ]] || continue
        kill -s QUIT "$pid" 2>/dev/null || true
        gone 10 "$pid" || true
    done < <(find "$scratch" -name postmaster.pid 2>/dev/null)
}

name_of() {
    if [[ -d /proc/$$ ]]; then cat "/proc/$1/comm" 2>/dev/null || true; else ps -o comm= -p "$1" || true; fi
}

keep_logs() {
    compgen -G "$scratch/*.log" >/dev/null || return 0
    mkdir -p target/dev-logs
    cp -- "$scratch"/*.log target/dev-logs/
    [[ ! -f $scratch/data/postgres.log ]] || cp -- "$scratch/data/postgres.log" target/dev-logs/embedded-postgres.log
    printf 'The logs of this run are in target/dev-logs.\n' >&2
}

# start SIGNAL NAME COMMAND…: runs in the background until the end of this run, which SIGNAL brings. Its output goes to
# a log; its process id is in $!.
start() {
    local signal=$1 name=$2
    shift 2
    set -m
    "$@" </dev/null >"$scratch/$name.log" 2>&1 &
    set +m
    started+=("$signal:$!")
}

# run COMMAND…: runs in the foreground, for its exit code. Unlike a plain call it can be interrupted by a signal to this
# script alone.
run() {
    local code=0
    set -m
    "$@" </dev/null &
    set +m
    started+=("TERM:$!")
    wait "$!" || code=$?
    unset 'started[-1]'
    return "$code"
}

# wait_for SECONDS WHAT COMMAND…: until COMMAND succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS <= deadline)) || die "$what did not come in time"
        sleep 0.05
    done
}
