# shellcheck shell=bash
# Every way of linking, one repository each, told by the real programs against the sandbox: sourced by ./dev.

# What people placed with their own hands, and what stays theirs.
declare -i keys_by_hand=0 webhooks_by_hand=0 sites_that_stay=0
declare -a ways=() table=()

demo_all() {
    need_postgres
    build
    begun=${EPOCHREALTIME/[.,]/}
    step 'Netlify and five git hosts of our own, and a linkbroker with a Postgres of its own'
    start_sandbox --latency-ms 30
    point_at_sandbox
    export LINKBROKER_WATCH_MIN_MS=100 LINKBROKER_WATCH_MAX_MS=500 LINKBROKER_PROVIDERS=$scratch/providers.toml
    export LINKBROKER_GRANTS=$scratch/grants.toml
    cat >"$LINKBROKER_PROVIDERS" <<TOML
[[provider]]
kind = "gitea"
host = "code.example.com"
api = "$LINKBROKER_SANDBOX/gitea/api/v1"

[[provider]]
kind = "github"
host = "github.example.com"
api = "$LINKBROKER_SANDBOX/github"
TOML
    cat >"$LINKBROKER_GRANTS" <<'TOML'
[[grant]]
tenant = "dev"
installation_id = 4711
repositories = ["github.com/umbrella/*"]
team = "sandbox"
TOML
    start_server
    note "sandbox at $LINKBROKER_SANDBOX, linkbroker at $LINKBROKER_URL"
    connect_all
    connect_app
    way github        github       acme         https://github.com/acme/github
    way enterprise    github       acme         https://github.example.com/acme/enterprise
    way gitlab        gitlab       acme/web     https://gitlab.com/acme/web/gitlab
    way bitbucket     bitbucket    acme         https://bitbucket.org/acme/bitbucket
    way azure         azure_devops 'acme/Web Team' 'https://dev.azure.com/acme/Web%20Team/_git/azure'
    way gitea         gitea        acme         https://code.example.com/acme/gitea
    way by-hand       plain        acme         ''
    way public        github       acme         https://github.com/acme/public --provider open-github
    way existing-site github       acme         https://github.com/acme/existing-site
    way own-app       github       globex       https://github.com/globex/own-app --provider globex-app
    way installation  github       umbrella     https://github.com/umbrella/installation --provider github \
        --installation-id 4711 --team sandbox
    back
    summary
    step 'Done: all of it held'
}

connect_all() {
    step 'linkbroker gets a token of each, and learns of the host that it may not call'
    NETLIFY_AUTH_TOKEN=$netlify_token shown connect netlify
    GITHUB_TOKEN=$github_token shown connect github
    GITHUB_TOKEN=$github_token shown connect github --host github.example.com
    shown connect github --name open-github --no-token
    GITLAB_TOKEN=sandbox-gitlab-token shown connect gitlab
    BITBUCKET_TOKEN=sandbox-bitbucket-token shown connect bitbucket --user sandbox@example.com
    AZURE_DEVOPS_EXT_PAT=sandbox-azure-devops-token shown connect azure-devops --organisation acme
    GITEA_TOKEN=sandbox-gitea-token shown connect gitea --host code.example.com
    shown connect by-hand 127.0.0.1
}

