#!/usr/bin/env bash
# One headless turn of a real client with a tool call, against a gateway with simulated providers:
#
#     CLIENTS=DIR tests/clients/turn.sh CLIENT BASE_URL MODEL
#
# CLIENT is claude, codex or gemini, as installed in DIR by install.sh, or Codex with another tool
# than its shell: codex-patch (a freeform one) or codex-code (JavaScript, in a namespace), which it
# offers to models that it knows. The client is asked to call its tool; what that does is not in the
# prompt. Exits 0 if the tool ran in the client and the client's last words quote what it said; else
# what the client wrote is shown. The client sees an empty HOME and no credentials, and is ended
# after TIMEOUT seconds (60).
set -euo pipefail

client=${1:?usage: turn.sh CLIENT BASE_URL MODEL} url=${2:?} model=${3:?}
: "${CLIENTS:?the folder where install.sh put the clients}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home" "$work/project"

command='printf made-%d 0x2a | tee made.txt'
wanted=made-42
environ=(PATH="$PATH" HOME="$work/home" TMPDIR="$work" TERM=xterm-256color NO_COLOR=1)
codex=(
    "$CLIENTS/codex" exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox
    --model "$model" -c model_provider=gateway -c analytics.enabled=false
    -c "model_providers.gateway={name='gateway', base_url='$url/v1', wire_api='responses', env_key='KEY'}"
)

case $client in
claude)
    environ+=(ANTHROPIC_BASE_URL="$url" ANTHROPIC_API_KEY=unused)
    environ+=(CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_AUTOUPDATER=1)
    prompt="use the tool Bash with {\"command\": \"$command\"}"
    run=("$CLIENTS/claude" --print "$prompt" --model "$model" --allowedTools Bash)
    ;;
codex)
    environ+=(KEY=unused)
    run=("${codex[@]}" "use the tool exec_command with {\"cmd\": \"$command\"}")
    ;;
codex-patch)
    environ+=(KEY=unused)
    patch='*** Begin Patch\n*** Add File: made.txt\n+made-42\n*** End Patch'
    run=("${codex[@]}" "use the tool apply_patch with {\"input\": \"$patch\"}")
    wanted='A made.txt'
    ;;
codex-code)
    environ+=(KEY=unused)
    # A provider that does not know namespaces has the tool with the namespace in its name.
    script="text((await tools.exec_command({cmd: '$command'})).output)"
    with="with {\"input\": \"$script\"}"
    run=("${codex[@]}" "use the tool exec $with or use the tool functions__exec $with")
    ;;
gemini)
    # The key alone does not choose how to sign in once a base URL is set.
    mkdir "$work/home/.gemini"
    printf '{"security": {"auth": {"selectedType": "gemini-api-key"}}}' >"$work/home/.gemini/settings.json"
    environ+=(GOOGLE_GEMINI_BASE_URL="$url" GEMINI_API_KEY=unused)
    prompt="use the tool run_shell_command with {\"command\": \"$command\"}"
    run=("$CLIENTS/gemini" --model "$model" --yolo --skip-trust --prompt "$prompt")
    ;;
*)
    echo "turn.sh: no client is called $client" >&2
    exit 2
    ;;
esac

status=0
(cd "$work/project" && exec env -i "${environ[@]}" timeout "${TIMEOUT:-60}" "${run[@]}") \
    </dev/null >"$work/said" 2>"$work/errors" || status=$?

fail() {
    printf '%s through %s: %s\n' "$client" "$model" "$1" >&2
    tail -n 20 "$work/said" "$work/errors" >&2
    exit 1
}
[[ $status == 0 ]] || fail "exit status $status"
[[ $(cat "$work/project/made.txt" 2>/dev/null) == made-42 ]] || fail "the tool did not run"
grep -qF -- "$wanted" "$work/said" || fail "its last words do not quote the tool"
