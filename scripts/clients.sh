# shellcheck shell=bash
# The API as others use it: linters, generated clients, every request that its description allows, and an issuer that
# others wrote; against the real server and the sandbox: sourced by ./dev.

client_parts=(lint typescript python contract oidc)

# clients [PART…]: without names all of them.
clients() {
    local part
    (($# > 0)) || set -- "${client_parts[@]}"
    for part in "$@"; do
        [[ " ${client_parts[*]} " == *" $part "* ]] || die "./dev clients $part: there is no such part; there are ${client_parts[*]}"
    done
    need_postgres
    need_node
    need_python
    build
    start_sandbox
    point_at_sandbox
    start_server
    LINKBROKER_TOKEN=$("$programs/linkbroker" token) || die 'no token'
    export LINKBROKER_TOKEN
    for part in "$@"; do
        say "clients: $part"
        case $part in
        oidc) run node tests/clients/oidc.mjs "$programs/linkbroker" ;;
        *) run tests/clients/run "$part" ;;
        esac || { show_log server; die "clients: $part failed"; }
    done
}

# Brings node_modules to what package-lock.json says.
need_node() {
    local folder=tests/clients
    { command -v node && command -v npm; } >/dev/null ||
        die 'Node.js 20.19 or later is missing, with npm: https://nodejs.org, or your system'\''s package'
    node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)' ||
        die "Node.js 20.19 or later is needed; this is $(node --version)"
    ! cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed" || return 0
    say 'Installing what tests/clients/package-lock.json names …'
    run npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error || die 'npm ci failed'
    cp "$folder/package-lock.json" "$folder/node_modules/.installed"
}

# Brings .venv to what requirements.txt says.
need_python() {
    local folder=tests/clients
    command -v python3 >/dev/null || die 'Python 3.11 or later is missing: apt-get install python3-venv'
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die 'Python 3.11 or later with venv is needed: apt-get install python3-venv'
    ! cmp -s "$folder/requirements.txt" "$folder/.venv/installed.txt" || return 0
    say 'Installing what tests/clients/requirements.txt names …'
    rm -rf "$folder/.venv"
    run python3 -m venv "$folder/.venv" || die 'python3 -m venv failed'
    run "$folder/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$folder/requirements.txt" ||
        die 'pip install failed'
    cp "$folder/requirements.txt" "$folder/.venv/installed.txt"
}