# An app of one's own, which takes the place of a token.
connect_app() {
    local app=$scratch/app.json
    ask POST /__sandbox/apps '{"slug": "globex-linker", "owner": "globex"}' >"$app" || fail 'the app is not made'
    [[ $(<"$app") =~ \"private_key\":\ ?\"([^\"]+)\" ]] && printf '%b' "${BASH_REMATCH[1]}" >"$scratch/app.pem"
    ask POST /__sandbox/installations '{"app": "globex-linker", "account": "globex"}' >/dev/null || fail 'the app is not installed'
    [[ $(<"$app") =~ \"client_id\":\ ?\"([^\"]+)\" ]]
    shown connect github --name globex-app --app-id "${BASH_REMATCH[1]}" --private-key-file "$scratch/app.pem"
}

# way NAME PROVIDER OWNER ADDRESS FLAG…: from an empty sandbox corner to a rebuilt page.
way() {
    local name=$1 provider=$2 owner=$3 address=$4 before armed builds made private=true pushed=no
    shift 4
    step "$name"
    [[ $name != public ]] || private=false
    made=$(ask POST /__sandbox/repositories '{"provider": "'"$provider"'", "owner": "'"$owner"'", "name": "'"$name"'", "private": '$private', "template": "site", "text": "first words"}' --field /ssh_url) ||
        fail 'the sandbox does not make the repository'
    [[ $name != installation ]] || ask POST /__sandbox/installations '{"app": "netlify", "account": "umbrella", "id": 4711}' >/dev/null ||
        fail 'Netlify'\''s app is not installed'
    [[ $name != by-hand ]] || address=$made
    set -- "$@" --command 'sh build.sh' --publish dist --ref "$name"
    case $name in
    existing-site) set -- "$@" --site-id "$(make_site "$name")" ;;
    *) set -- "$@" --site "$name" ;;
    esac
    # Several connections lead to github.com.
    [[ $address != https://github.com/* || $* == *--provider* ]] || set -- "$@" --provider github
    [[ $name != by-hand ]] || set -- "$@" --branch main
    before=$(calls_so_far) builds=$(field counts /builds/created)
    note "\$ linkbroker link $address$(quoted "$@")"
    "$programs/linkbroker" link "$address" "$@" >/dev/null 2>&1 || fail "linkbroker link ended with exit code $?"
    until_live "$name" "$provider" "$owner/$name"
    armed=$(armed_after "$before")
    [[ $pushed == yes ]] || page_of "$name" 'first words'
    push_words "$provider" "$owner" "$name" 'last words'
    page_of "$name" 'last words'
    builds=$(($(field counts /builds/created) - builds))
    table+=("$(printf '%-14s %7s %7s %7s %6s  %s' "$name" "$(vendor_calls "$before" "$armed")" \
        "$(field "counts?since=$before&until=$armed" /rounds)" "$(vendor_calls "$before" 999999)" "$builds" "$(said "$name" level)")")
    ways+=("$name")
    note "✓ live, pushed, rebuilt"
}

# Waits, and does as a person what the link asks for.
until_live() {
    local name=$1 provider=$2 path=$3 deed last=''
    for ((;;)); do
        wait_for 60 "$name to settle" is_settled "$name"
        case $standing in
        live) return ;;
        action_required) ;;
        *) fail "$(run "$programs/linkbroker" status "$name" 2>&1)" ;;
        esac
        deed=$(said "$name" kind_of_action)
        # Done already, and not yet seen; or seen between the two reads.
        [[ -n $deed && $deed != "$last" ]] || { sleep 0.2 && continue; }
        last=$deed
        note "it asks for: $deed $(said "$name" page)"
        case $deed in
        place_deploy_key)
            place_key "$provider" "$path" "$(said "$name" public_key)"
            run "$programs/linkbroker" retry "$name" >/dev/null 2>&1 || fail 'retry'
            ;;
        place_webhook)
            place_webhook "$provider" "$path" "$(said "$name" url_of_action)"
            push_between "$provider" "${path%/*}" "$name"
            ;;
        push_commit) push_between "$provider" "${path%/*}" "$name" ;;
        *) fail "nobody knows how to do $deed" ;;
        esac
    done
}

# The push that proves the link, once the first build is seen.
push_between() { # PROVIDER OWNER NAME
    page_of "$3" 'first words'
    push_words "$1" "$2" "$3" 'words between'
    pushed=yes
}

is_settled() { # NAME; its status is in standing then.
    standing=$(said "$1" status)
    [[ $standing =~ ^(live|action_required|failed|build_failed|degraded)$ ]]
}

# said NAME WHAT: a part of a link, as the API says it.
said() {
    local link pattern
    link=$("$programs/linkbroker" status "$1" --output json 2>/dev/null) || true
    case $2 in
    kind_of_action) pattern='"what":[^}]*"kind": ?"([^"]*)"' ;;
    url_of_action) pattern='"what":[^}]*"url": ?"([^"]*)"' ;;
    level) pattern='"level": ?([0-9])' ;;
    status) pattern='"status": ?"([^"]*)"' ;;
    *) pattern='"'$2'": ?"([^"]*)"' ;; # of the action alone: then, page, public_key
    esac
    link=${link//$'\n'/}
    [[ $link =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
    return 0
}

place_key() { # PROVIDER PATH KEY
    keys_by_hand+=1
    case $1 in
    github) github POST "repos/$2/keys" '{"title": "Netlify", "key": "'"$3"'", "read_only": true}' ;;
    # There, keys are on people, and not among those on repositories.
    azure_devops) keys_by_hand+=-1 && ask POST /__sandbox/person-keys '{"provider": "azure_devops", "login": "service", "key": "'"$3"'", "permissions": {"everywhere": "read"}}' >/dev/null ;;
    *) ask POST /__sandbox/deploy-keys '{"provider": "'"$1"'", "repository": "'"$2"'", "title": "Netlify", "key": "'"$3"'"}' >/dev/null ;;
    esac || fail 'the key is not taken'
}

