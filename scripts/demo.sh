# shellcheck shell=bash
# The story of one link, told by the real programs against the sandbox; every claim is checked: sourced by ./dev.

first_text='Hello from the first commit'
second_text='Hello from the second commit'
declare -A made=([deploy_keys]='deploy key at Netlify' [installed_keys]='deploy key at GitHub' [webhooks]='webhook' [sites]='site')

demo() {
    need_postgres
    build
    begun=${EPOCHREALTIME/[.,]/}
    step 'A Netlify and a GitHub of our own, and a linkbroker with a Postgres of its own'
    # Like vendors, every call takes its time. Builds are slow enough to be watched.
    start_sandbox --latency-ms 150 --switches '{"netlify": {"times": {"building_ms": 2500}}}'
    point_at_sandbox
    start_server
    note "sandbox at $LINKBROKER_SANDBOX, linkbroker at $LINKBROKER_URL"
    make_repository
    connect
    link
    push
    count
    unlink_again
    step 'Done: all of it held'
}

# step TITLE: with the time since the start.
step() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - begun) / 100000))
    printf '\n[%3d.%d s]  %s\n' $((tenths / 10)) $((tenths % 10)) "$1"
}

note() { printf '           %s\n' "$*"; }

# shown COMMAND…: a command of linkbroker, as one would type it.
shown() {
    note "\$ linkbroker$(quoted "$@")"
    run "$programs/linkbroker" "$@" || fail "linkbroker $1 ended with exit code $?"
}

quoted() {
    local word
    for word in "$@"; do
        if [[ $word == *[!A-Za-z0-9_./:=-]* ]]; then printf ' %s' "${word@Q}"; else printf ' %s' "$word"; fi
    done
}

# claim WHAT EXPECTED ACTUAL
claim() {
    [[ $2 == "$3" ]] || fail "$1: $3 instead of $2"
    note "✓ $1"
}

fail() {
    printf '\nThe end of the server'\''s log:\n' >&2
    show_log server
    die "the demo failed: $*"
}

# field PATH POINTER: a value from the sandbox's admin door.
field() {
    ask GET "/__sandbox/$1" --field "$2"
}

page() {
    ask GET /sites/acme-docs/ 2>/dev/null || true
}

page_shows() {
    [[ $(page) == *"$1"* ]]
}

make_repository() {
    local body='{"owner": "acme", "name": "docs", "template": "site", "text": "'$first_text'"}'
    step 'A private repository acme/docs with a small site that really builds'
    ssh_url=$(ask POST /__sandbox/repositories "$body" --field /ssh_url) || fail 'the sandbox does not make the repository'
    note "$ssh_url"
}

connect() {
    step 'linkbroker gets a Netlify token and a GitHub token'
    NETLIFY_AUTH_TOKEN=$netlify_token shown connect netlify
    GITHUB_TOKEN=$github_token shown connect github
}

link() {
    step 'One command: from nothing to a site that builds on push'
    shown link https://github.com/acme/docs --site acme-docs --command 'sh build.sh' --publish dist --ref docs --wait
    page_shows "$first_text" || fail "the page does not show “$first_text” but: $(page)"
    note "✓ the site is served and shows “$first_text”"
}

# A person with a key of her own, plain git, and nothing of linkbroker.
push() {
    local work=$scratch/work key=$scratch/id_ed25519
    step 'A second commit, pushed with plain git: the webhook makes Netlify build it'
    ssh-keygen -q -t ed25519 -N '' -C ada -f "$key"
    ask POST /__sandbox/person-keys '{"login": "ada", "key": "'"$(<"$key.pub")"'", "permissions": {"repositories": {"acme/docs": "push"}}}' >/dev/null ||
        fail 'the sandbox does not take the key'
    export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com
    export GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.com GIT_TERMINAL_PROMPT=0
    export GIT_SSH_COMMAND="ssh -F none -i $key -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=$scratch/known_hosts -o LogLevel=ERROR"
    run git clone --quiet "$ssh_url" "$work" || fail 'git clone'
    printf '%s\n' "$second_text" >"$work/content/text.txt"
    run git -C "$work" commit --quiet --all --message 'Second commit' || fail 'git commit'
    note '$ git push'
    run git -C "$work" push --quiet || fail 'git push'
    wait_for 60 'the new page' page_shows "$second_text"
    note "✓ the page shows “$second_text”"
}

count() {
    local kind first
    step 'What that took, as the vendors counted it'
    for kind in "${!made[@]}"; do
        claim "1 ${made[$kind]}" '1 made, 1 there' "$(field counts "/$kind/created") made, $(field counts "/$kind/alive") there"
    done
    first=$("$programs/linkbroker" status docs --output json)
    [[ $first =~ \"build\":\ *\{[^\}]*\"id\":\ *\"([^\"]+)\" ]] || fail "no build in the link: $first"
    claim '3 builds:' 3 "$(field counts /builds/created)"
    claim '  the first, which the link followed' "ready ${BASH_REMATCH[1]}" "$(field world /netlify/builds/0/deploy_state) $(field world /netlify/builds/0/id)"
    claim '  the one of the replayed push, the proof that pushes build: canceled at once' 'Canceled build' "$(field world /netlify/builds/1/error)"
    claim '  the one of the second commit' ready "$(field world /netlify/builds/2/deploy_state)"
    claim 'no request that the vendors'\'' descriptions forbid' '[]' "$(ask GET /__sandbox/violations)"
    count_calls
}

# The link is armed when everything is in place and the first build's deploy is known: the first look at a deploy.
count_calls() {
    local armed netlify github rounds
    armed=$(ask GET /__sandbox/calls | sed 's/},{/}\n{/g' | grep -m 1 -E '"method":"GET","path":"[^"]*/(deploys|builds)' || true)
    [[ $armed =~ \"number\":([0-9]+) ]] || fail 'no look at the first build among the calls'
    netlify=$(field "counts?until=${BASH_REMATCH[1]}" /calls/netlify)
    github=$(field "counts?until=${BASH_REMATCH[1]}" /calls/github)
    rounds=$(field "counts?until=${BASH_REMATCH[1]}" /rounds)
    ((netlify + github <= 7 && rounds <= 4)) || fail "$((netlify + github)) calls in $rounds rounds instead of 7 in 4"
    note "✓ until armed: $((netlify + github)) calls ($netlify to Netlify, $github to GitHub) in $rounds rounds; the most allowed is 7 in 4"
    note "  with watching and proof: $(field counts /calls/netlify) to Netlify, $(field counts /calls/github) to GitHub"
}

unlink_again() {
    local kind
    step 'And back'
    shown unlink docs --wait --yes
    for kind in "${!made[@]}"; do
        claim "0 ${made[$kind]} left" 0 "$(field counts "/$kind/alive")"
    done
}
