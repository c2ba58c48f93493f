#!/usr/bin/env bash
# Install the real clients into a folder, at the versions that the recorded requests are of:
#
#     tests/clients/install.sh DIR
#
# DIR/claude, DIR/codex and DIR/gemini start them, and the SDKs that sdk.mjs uses lie in
# DIR/node_modules. Nothing goes anywhere else but npm's own cache. A folder that already holds
# these versions is left as it is.
set -euo pipefail

clients=(
    @anthropic-ai/claude-code@2.1.197
    @openai/codex@0.169.0
    @google/gemini-cli@0.61.0
)
sdks=(
    @anthropic-ai/sdk@1.12.0
    @google/genai@3.1.0
    openai@7.57.0
)

dir=${1:?usage: install.sh DIR}
mkdir -p "$dir"
cd "$dir"

wanted=$(printf '%s\n' "${clients[@]}" "${sdks[@]}")
if [[ -f installed && $(<installed) == "$wanted" ]]; then
    exit 0
fi

rm -f installed
printf '{"private": true}\n' >package.json
npm install --no-audit --no-fund --loglevel=error "${clients[@]}" "${sdks[@]}"
for name in claude codex gemini; do
    ln -sf "node_modules/.bin/$name" "$name"
    "./$name" --version
done
printf '%s\n' "$wanted" >installed