place_webhook() { # PROVIDER PATH URL
    webhooks_by_hand+=1
    case $1 in
    github) github POST "repos/$2/hooks" '{"name": "web", "active": true, "events": ["push"], "config": {"url": "'"$3"'", "content_type": "json"}}' ;;
    *) ask POST /__sandbox/webhooks '{"provider": "'"$1"'", "repository": "'"$2"'", "url": "'"$3"'"}' >/dev/null ;;
    esac || fail 'the webhook is not taken'
}

# github METHOD PATH BODY: what the owner does in GitHub's pages.
github() {
    curl -fsS -o /dev/null -X "$1" "$LINKBROKER_SANDBOX/github/$2" -H "authorization: Bearer $github_token" \
        -H 'content-type: application/json' -H 'user-agent: somebody' -d "$3"
}

# make_site NAME: a site that somebody made before; its id.
make_site() {
    local answer
    answer=$(curl -fsS "$LINKBROKER_SANDBOX/netlify/api/v1/sandbox/sites" -H "authorization: Bearer $netlify_token" \
        -H 'content-type: application/json' -d '{"name": "'"$1"'"}') || fail 'the site is not made'
    [[ $answer =~ \"id\":\"([0-9a-f-]{36})\" ]] && printf '%s' "${BASH_REMATCH[1]}"
}

push_words() { # PROVIDER OWNER NAME WORDS
    local owner=${2//\//%2F}
    ask POST "/__sandbox/repositories/${owner// /%20}/$3/commits?provider=$1" \
        '{"message": "Say '"$4"'", "files": {"content/text.txt": "'"$4"'\n"}}' >/dev/null || fail 'the push is not taken'
}

page_of() { # SITE WORDS
    wait_for 60 "the page of $1 with “$2”" page_has "$1" "$2"
}

page_has() {
    [[ $(ask GET "/sites/$1/" 2>/dev/null || true) == *"$2"* ]]
}

calls_so_far() {
    ask GET /__sandbox/calls | grep -o '"number":' | wc -l
}

# vendor_calls AFTER UNTIL: calls of linkbroker, without the deliveries of the git hosts.
vendor_calls() {
    ask GET "/__sandbox/calls?since=$1" | sed 's/},{/}\n{/g' | grep -v '"upstream":"netlify_hooks"' |
        grep -o '"number":[0-9]*' | awk -F: -v last="$2" '$2 <= last' | wc -l
}

# armed_after NUMBER: number of the first look at a deploy after it: everything is in place then.
armed_after() {
    local call
    call=$(ask GET "/__sandbox/calls?since=$1" | sed 's/},{/}\n{/g' | grep -m 1 -E '"path":"[^"]*/deploys/' || true)
    [[ $call =~ \"number\":([0-9]+) ]] && printf '%s' "${BASH_REMATCH[1]}"
}

back() {
    local name
    step 'And back, all of them'
    sites_that_stay=1
    for name in "${ways[@]}"; do
        run "$programs/linkbroker" unlink "$name" --wait --yes >/dev/null 2>&1 || fail "linkbroker unlink $name ended with exit code $?"
    done
    claim 'no deploy key is left at Netlify' 0 "$(field counts /deploy_keys/alive)"
    claim "no site is left but the one that was there before" "$sites_that_stay" "$(field counts /sites/alive)"
    claim 'no deploy key is left at the git hosts but those that people placed' "$keys_by_hand" "$(field counts /installed_keys/alive)"
    claim 'no webhook is left but those that people placed' "$webhooks_by_hand" "$(field counts /webhooks/alive)"
    claim 'no request that the vendors'\'' descriptions forbid' '[]' "$(ask GET /__sandbox/violations)"
}

summary() {
    step 'What it took'
    note "$(printf '%-14s %7s %7s %7s %6s  %s' way calls rounds calls builds proof)"
    note "$(printf '%-14s %7s %7s %7s %6s  %s' '' armed armed 'to end' '' level)"
    local row
    for row in "${table[@]}"; do note "$row"; done
    note 'armed: everything is in place and the first build is known. Builds: the first, the proof, the pushes. Level: 2 built, 3 deployed from a push.'
}
