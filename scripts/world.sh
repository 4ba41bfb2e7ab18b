# shellcheck shell=bash
# Sandbox and server together, on this machine and on free ports: sourced by ./dev.

netlify_token=sandbox-netlify-token
github_token=sandbox-github-token

# start_sandbox OPTION…: its address is in LINKBROKER_SANDBOX.
start_sandbox() {
    local ready=$scratch/sandbox.json
    start TERM sandbox "$programs/linkbroker-sandbox" --listen 127.0.0.1:0 --ready-file "$ready" "$@"
    wait_for 30 'the sandbox' is_ready "$!" sandbox "$ready"
    [[ $(<"$ready") =~ \"admin_url\":\"([^\"]*)/__sandbox\" ]] || die "no address in $(<"$ready")"
    export LINKBROKER_SANDBOX=${BASH_REMATCH[1]}
}

# Points a server at the sandbox, for every vendor that it knows; it has a folder and a Postgres of its own.
point_at_sandbox() {
    export LINKBROKER_NETLIFY_URL=$LINKBROKER_SANDBOX/netlify/api/v1 LINKBROKER_GITHUB_URL=$LINKBROKER_SANDBOX/github
    export LINKBROKER_GITLAB_URL=$LINKBROKER_SANDBOX/gitlab/api/v4 LINKBROKER_BITBUCKET_URL=$LINKBROKER_SANDBOX/bitbucket/2.0
    export LINKBROKER_AZURE_DEVOPS_URL=$LINKBROKER_SANDBOX/azure
    export LINKBROKER_DATA_DIR=$scratch/data LINKBROKER_WATCH_MIN_MS=500
}

# Starts a server in developer mode; its address is in LINKBROKER_URL.
start_server() {
    LINKBROKER_LISTEN=127.0.0.1:0 LINKBROKER_LOG_FORMAT=json \
        start TERM server "$programs/linkbroker" serve --dev
    wait_for 60 'the server' is_listening "$!"
    [[ $(<"$scratch/server.log") =~ \"listening\",\"address\":\"([^\"]+)\" ]]
    export LINKBROKER_URL=http://${BASH_REMATCH[1]}
}

is_ready() { # PID LOG FILE
    kill -0 "$1" 2>/dev/null || { show_log "$2"; die 'the sandbox did not start'; }
    [[ -s $3 ]]
}

is_listening() { # PID
    kill -0 "$1" 2>/dev/null || { show_log server; die 'the server did not start'; }
    grep -qs '"message":"listening"' "$scratch/server.log"
}

show_log() { # NAME
    tail -n 20 "$scratch/$1.log" >&2
}

# ask METHOD PATH [BODY] [--field POINTER]: a request to the sandbox.
ask() {
    "$programs/linkbroker-sandbox" ask "$@"
}

serve() {
    need_postgres
    build
    start_sandbox
    point_at_sandbox
    ask POST /__sandbox/repositories '{"owner": "acme", "name": "docs", "template": "site"}' >/dev/null
    local listen=${wanted_listen:-127.0.0.1:8080}
    cat <<TEXT

A Netlify and a GitHub that exist only here are at $LINKBROKER_SANDBOX (state: /__sandbox/world, all of it:
sandbox/README.md). There is a private repository acme/docs. The server gets the address http://$listen;
set LINKBROKER_LISTEN for another one. In another terminal, to link the repository:

  export PATH=$programs:\$PATH LINKBROKER_URL=http://$listen LINKBROKER_DATA_DIR=$LINKBROKER_DATA_DIR LINKBROKER_SANDBOX=$LINKBROKER_SANDBOX
  NETLIFY_AUTH_TOKEN=$netlify_token linkbroker connect netlify
  GITHUB_TOKEN=$github_token linkbroker connect github
  linkbroker link https://github.com/acme/docs --site acme-docs --command 'sh build.sh' --publish dist --ref docs --wait
  linkbroker-sandbox ask GET /sites/acme-docs/
  linkbroker-sandbox ask POST /__sandbox/repositories/acme/docs/commits '{"message": "New text", "files": {"content/text.txt": "Hello again"}}'
  linkbroker status docs
  linkbroker unlink docs --wait

Ctrl-C ends both and forgets everything.

TEXT
    LINKBROKER_LISTEN=$listen run "$programs/linkbroker" serve --dev
}
