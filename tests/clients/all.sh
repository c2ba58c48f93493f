#!/usr/bin/env bash
# Every real client through every provider that `twistd aigateway --demo` simulates, and a table:
#
#     tests/clients/all.sh DIR
#
# DIR is where install.sh put the clients. TWISTD names another twistd than the one on the path, PORT
# another port than 8088. Where it may, this runs in a network namespace that holds nothing but
# loopback. Exits 0 if all is well; what failed is shown below the table.
set -euo pipefail

dir=$(realpath "${1:?usage: all.sh DIR}")
here=$(cd "$(dirname "$0")" && pwd)
if [[ -z ${IN_NAMESPACE-} ]] && unshare --map-root-user --net ip link set lo up 2>/dev/null; then
    export IN_NAMESPACE=1
    exec unshare --map-root-user --net bash -c 'ip link set lo up && exec "$@"' - "$here/all.sh" "$dir"
fi

export CLIENTS=$dir
twistd=$(realpath "$(command -v "${TWISTD:-twistd}")")
port=${PORT:-8088} url=http://127.0.0.1:${PORT:-8088}
declare -A models=(
    [openai]=gpt-4o-mini [glm]=glm-4.7 [antigravity]=gemini-3-flash
    [anthropic]=claude-haiku-4-5 [gemini]=gemini-2.5-flash
)
providers=(openai glm antigravity anthropic gemini)

work=$(mktemp -d)
gateway=
finish() {
    [[ -z $gateway ]] || kill "$gateway" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

: >"$work/gateway"
(
    cd "$work"
    PYTHONPATH=$here/../.. exec "$twistd" -n --pidfile= aigateway --demo \
        --listen "tcp:$port:interface=127.0.0.1"
) >>"$work/gateway" 2>&1 &
gateway=$!
for _ in {1..100}; do
    kill -0 "$gateway" 2>/dev/null && ! grep -q "listens on" "$work/gateway" || break
    sleep 0.1
done
if ! grep -q "listens on" "$work/gateway"; then
    echo "all.sh: the gateway does not start" >&2
    cat "$work/gateway" >&2
    exit 1
fi

# run NAME COMMAND...: the time that it took, or that it failed; then what it said is kept.
failed=0
run() {
    local name=$1 began=${EPOCHREALTIME/.} tenths
    shift
    if "$@" >"$work/said" 2>&1; then
        tenths=$(((${EPOCHREALTIME/.} - began + 50000) / 100000))
        printf '%-13s' "$((tenths / 10)).$((tenths % 10)) s"
    else
        failed=$((failed + 1))
        printf '%-13s' FAILED
        { printf '\n== %s\n' "$name" && cat "$work/said"; } >>"$work/failures"
    fi
}

printf '%-13s' '' "${providers[@]}"
for client in claude codex gemini; do
    printf '\n%-13s' "$client"
    for provider in "${providers[@]}"; do
        run "$client, $provider" "$here/turn.sh" "$client" "$url" "${models[$provider]}"
    done
done
# Codex's other tools, which it offers only to models that it knows: to OpenAI's.
printf '\n%-13s' codex-patch
run codex-patch "$here/turn.sh" codex-patch "$url" gpt-5.5
printf '\n%-13s' codex-code
run codex-code "$here/turn.sh" codex-code "$url" gpt-6.1-sol
printf '\n%-13s' sdk.mjs
for provider in "${providers[@]}"; do
    run "sdk.mjs, $provider" node --test-reporter=spec "$here/sdk.mjs" "$url" "$provider"
done
echo

if [[ -f $work/failures ]]; then
    cat "$work/failures"
fi
if grep -q Traceback "$work/gateway"; then
    failed=$((failed + 1))
    printf '\n== the gateway\n'
    grep -A 30 -m 1 Traceback "$work/gateway"
fi
printf '\n%s failed\n' "$failed"
exit $((failed > 0))
