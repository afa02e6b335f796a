# shellcheck shell=bash
# Sourced after say.sh: the few things that the scripts ask of a Docker Engine, through whatever client is there.
# The worker looks at DOCKER_HOST and else at the default socket, so the scripts do the same and ignore docker contexts.

export DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}
engine_socket=
case $DOCKER_HOST in
unix://*) engine_socket=${DOCKER_HOST#unix://} ;;
esac

# engine_api CURL_ARGUMENTS... PATH: one request to the Engine API. Fails on an HTTP error.
engine_api() {
    local path=${*: -1}
    set -- "${@:1:$#-1}"
    if [ -n "$engine_socket" ]; then
        curl -fsS --unix-socket "$engine_socket" "$@" "http://engine$path"
    else
        curl -fsS "$@" "http://${DOCKER_HOST#tcp://}$path"
    fi
}

# Whether plain HTTP reaches the engine: TLS and ssh are left to the docker client, which knows their settings.
engine_speaks_http() {
    [ -n "$engine_socket" ] || [[ $DOCKER_HOST == tcp://* && -z ${DOCKER_TLS_VERIFY:-} ]]
}

# engine_answers: true when an engine does. curl first, it is ten times quicker than the docker client.
engine_answers() {
    if [ -n "$engine_socket" ] && ! [ -S "$engine_socket" ]; then
        return 1
    elif has curl && engine_speaks_http; then
        engine_api --max-time 5 /_ping >/dev/null 2>&1
    else
        docker version >/dev/null 2>&1
    fi
}

# engine_containers LABEL: a line `<container id> <the label's value>` for each container that has the label.
engine_containers() {
    if has docker; then
        docker ps -a --no-trunc --filter "label=$1" --format "{{.ID}} {{.Label \"$1\"}}"
    else
        # In the reply a container's Id stands before its Labels, so each value belongs to the last Id seen.
        engine_api --get --data-urlencode all=1 --data-urlencode "filters={\"label\":[\"$1\"]}" /containers/json |
            grep -oE "\"Id\":\"[0-9a-f]+\"|\"$1\":\"[^\"]*\"" |
            awk -F'"' '$2 == "Id" { id = $4; next } { print id, $4 }'
    fi
}

# engine_remove_container ID: stops and removes it.
engine_remove_container() {
    if has docker; then
        docker rm -f "$1" >/dev/null
    else
        engine_api -X DELETE "/containers/$1?force=1" >/dev/null
    fi
}

# engine_image_label IMAGE LABEL: the label's value, nothing when there is no such image or label.
engine_image_label() {
    local found=''
    if has docker; then
        found=$(docker image inspect "$1" 2>/dev/null) || return 0
    else
        found=$(engine_api "/images/$1/json" 2>/dev/null) || return 0
    fi
    sed -nE "s/.*\"$2\": ?\"([^\"]*)\".*/\1/p" <<<"$found" | head -n 1
}

# engine_build IMAGE LABEL=VALUE FOLDER: builds the folder's Dockerfile with the classic builder, which is in every
# engine since 20.10 and needs neither a plugin nor a registry.
engine_build() {
    local image=$1 label=$2 folder=$3 answer
    if has docker; then
        answer=$(DOCKER_BUILDKIT=0 docker build --quiet --label "$label" --tag "$image" "$folder" 2>&1) || {
            printf '%s\n' "$answer" >&2
            return 1
        }
    else
        answer=$(tar -C "$folder" -c . | engine_api -X POST -H 'Content-Type: application/x-tar' --data-binary @- \
            "/build?q=1&rm=1&t=$image&labels=%7B%22${label%%=*}%22%3A%22${label#*=}%22%7D") || return 1
        # A failed build answers 200 as well, and says so in its stream.
        if [[ $answer == *'"errorDetail"'* ]]; then
            printf '%s\n' "$answer" >&2
            return 1
        fi
    fi
}
